"""Bodies as publishers send them, and the JSON in UTF-8 that they mean.

Compressed ones are inflated up to a bound, so that a small message cannot take much memory. What cannot be read as it
came is repaired: a byte order mark, another charset, half a character, JSON that was encoded twice. A number that is
none is named.

Sources: RFC 9110, section 8.4.1 "Content Codings"; kombu's registry of compressions, which calls zlib
`application/x-gzip`; Spring AMQP, which writes `gzip, UTF-8` with the charset, before 2.2.12 `gzip:UTF-8`.
"""

from __future__ import annotations

import bz2
import codecs
import json
import re
import zlib
from collections.abc import Callable
from functools import lru_cache

import msgspec

from dispatcher.domain.errors import InvalidInput
from dispatcher.intake.decode_context import Message

_FIELD = "content-encoding"

# Some clients put the charset there, others the word for no encoding, or what MIME calls so.
_NOT_ENCODED = frozenset({"", "identity", "utf-8", "utf8", "binary", "us-ascii", "none", "7bit", "8bit"})
_SEPARATOR = re.compile("[,:]")
_MAX_LAYERS = 3

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""The `wbits` by which zlib knows which header the data has."""

# No others: some of Python's codecs, such as punycode, take a time that grows with the square of the text.
_READ = re.compile(
    r"utf-?8|utf-(16|32)(-?[lb]e)?|(us-)?ascii|latin-?\d{1,2}|iso-?8859-\d{1,2}|windows-\d{3,4}|cp\d{3,4}|koi8-[rtu]"
    r"|shift-jis|sjis|euc-(jp|kr)|gb(k|2312|18030)|big5|mac-?roman"
)
# The marks of UTF-32 begin with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)
_SPACE = b" \t\r\n"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# A backslash and what it escapes: a pair of surrogates, a lone one, or anything else.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


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


def repaired(message: Message) -> bytes:
    """The body as UTF-8 without a mark before it, and with U+FFFD for what is no character.

    A JSON string that holds a document is that document: Spring's Jackson converter makes one of a text.
    """
    body = _in_utf8(message)
    if not body.lstrip(_SPACE).startswith(b'"'):
        return body
    try:
        inner = msgspec.json.decode(body, type=str).encode("utf-8", "replace")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return body
    return _without_surrogates(inner) if inner.lstrip(_SPACE).startswith((b"{", b"[")) else body


def _in_utf8(message: Message) -> bytes:
    body = message.body
    charset = _charset(message) or "utf-8"
    for mark, name in _MARKS:
        if body.startswith(mark):
            body, charset = body[len(mark) :], name
            break
    try:
        body.decode()
    except UnicodeDecodeError:
        body = body.decode(charset, "replace").encode("utf-8", "replace")
    else:
        if charset.startswith(("utf-16", "utf-32")):
            body = body.decode(charset, "replace").encode("utf-8", "replace")
    return _without_surrogates(body)


def _without_surrogates(body: bytes) -> bytes:
    if not _SURROGATE.search(body):
        return body
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], body)


def _charset(message: Message) -> str | None:
    """The codec of the charset that the message names: in its content type, or as its encoding."""
    found = _CHARSET.search(message.content_type or "")
    named = [found[1]] if found else encodings_in(message.content_encoding or "")
    return next((codec for name in named if (codec := codec_of(name))), None)


class _NotJson:
    """Stands for NaN or an infinity."""

    def __init__(self, name: str) -> None:
        self.name = name


def not_a_number(body: bytes) -> InvalidInput | None:
    """The refusal that names where NaN or Infinity stands, which Python and others write but JSON has not."""
    if not any(name in body for name in (b"NaN", b"Infinity")):
        return None
    try:
        document = json.loads(body, parse_constant=_NotJson, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):
        return None
    waiting = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _NotJson):
            return InvalidInput(path[:200], f"expected a number that JSON has, or null; got {value.name}")
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}" if path else key, child) for key, child in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    return None


@lru_cache(64)
def codec_of(charset: str) -> str | None:
    """The name of Python's codec for a charset; None for what is no charset, or none that is read here."""
    name = charset.strip().lower().replace("_", "-")
    if not _READ.fullmatch(name):
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None
