"""JSON of what Python holds: a byte of a file name that is no UTF-8 is half a character there."""

from __future__ import annotations

import json
import re

import msgspec

_HALF = re.compile("[\ud800-\udfff]")


def encoded(value: object) -> bytes:
    """The value as JSON in UTF-8, with U+FFFD for half characters. TypeError when it has what JSON cannot hold."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
        return _HALF.sub("\ufffd", text).encode()
