"""Hops: how often an event has passed through a Dispatcher, so that none goes round for ever.

A delivery says it in a header. An event that comes in with that header, or with the CloudEvents extension, is stored
with the extension, one higher: so what goes out counts on although the document is made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

HEADER = "Dispatcher-Hops"
EXTENSION = "dispatcherhops"

MAX_HOPS = 5
"""An event that has passed more often is refused: sites pass events on once or twice, not more."""

_NAME = HEADER.lower()
_DIGITS = 9


class _Counted(Struct):
    dispatcherhops: int = 1


_decode = msgspec.json.Decoder(_Counted).decode
_MARK = f'"{EXTENSION}"'.encode()


def highest(counts: Iterable[object]) -> int:
    """The highest of these numbers, which may be texts, and several with commas in one; 0 when there is none."""
    found = [0]
    for count in counts:
        if isinstance(count, int):
            found.append(count)
        elif isinstance(count, str):
            parts = (part.strip() for part in count.split(","))
            found += [
                int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= _DIGITS
            ]
    return max(found)


def hops_in(headers: Mapping[str, str]) -> int:
    """The hops that the headers of a request say, 0 when they say nothing. One line may stand there several times."""
    return highest(value for name, value in headers.items() if name.lower() == _NAME)


def outgoing(document: bytes) -> int:
    """What a delivery of an event with this document says: 1, unless the event had passed through here before."""
    if _MARK not in document:
        return 1
    try:
        return _decode(document).dispatcherhops
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 1  # it stands in the data of an event that somebody else stored
