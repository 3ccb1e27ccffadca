"""Digests: many events in one message. Nothing is dropped; what comes too soon is gathered.

The timers are those of Prometheus's Alertmanager. Job events are edges and no states, so all of them are sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Annotated

from msgspec import Meta, Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.variable_values import data_text

MAX_MEMBERS = 10_000
"""Events in one digest; more make another one."""

MAX_BYTES = 8 * 1024 * 1024
"""Bytes of the documents in one digest; more make another one."""

MAX_INTERVAL = 604_800
"""Seconds between two messages of a digest at most."""

MAX_VALUE = 1024
"""Characters of a value that events are grouped by; a hash stands for a longer one."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}|data(\.[A-Za-z0-9_-]{1,64}){1,16}")

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
GroupName = Annotated[str, Meta(max_length=255)]


class DigestPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """When gathered events go out, which of them together, and how many a message shows.

    The first event after a quiet time goes after `wait` seconds, those that follow every `interval` seconds.
    `group_by` names event attributes (`owner`) and paths into the data (`data.array_id`). A message has `max_rows` rows
    at most; a webhook's batch as many events.
    """

    wait: Seconds = 0
    interval: Annotated[float, Meta(ge=1, le=MAX_INTERVAL)] = 300
    group_by: Annotated[tuple[GroupName, ...], Meta(max_length=8)] = ()
    max_rows: Annotated[int, Meta(ge=1, le=1000)] = 100

    def check(self) -> None:
        """Raise InvalidInput when a name in `group_by` can be nothing of an event, or stands there twice."""
        for place, name in enumerate(self.group_by):
            if name in self.group_by[:place]:
                raise InvalidInput(
                    f"digest.group_by[{place}]", f"expected each name once, got {name!r} again"
                )
            if _NAME.fullmatch(name) is None:
                raise InvalidInput(
                    f"digest.group_by[{place}]",
                    f"expected an attribute of events, such as owner, or a path such as data.array_id, got {name!r}",
                )

    def values(self, event: Event) -> tuple[str, ...]:
        """What `group_by` stands for in an event; empty where it has nothing, a hash where it is long."""
        return GroupValues(event).of(self.group_by)


class GroupValues:
    """What names in `group_by` stand for in one event. Each is looked up once, however many policies name it.

    So the cost is bounded by the size of the event, whatever subscribers chose.
    """

    def __init__(self, event: Event) -> None:
        self._event = event
        self._held: Event | None = None
        self._known: dict[str, str] = {}

    def of(self, names: Sequence[str]) -> tuple[str, ...]:
        """The values of these names, MAX_VALUE characters each at most."""
        return tuple([self._value(name) for name in names])

    def _value(self, name: str) -> str:
        value = self._known.get(name)
        if value is None:
            if self._held is None:
                self._held = self._event.with_cached_document()
            if name.startswith("data."):
                found = data_text(self._held.data, name.split(".")[1:])
            else:
                found = str(self._held.attributes.get(name, ""))
            value = self._known[name] = found if len(found) <= MAX_VALUE else _hashed(found)
        return value


def _hashed(value: str) -> str:
    return f"blake2b:{blake2b(value.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


class Gathered(Struct, frozen=True):
    """One of the events in a digest, its delivery, and what the target kind noted about that."""

    delivery_id: str
    event: Event
    memo: str | None = None


def group_id(subscription_id: str, values: tuple[str, ...]) -> bytes:
    """16 bytes that are the same for one group of one subscription only."""
    digest = blake2b(subscription_id.encode(), digest_size=16)
    for value in values:
        text = value.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%s" % (len(text), text))
    return digest.digest()


OVERFLOW = ("\0overflow",)
"""The values of the group that holds what came when a recipient could take no more."""


class Group(Struct):
    """Where a group stands: who leads the digest that still gathers, when that goes, and when the last one went.

    The leader is the first delivery in it. It waits for its time as every delivery does; the others wait for it.
    """

    leader: str | None = None
    due_at: datetime | None = None
    sent_at: datetime | None = None
    members: int = 0
    bytes: int = 0

    def place(
        self, delivery_id: str, size: int, policy: DigestPolicy, most: int, now: datetime, *, count: int = 1
    ) -> str | None:
        """Let a delivery in whose event has `size` bytes. Its leader, or None when it leads itself, from now on.

        One that has led a digest brings its members: it counts for `count` then, and `size` is that of all.
        """
        if self.leader is not None and self.members + count <= most and self.bytes + size <= MAX_BYTES:
            self.members += count
            self.bytes += size
            return self.leader
        # A digest that is full goes with the one after it, at the same time.
        if self.leader is None:
            quiet = self.sent_at is None or self.sent_at + timedelta(seconds=policy.interval) <= now
            self.due_at = (
                now + timedelta(seconds=policy.wait)
                if quiet or self.sent_at is None
                else self.sent_at + timedelta(seconds=policy.interval)
            )
        self.leader, self.members, self.bytes = delivery_id, count, size
        return None
