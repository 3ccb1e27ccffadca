"""A delivery of the broker: bytes, of which no more is understood than somebody asks for.

Sources: AMQP 0-9-1, section 1.8.3.9 "basic.deliver" and 4.2.6.1 "The Content Header"; its errata for field tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from struct import error as layout_error

from msgspec import Struct
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from dispatcher.domain.hops import HEADER, highest
from dispatcher.domain.times import from_number
from dispatcher.intake.amqp.field_table import as_text, read_table
from dispatcher.intake.raw_message import Message

# The bits of the content header that say which properties follow, in this order.
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 0x8000, 0x4000, 0x2000
_DELIVERY_MODE, _PRIORITY = 0x1000, 0x0800
_CORRELATION_ID, _REPLY_TO, _EXPIRATION = 0x0400, 0x0200, 0x0100
_MESSAGE_ID, _TIMESTAMP = 0x0080, 0x0040

_HOPS = HEADER.lower()
_READ = re.compile(rb"ce-|cloudevents|specversion|compression|dispatcher-?hops", re.IGNORECASE)
"""What headers hold that are read: a CloudEvent in binary form, how the body is compressed. No others are read."""

UNREADABLE = (
    ValueError,
    layout_error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    OSError,
    RecursionError,
)
"""What decoding broken bytes raises."""


class AmqpDelivery(Struct, gc=False):
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

    def to_message(self) -> Message:
        """What decoding needs. Raises InvalidInput when the properties or headers are broken."""
        reader = _Properties(self.header)
        content_type, content_encoding = reader.text(_CONTENT_TYPE), reader.text(_CONTENT_ENCODING)
        headers = reader.headers()
        return Message(
            origin="amqp",
            body=self.body,
            content_type=content_type,
            content_encoding=content_encoding,
            headers=headers,
            message_id=reader.message_id(),
            timestamp=reader.timestamp(),
            hops=highest(value for name, value in headers.items() if name.lower() == _HOPS) if headers else 0,
        )


class _Properties:
    """Reads the properties of a content header, each once and in their order."""

    __slots__ = ("_at", "_flags", "_header")

    def __init__(self, header: bytes) -> None:
        self._header = header
        self._flags = int.from_bytes(header[12:14])
        self._at = 14

    def text(self, flag: int) -> str | None:
        if not self._flags & flag:
            return None
        return as_text(self._bytes())

    def headers(self) -> Mapping[str, object]:
        if not self._flags & _HEADERS:
            return {}
        start = self._at
        self._at = end = start + 4 + int.from_bytes(self._header[start : start + 4])
        return read_table(self._header, start, end) if _READ.search(self._header, start, end) else {}

    def message_id(self) -> str | None:
        for flag in (_DELIVERY_MODE, _PRIORITY):
            self._at += bool(self._flags & flag)
        for flag in (_CORRELATION_ID, _REPLY_TO, _EXPIRATION):
            if self._flags & flag:
                self._at += 1 + self._header[self._at]
        return self.text(_MESSAGE_ID)

    def timestamp(self) -> datetime | None:
        """When the message was sent; None when it does not say, or a time that is none, such as one before 1970."""
        if not self._flags & _TIMESTAMP:
            return None
        # Java writes a time before 1970 as a negative number, though AMQP's are not signed.
        return from_number(int.from_bytes(self._header[self._at : self._at + 8], signed=True))

    def _bytes(self) -> bytes:
        start = self._at + 1
        self._at = start + self._header[self._at]
        return self._header[start : self._at]
