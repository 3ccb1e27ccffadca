"""A message of the broker: its delivery, its content header, and of its properties what decoding needs.

Sources: AMQP 0-9-1, sections 1.8.3.9 "basic.deliver" and 4.2.6.1 "The Content Header".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from struct import error as layout_error

from msgspec.structs import replace
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from dispatcher.domain.hops import HEADER, highest
from dispatcher.domain.times import from_number
from dispatcher.intake.amqp.amqp_1_0 import BODY_TYPE, application_properties, body_of
from dispatcher.intake.amqp.field_table import APPLICATION_PROPERTIES, as_text, read_table
from dispatcher.intake.decode_context import Message

# The bits of the content header that say which properties follow, in this order.
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 0x8000, 0x4000, 0x2000
_DELIVERY_MODE, _PRIORITY = 0x1000, 0x0800
_CORRELATION_ID, _REPLY_TO, _EXPIRATION = 0x0400, 0x0200, 0x0100
_MESSAGE_ID, _TIMESTAMP, _TYPE = 0x0080, 0x0040, 0x0020

_HOPS = HEADER.lower()
_READ = re.compile(
    rb"ce-|cloudevents|specversion|compression|dispatcher-?hops|x-amqp-1\.0-app", re.IGNORECASE
)
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


class AmqpMessage(Message, frozen=True, kw_only=True):
    """A message of the broker, with the arguments of its delivery and its content header as they came.

    `broken` is why its properties or headers could not be read, None when they could. With `body_is_value` its body
    is a value of AMQP 1.0.
    """

    envelope: bytes
    header: bytes
    broken: Exception | None = None
    body_is_value: bool = False

    def decodable(self) -> AmqpMessage:
        """The message with a body that can be decoded. Raises what is `broken`, or InvalidInput."""
        if self.broken is not None:
            raise self.broken
        return replace(self, body=body_of(self.body)) if self.body_is_value else self

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


def read_message(envelope: bytes, header: bytes, body: bytes) -> AmqpMessage:
    """The message of these frames: of its properties no more is read than decoding needs."""
    try:
        reader = _Properties(header)
        content_type, content_encoding = reader.text(_CONTENT_TYPE), reader.text(_CONTENT_ENCODING)
        headers = reader.headers()
        return AmqpMessage(
            origin="amqp",
            body=body,
            content_type=content_type,
            content_encoding=content_encoding,
            headers=headers,
            message_id=reader.message_id(),
            timestamp=reader.timestamp(),
            body_is_value=reader.type() == BODY_TYPE and body.startswith(b"\0"),
            hops=highest(value for name, value in headers.items() if name.lower() == _HOPS) if headers else 0,
            envelope=envelope,
            header=header,
        )
    except Exception as error:  # noqa: BLE001 - it is about this message: the connection and the others go on
        return AmqpMessage(origin="amqp", body=body, envelope=envelope, header=header, broken=error)


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
        if not _READ.search(self._header, start, end):
            return {}
        found = read_table(self._header, start, end)
        raw = found.pop(APPLICATION_PROPERTIES, None)
        return application_properties(raw) | found if isinstance(raw, bytes) else found

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
        start = self._at
        self._at += 8
        # Java writes a time before 1970 as a negative number, though AMQP's are not signed.
        return from_number(int.from_bytes(self._header[start : self._at], signed=True))

    def type(self) -> str | None:
        return self.text(_TYPE)

    def _bytes(self) -> bytes:
        start = self._at + 1
        self._at = start + self._header[self._at]
        return self._header[start : self._at]
