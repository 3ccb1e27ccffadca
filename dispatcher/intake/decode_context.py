"""A message as it came in, and the context in which its events are decoded: defaults, checks, places of errors."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import EVENT_NAME, EVENTS, first_name, is_operational, known_as
from dispatcher.domain.events import Event, check_text, digits, is_short_text
from dispatcher.domain.hops import EXTENSION, MAX_HOPS, highest
from dispatcher.domain.names import is_name
from dispatcher.domain.times import parse_time

MAX_DEPTH = 100
"""How deep the JSON of one event may be nested. Nothing that reads it later can run out of stack."""

_AT = re.compile(r"(?P<problem>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_MAX_MESSAGE_ID = 200


class TooManyHops(InvalidInput):
    """An event has passed through Dispatcher more often than it may."""


class Message(Struct, frozen=True, kw_only=True):
    """What came in, not understood yet.

    `origin` is the name of its source: "http", "amqp". `hops` is how often its sender says that it passed through a
    Dispatcher, 0 when it says nothing. `headers` are those of HTTP, or the application headers of AMQP. `content_type`,
    `content_encoding`, `message_id` and `timestamp` are the headers or properties of these names; the last two are
    AMQP's.
    """

    origin: str
    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, object] = {}
    message_id: str | None = None
    timestamp: datetime | None = None
    hops: int = 0

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in small letters; empty when there is none."""
        return _media_type(self.content_type or "")


class DecodeContext(Struct, frozen=True):
    """What the events of one message share, and which of them is being read.

    `index` is its position in an array, None outside of one. With `tenant_fixed` no event may name another
    tenant than `default_tenant`. `publisher` is the owner for whom alone the publisher may speak, None for a trusted
    one: an event that names no owner is of the `publisher`. `adapters` are the forms of other systems that are read.
    """

    message: Message
    default_tenant: str
    tenant_fixed: bool
    now: datetime
    publisher: str | None = None
    index: int | None = None
    adapters: Sequence[IntakeAdapter] = ()

    @property
    def sent_at(self) -> datetime:
        """The time of an event that does not tell its own: when its AMQP message was sent, or now."""
        return self.message.timestamp or self.now

    def at(self, field: str) -> str:
        """The path of a field as an error names it: `job_id`, or `[3].job_id` in an array."""
        if self.index is None:
            return field
        return f"[{self.index}].{field}" if field else f"[{self.index}]"

    def refusal(self, field: str, problem: str) -> InvalidInput:
        """The error that names this field."""
        return InvalidInput(self.at(field), problem)

    def text(self, field: str, value: str | int) -> str:
        """The value as text when it may stand in this field. A whole number is taken as its digits."""
        if isinstance(value, int):
            written = digits(value)
            if written is None:
                raise self.refusal(field, "expected a text, got a number of more than a thousand digits")
            value = written
        if is_short_text(value):
            return value
        return check_text(self.at(field), value)

    def event_name(self, field: str, value: str) -> str:
        """The name of an event, as the catalogue has it. What follows its first word is left out."""
        if value in EVENTS:
            return value
        name = known_as(value) if EVENT_NAME.fullmatch(value) else first_name(value)
        if name is None:
            expected = "expected an event name: a letter, then at most 63 letters, digits, or any of _ . : -"
            raise self.refusal(field, f"{expected}; got {value[:80]!r}")
        if is_operational(name):
            raise self.refusal(
                field, f"{name[:80]!r} is an event about Dispatcher itself: expected one of a job"
            )
        return name

    def check_base64(self, field: str, value: str) -> None:
        """Refuse a text that is no base64."""
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            raise self.refusal(field, "expected a text in base64 (RFC 4648, section 4)") from None

    def time(self, field: str, value: str | float) -> datetime:
        """The value as a time in UTC."""
        return parse_time(self.at(field), value)

    def hops(self, named: object = None) -> int:
        """What the document says of its hops: one more than the event had, 0 when it comes here for the first time.

        `named` is what the event itself says. Raises TooManyHops.
        """
        if named is None and not self.message.hops:
            return 0
        passed = highest((self.message.hops, named))
        if passed > MAX_HOPS:
            raise TooManyHops(
                self.at(EXTENSION),
                f"expected an event that passed through Dispatcher {MAX_HOPS} times at most, this one did "
                f"{passed} times: a subscription sends its events back here",
            )
        return passed + 1 if passed else 0

    def tenant(self, named: str | int | None) -> str:
        """The tenant of an event that names this one, or none."""
        if isinstance(named, int):
            named = self.text("tenant", named)
        if named is None or named in ("", self.default_tenant):
            return self.default_tenant
        if self.tenant_fixed:
            expected = f"expected {self.default_tenant!r}, the tenant of the key, or no tenant"
            raise self.refusal("tenant", f"{expected}; got {named[:80]!r}")
        return self.text("tenant", named)

    def stable_id(self) -> str | None:
        """An id for an event without one: the same when the broker delivers its message again. None on HTTP.

        The body and the time of sending are part of it, because some publishers give many messages the same id.
        """
        message = self.message
        if not message.message_id or not is_name(message.message_id):
            return None
        digest = blake2b(message.body, digest_size=8)
        if message.timestamp is not None:
            digest.update(message.timestamp.isoformat().encode())
        position = "" if self.index is None else f"-{self.index}"
        return f"{message.message_id[:_MAX_MESSAGE_ID]}-{digest.hexdigest()}{position}"


@runtime_checkable
class IntakeAdapter(Protocol):
    """Another system's form of events: a JSON document that is none of ours. See `dispatcher.intake.adapters`.

    `mark` is in the bytes of every such document. One without it is never shown to the adapter.
    """

    mark: bytes

    def matches(self, document: bytes) -> bool:
        """Whether this JSON document has the form. What cannot be read has not."""
        ...

    def read(self, document: bytes, context: DecodeContext) -> Sequence[Event]:
        """The events that it becomes. Raises InvalidInput that names the field."""
        ...


@lru_cache(256)
def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def unreadable(error: Exception, context: DecodeContext) -> InvalidInput:
    """The refusal for an error of the JSON decoder, with the path that it tells."""
    if isinstance(error, msgspec.ValidationError):
        found = _AT.fullmatch(str(error))
        if found is None:
            return context.refusal("", str(error))
        return context.refusal(found["path"].removeprefix("."), found["problem"])
    if isinstance(error, RecursionError):
        return context.refusal("", f"expected JSON that is nested at most {MAX_DEPTH} deep")
    return context.refusal("", f"expected valid JSON in UTF-8: {error}")


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the JSON decoder raises on wrong input."""
