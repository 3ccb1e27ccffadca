"""A message as the broker sent it: bytes, of which no more is understood than somebody asks for.

Sources: AMQP 0-9-1, section 1.8.3.9 "basic.deliver" and 4.2.6.1 "The Content Header"; its errata for field tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from struct import error as layout_error

from msgspec import Struct
from pamqp.commands import Basic
from pamqp.decode import field_table
from pamqp.header import ContentHeader

from dispatcher.domain.errors import InvalidInput
from dispatcher.intake.message import Message

# The bits of the content header that say which properties follow, in this order.
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 0x8000, 0x4000, 0x2000
_DELIVERY_MODE, _PRIORITY = 0x1000, 0x0800
_CORRELATION_ID, _REPLY_TO, _EXPIRATION = 0x0400, 0x0200, 0x0100
_MESSAGE_ID, _TIMESTAMP = 0x0080, 0x0040

_CLOUDEVENT = re.compile(rb"ce-|cloudevents|specversion", re.IGNORECASE)
"""What the headers of a CloudEvent in binary form hold. No other headers are read."""

_SECONDS = 1 << 32
"""From here on a timestamp is in milliseconds, as some publishers write it."""

UNREADABLE = (ValueError, layout_error, IndexError, KeyError, TypeError, OverflowError, OSError)
"""What decoding broken bytes raises."""


class Received(Struct, gc=False):
    """One message: the arguments of its delivery, its header and its body, as they came."""

    envelope: bytes
    header: bytes
    body: bytes

    @property
    def route(self) -> tuple[str, str]:
        """The exchange and the routing key that it was published with."""
        at = 1 + self.envelope[0] + 9
        middle = at + 1 + self.envelope[at]
        exchange, key = self.envelope[at + 1 : middle], self.envelope[middle + 1 :]
        return exchange.decode(errors="replace"), key.decode(errors="replace")

    @property
    def properties(self) -> Basic.Properties:
        """All that the header holds. One of UNREADABLE when it is broken."""
        header = ContentHeader()
        header.unmarshal(self.header)
        return header.properties

    def understood(self) -> Message:
        """What decoding needs. Raises InvalidInput when the properties or headers are broken."""
        reader = _Properties(self.header)
        return Message(
            origin="amqp",
            body=self.body,
            content_type=reader.text(_CONTENT_TYPE, "content-type"),
            content_encoding=reader.text(_CONTENT_ENCODING, "content-encoding"),
            headers=reader.headers(),
            message_id=reader.message_id(),
            timestamp=reader.timestamp(),
        )


class _Properties:
    """Reads the properties of a content header, each once and in their order."""

    __slots__ = ("_at", "_flags", "_header")

    def __init__(self, header: bytes) -> None:
        self._header = header
        self._flags = int.from_bytes(header[12:14])
        self._at = 14

    def text(self, flag: int, name: str) -> str | None:
        if not self._flags & flag:
            return None
        raw = self._bytes()
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise InvalidInput(name, f"expected UTF-8, got {raw[:40]!r}") from None

    def headers(self) -> Mapping[str, object]:
        if not self._flags & _HEADERS:
            return {}
        start = self._at
        self._at = end = start + 4 + int.from_bytes(self._header[start : start + 4])
        if not _CLOUDEVENT.search(self._header, start, end):
            return {}
        try:
            return field_table(self._header[start:end])[1]
        except UNREADABLE as error:
            raise InvalidInput("headers", f"expected a field table of AMQP 0-9-1: {error}") from None

    def message_id(self) -> str | None:
        for flag in (_DELIVERY_MODE, _PRIORITY):
            self._at += bool(self._flags & flag)
        for flag in (_CORRELATION_ID, _REPLY_TO, _EXPIRATION):
            if self._flags & flag:
                self._at += 1 + self._header[self._at]
        return self.text(_MESSAGE_ID, "message-id")

    def timestamp(self) -> datetime | None:
        if not self._flags & _TIMESTAMP:
            return None
        seconds: float = int.from_bytes(self._header[self._at : self._at + 8])
        try:
            return datetime.fromtimestamp(seconds if seconds < _SECONDS else seconds / 1000, UTC)
        except UNREADABLE:
            raise InvalidInput("timestamp", f"expected seconds since 1970, got {seconds}") from None

    def _bytes(self) -> bytes:
        start = self._at + 1
        self._at = start + self._header[self._at]
        return self._header[start : self._at]
