"""What real publishers get wrong in JSON: a byte order mark, another charset, half a character, a number that is none.

Only what cannot be read as it came is looked at here.
"""

from __future__ import annotations

import codecs
import json
import re

from dispatcher.domain.errors import InvalidInput
from dispatcher.intake.charsets import codec_of
from dispatcher.intake.inflate import encodings_in
from dispatcher.intake.raw_message import Message

# The marks of UTF-32 begin with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# A backslash and what it escapes: a pair of surrogates, a lone one, or anything else.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def repaired(message: Message) -> bytes:
    """The body as UTF-8 without a mark before it, and with U+FFFD for what is no character."""
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
