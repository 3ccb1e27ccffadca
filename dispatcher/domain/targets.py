"""What a target kind provides, and how its answer to an attempt is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from dispatcher.domain.digests import Gathered
from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription

UNTRUSTED = (
    "not done: the event was published with an owner's own key, and the subscription is for every owner; name the "
    "owner in the subscription, or give the publisher a key with publish:any"
)
"""Why a target that acts does not believe an event."""


class Answer(Struct, frozen=True, kw_only=True):
    """How one attempt ended.

    `request` is one line that says what was asked (`POST https://…`); `status` and `body` (text, cut) are what came
    back. `error` is None exactly when it was delivered. `retry_after` (seconds) is what the receiver asked for.
    """

    request: str
    status: int | None = None
    body: str | None = None
    error: str | None = None
    retry_after: float | None = None
    early: bool = False
    """The connection was gone before an answer: worth one early retry."""
    trouble: str | None = None
    """What is wrong with the destination, for all who use it; None when `error` names nothing of one delivery."""
    destination_down: bool = False
    """Whoever sends there fares no better: it could not be reached, or its trouble is not of one subscription."""
    overloaded: bool = False
    """The destination works, and wants fewer attempts at once."""
    healthy: bool = False
    """The destination works, whatever `status` says."""
    final: bool = False
    """No retry can help."""
    disable: bool = False
    """The receiver wants nothing more from this subscription."""
    postponed: float | None = None
    """Seconds: what is left is to be tried then and not before, because it is not the time yet (`error` says why).

    That is no retry. Without a `status` nothing was tried at all, and it is no attempt either. With a `trouble`
    something else was tried in its place, and the destination failed.
    """
    together: bool = False
    """With `postponed`: what is postponed of this subscription should go in one message then."""
    superseded: bool = False
    """It was not sent, because a later one has arrived there (`error` says so)."""
    memo: str | None = None
    """What the kind wants to know at the next attempt of this delivery, such as who has it already."""

    @property
    def untried(self) -> bool:
        """Whether it is about no attempt."""
        return self.superseded or (self.postponed is not None and self.status is None)

    @property
    def unwell(self) -> bool:
        """Whether the destination itself is in trouble, as far as this answer tells."""
        settled = self.error is None or self.final or self.disable or self.healthy
        if settled or (self.postponed is not None and self.trouble is None):
            return False
        return self.status is None or self.status >= 500


class TargetStatuses(Protocol):
    """Keeps statuses in order at targets with state; see `dispatcher.store.target_statuses`."""

    async def begin(
        self, key: bytes, event_key: str, delivery_id: str, seconds: float
    ) -> Literal["go", "wait", "superseded"]: ...

    async def finish(self, key: bytes, event_key: str, delivery_id: str, *, delivered: bool) -> None: ...


class Sender(Protocol):
    """One subscription's target, made ready: all that can be prepared once is prepared."""

    async def send(self, event: Event, delivery_id: str, number: int, memo: str | None) -> Answer:
        """Make attempt `number` (from 1). Never raises for what a receiver or the network does.

        `memo` is what the last answer of this delivery said in its own.
        """
        ...


@runtime_checkable
class DigestSender(Sender, Protocol):
    """The sender of a kind that can tell of many events in one message."""

    @property
    def overflows(self) -> bool:
        """Whether it may postpone deliveries `together`, so that one that comes may have others with it."""
        ...

    async def send_digest(self, gathered: Sequence[Gathered], number: int) -> Answer:
        """Make attempt `number` with all of these, of which the first leads: the message has its delivery's id.

        The memo of the answer is the leader's.
        """
        ...


class TargetKind(Protocol):
    """One way of delivering; each kind is one module in `dispatcher.targets`."""

    @property
    def name(self) -> str:
        """What stands in `target.kind`."""
        ...

    @property
    def spec(self) -> type[Struct]:
        """The msgspec model of `target`, tagged with the kind's name: its schema is part of the API's."""
        ...

    def check(self, target: Struct) -> str:
        """The destination of a new or changed target (such as `https://example.org:443`).

        Raises InvalidInput, its field below `target`, when the target cannot work.
        """
        ...

    def redact(self, target: Struct) -> dict[str, object]:
        """The target as the API shows it: credentials replaced."""
        ...

    def sender(self, subscription: Subscription) -> Sender:
        """The sender for this revision of a subscription."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class DigestKind(TargetKind, Protocol):
    """A kind whose senders are DigestSenders."""

    def check_digest(self, target: Struct) -> None:
        """Raise InvalidInput when this target cannot tell of many events in one message."""
        ...
