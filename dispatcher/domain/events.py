"""Events: one thing that happened to one job, and the CloudEvents document that goes out for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from dispatcher.domain.data_paths import value_in_data
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.names import is_name

DEFAULT_SOURCE = "/jobs"
DEFAULT_TENANT = "default"

LONG_DOCUMENT = 64 * 1024
"""Bytes from which on a document is decoded for each use: decoded, it can take thirty times as much memory."""

_DECODED = 46
"""How much memory a document and its decoded form can take, in sizes of the document."""
_OBJECT = 1024
"""Bytes that an event takes beside its document."""

_LIMITS = {
    "id": 255,
    "source": 1024,
    "type": 255,
    "subject": 255,
    "job_id": 255,
    "owner": 255,
    "tenant": 64,
    "event": 64,
}

_OWN = frozenset({"event", "job_id", "owner", "tenant"})
"""What filters see beside the document's attributes, or in their place."""

_KEPT_PATHS = 64

_SHORT = min(_LIMITS.values())
_MAX_BITS = 3400
"""Of a number that has some thousand digits. Python refuses to write more than 4300."""

_decode_document = msgspec.json.Decoder(dict[str, object]).decode


class Event(Struct, frozen=True, kw_only=True, dict=True):
    """An event as it was accepted.

    `key` is our id of it (`evt_…`); `id`, `source` and `type` are the publisher's, as CloudEvents 1.0 means them.
    `document` is the event as structured CloudEvents JSON: what is stored, and the body of a webhook by default.
    `published_by` is the owner for whom alone its publisher may speak, and then `owner` too; None for a trusted one.
    """

    key: str
    id: str
    source: str
    type: str
    event: str
    job_id: str
    owner: str | None
    tenant: str
    time: datetime
    accepted_at: datetime
    document: bytes
    published_by: str | None = None

    @property
    def identity(self) -> tuple[str, str, str, str | None]:
        """What makes two events the same one: tenant, source and id, and for whom alone the publisher may speak.

        Without the last, the event of somebody who guesses a source and an id would make the real one a duplicate.
        """
        return (self.tenant, self.source, self.id, self.published_by)

    @property
    def size(self) -> int:
        """Bytes of memory that it takes at most, while its decoded document is kept."""
        length = len(self.document)
        return _OBJECT + (length if length > LONG_DOCUMENT else _DECODED * length)

    @property
    def decoded(self) -> Mapping[str, object]:
        """The document as a mapping. It is kept from its first use on, unless it is long."""
        return self._kept() if len(self.document) <= LONG_DOCUMENT else _decode_document(self.document)

    def _kept(self) -> Mapping[str, object]:
        # What functools has for this takes a lock that costs more than to decode a short document.
        found: Mapping[str, object] | None = self.__dict__.get("decoded")
        if found is None:
            found = self.__dict__["decoded"] = _decode_document(self.document)
        return found

    def drop_cached_document(self) -> None:
        """Forget what was decoded: most that wait to be delivered go out as they came, and the rest decode it again."""
        self.__dict__.clear()

    def with_cached_document(self) -> Event:
        """The event for somebody who reads much of it at once, and then drops it: what is decoded is kept."""
        return self if len(self.document) <= LONG_DOCUMENT else _CachedEvent(**asdict(self))

    @cached_property
    def attributes(self) -> dict[str, str]:
        """The CloudEvents attributes as text, with `event`, `job_id`, `owner` and `tenant`: what filters look at."""
        found = {name: _text(value) for name, value in self.decoded.items() if _is_attribute(name, value)}
        found |= {"event": self.event, "job_id": self.job_id, "tenant": self.tenant}
        if self.owner is not None:
            found["owner"] = self.owner
        return found

    def attribute(self, name: str, /) -> str | int | bool | None:
        """One of the attributes with the type that it came with; None when the event does not have it."""
        return self._typed.get(name)

    @cached_property
    def _typed(self) -> dict[str, str | int | bool]:
        document = self.decoded
        return {
            name: text if name in _OWN else _with_type(document.get(name), text)
            for name, text in self.attributes.items()
        }

    def data_at(self, path: str, steps: Sequence[str]) -> object:
        """What stands at a path in the data, or in the publisher's own; None when nothing does.

        What the paths that come first lead to is kept where the decoded document is: many filters have the same ones.
        """
        found: dict[str, object] | None = self.__dict__.get("_found")
        if found is None:
            found = {}
            if self._keeps_decoded:
                self.__dict__["_found"] = found
        elif path in found:
            return found[path]
        value = value_in_data(self.data, steps)
        if len(found) < _KEPT_PATHS:
            found[path] = value
        return value

    @property
    def _keeps_decoded(self) -> bool:
        return len(self.document) <= LONG_DOCUMENT

    @property
    def data(self) -> object:
        """The `data` of the document, or None when it has none that is JSON."""
        return self.decoded.get("data")

    @property
    def job(self) -> Mapping[str, object]:
        """The job document in the event's data: `data.job`, or a CloudEvent's whole data; empty without one."""
        data = self.data
        if not isinstance(data, dict):
            return {}
        job = data.get("job", data)
        return job if isinstance(job, dict) else {}

    @property
    def message(self) -> str | None:
        """What the publisher says about it, if anything."""
        data = self.data
        return text_in(data, "message", "description") if isinstance(data, dict) else None


class _CachedEvent(Event, frozen=True, kw_only=True, dict=True):
    """An event that keeps even a long document decoded."""

    def with_cached_document(self) -> Event:
        """The event itself."""
        return self

    @property
    def decoded(self) -> Mapping[str, object]:
        return self._kept()

    @property
    def _keeps_decoded(self) -> bool:
        return True


def _text(value: object) -> str:
    """An attribute's value in its canonical form as a text (CloudEvents 1.0, section Type System)."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _with_type(value: object, text: str) -> str | int | bool:
    """An attribute's value as it is if CloudEvents has its type, and as a text otherwise."""
    return value if isinstance(value, bool) or (type(value) is int and -(2**31) <= value < 2**31) else text


def _is_attribute(name: str, value: object) -> bool:
    return name not in ("data", "data_base64") and isinstance(value, (str, int, bool))


def text_in(document: Mapping[str, object], *names: str) -> str | None:
    """The first of these fields that holds a text which is not empty, or a whole number as text."""
    for name in names:
        value = document.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return digits(value)
    return None


def digits(number: int) -> str | None:
    """A whole number as text; None when it is longer than any text that is kept."""
    return str(number) if number.bit_length() <= _MAX_BITS else None


def is_short_text(value: str) -> bool:
    """Whether a text may stand in every field, as nearly all do; `check_text` looks at the others."""
    return 0 < len(value) <= _SHORT and value.isprintable()


def check_text(field: str, value: str) -> str:
    """`value` itself, or InvalidInput when it is empty, too long for `field` or has control characters."""
    if is_short_text(value):
        return value
    limit = _LIMITS.get(field.rpartition(".")[2], 1024)
    if not value:
        raise InvalidInput(field, "expected a text that is not empty")
    if len(value) > limit:
        raise InvalidInput(field, f"expected at most {limit} characters, got {len(value)}")
    if not is_name(value):
        raise InvalidInput(
            field, "expected no control characters, no line breaks and none that turn the text around"
        )
    return value


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)
