"""Reads the head of a response that breaks HTTP's grammar, so that its status counts all the same.

A receiver that has said 200 has the event: to send it again is worse than to overlook a slip in its headers. The
connection is not used again after such a response, so what is misread here can never become part of another one.
"""

from __future__ import annotations

import re

from httptools import HttpResponseParser
from msgspec import Struct

_STATUS_LINE = re.compile(rb"(?:\r?\n)*HTTP/\d+(?:\.\d+)?[ \t]+(\d{3})(?:[ \t][^\n]*)?\r?\n", re.IGNORECASE)
_HEAD_END = re.compile(rb"\n\r?\n")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HTTP = b"http/"
_SWITCHING = 101

Fields = list[tuple[bytes, bytes]]


class Head(Struct, frozen=True):
    """The final head in what was received: interim responses (1xx) before it are left out.

    `rest` is where the body begins; None while the head has no end yet.
    """

    status: int
    fields: Fields
    rest: int | None

    def normalized(self) -> bytes:
        """The same head by the grammar, with one way to find the end of the body. It closes the connection."""
        lengths = {value for name, value in self.fields if name.lower() == b"content-length"}
        chunked = any(
            name.lower() == b"transfer-encoding" and value.lower().endswith(b"chunked")
            for name, value in self.fields
        )
        lines = [b"HTTP/1.1 %d " % self.status, b"Connection: close"]
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif len(lengths) == 1 and (length := lengths.pop()).isdigit():
            lines.append(b"Content-Length: " + length)
        return b"\r\n".join((*lines, b"", b""))


def read_head(received: bytes) -> Head | None:
    """What a head says whose status line is there; None when there is none, or it is no HTTP."""
    start = _after_interim(received)
    line = None if start is None else _STATUS_LINE.match(received, start)
    if line is None or int(line[1]) < 100:
        return None
    # From the line's own end on, so that a head without fields is found too.
    end = _HEAD_END.search(received, line.end() - 1)
    fields = received[line.end() :] if end is None else received[line.end() : end.end()]
    return Head(int(line[1]), _fields(fields), None if end is None else end.end())


def _after_interim(received: bytes) -> int | None:
    """Where the final head begins; None in the middle of an interim response."""
    start = 0
    while (line := _STATUS_LINE.match(received, start)) and 100 <= int(line[1]) < 200:
        if int(line[1]) == _SWITCHING:
            break
        if (end := _HEAD_END.search(received, line.end() - 1)) is None:
            return None
        start = end.end()
    return start


def is_unfinished(received: bytes) -> bool:
    """Whether more has to come before a head can be read: the rest of it, or of its status line."""
    head = read_head(received)
    if head is not None:
        return head.rest is None
    if (start := _after_interim(received)) is None:
        return True
    line = received[start:].lstrip(b"\r\n").lower()
    return b"\n" not in line and (line.startswith(_HTTP) or _HTTP.startswith(line))


def lenient_parser(protocol: object) -> HttpResponseParser:
    """A parser for the body behind a normalized head: ends of lines may be LF alone."""
    parser = HttpResponseParser(protocol)
    parser.set_dangerous_leniencies(
        lenient_chunked_length=True,
        lenient_optional_cr_before_lf=True,
        lenient_optional_crlf_after_chunk=True,
        lenient_spaces_after_chunk_size=True,
    )
    return parser


def _fields(text: bytes) -> Fields:
    """The fields that can be read; a folded line belongs to the one before it (RFC 9112 section 5.2)."""
    found: Fields = []
    for line in text.split(b"\n"):
        if line[:1] in (b" ", b"\t") and found and line.strip():
            name, value = found[-1]
            found[-1] = name, value + b" " + line.strip()
            continue
        name, colon, value = line.partition(b":")
        if colon and _TOKEN.fullmatch(name := name.strip()):
            found.append((name, value.strip()))
    return found
