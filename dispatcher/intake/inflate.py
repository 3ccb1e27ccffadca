"""Compressed bodies: inflated up to a bound, so that a small message cannot take much memory.

Sources: RFC 9110, section 8.4.1 "Content Codings"; kombu's registry of compressions, which calls zlib
`application/x-gzip`; Spring AMQP, which writes `gzip, UTF-8` with the charset, before 2.2.12 `gzip:UTF-8`.
"""

from __future__ import annotations

import bz2
import re
import zlib
from collections.abc import Callable

from dispatcher.domain.errors import InvalidInput
from dispatcher.intake.charsets import codec_of

_FIELD = "content-encoding"

# Some clients put the charset there, others the word for no encoding, or what MIME calls so.
_NOT_ENCODED = frozenset({"", "identity", "utf-8", "utf8", "binary", "us-ascii", "none", "7bit", "8bit"})
_SEPARATOR = re.compile("[,:]")
_MAX_LAYERS = 3

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""The `wbits` by which zlib knows which header the data has."""


class TooLong(InvalidInput):
    """A body that becomes longer than it may be."""


class UnknownEncoding(InvalidInput):
    """An encoding that is not undone here."""


def inflate(body: bytes, encodings: str, limit: int) -> bytes:
    """The body without these encodings, which stand in the order in which they were applied.

    Raises TooLong when there are more than `limit` bytes, UnknownEncoding, or else InvalidInput.
    """
    names = [name for name in encodings_in(encodings) if name not in _NOT_ENCODED and codec_of(name) is None]
    if len(names) > _MAX_LAYERS:
        raise InvalidInput(_FIELD, f"expected at most {_MAX_LAYERS} encodings, got {len(names)}")
    for name in reversed(names):
        decoder = _DECODERS.get(name)
        if decoder is None:
            raise UnknownEncoding(_FIELD, f"expected gzip, deflate, bzip2 or none, got {name!r:.80}")
        try:
            body = decoder(body, limit)
        except (zlib.error, OSError, EOFError, ValueError) as error:
            raise InvalidInput(_FIELD, f"expected data compressed with {name}: {error}") from None
        if len(body) > limit:
            raise TooLong(_FIELD, f"expected at most {limit} bytes after {name} is undone, got more")
    return body


def encodings_in(text: str) -> list[str]:
    """The names in a list of encodings, in small letters and in their order; some may be empty."""
    return [name.strip().lower() for name in _SEPARATOR.split(text)]


def _inflated(body: bytes, limit: int) -> bytes:
    """gzip, zlib or raw deflate, distinguished by how it begins: each of the names is used for all of them."""
    if body.startswith(b"\x1f\x8b"):
        kind = _GZIP
    elif len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0:
        kind = _ZLIB
    else:
        kind = _RAW
    parts: list[bytes] = []
    room = limit + 1
    while body and room > 0:
        unpacking = zlib.decompressobj(kind)
        parts.append(unpacking.decompress(body, room))
        room -= len(parts[-1])
        if not unpacking.eof and room > 0:
            raise ValueError("it ends too early")
        # Several members of gzip may stand in a row, and padding behind them.
        body = unpacking.unused_data if unpacking.unused_data.startswith(b"\x1f\x8b") else b""
    return b"".join(parts)


def _bunzipped(body: bytes, limit: int) -> bytes:
    unpacking = bz2.BZ2Decompressor()
    found = unpacking.decompress(body, limit + 1)
    if not unpacking.eof and len(found) <= limit:
        raise ValueError("it ends too early")
    return found


_DEFLATE = ("gzip", "x-gzip", "application/gzip", "application/x-gzip", "deflate", "x-deflate", "zlib")
_BZIP2 = ("bzip2", "x-bzip2", "bz2", "x-bz2", "application/x-bz2", "application/x-bzip2")
_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    **dict.fromkeys(_DEFLATE, _inflated),
    **dict.fromkeys(_BZIP2, _bunzipped),
}
