"""What a target kind provides, and the result of one attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from dispatcher.domain.digests import Gathered
from dispatcher.domain.events import Event
from dispatcher.domain.recipients import RecipientRepository, ShownRecipient
from dispatcher.domain.subscriptions import Subscription

UNTRUSTED = (
    "not done: the event was published with an owner's own key, and the subscription is for every owner; name the "
    "owner in the subscription, or give the publisher a key with publish:any"
)
"""Why a target that acts does not believe an event."""


class AttemptResult(Struct, frozen=True, kw_only=True):
    """How one attempt ended.

    `request_line` says what was sent (`POST https://…`); `status` and `body` (text, cut) are what came
    back. `error` is None exactly when it was delivered. `retry_after` (seconds) is what the receiver asked for.
    """

    request_line: str
    status: int | None = None
    body: str | None = None
    error: str | None = None
    retry_after: float | None = None
    retry_early: bool = False
    """The connection was closed before a response: worth one early retry."""
    destination_error: str | None = None
    """What is wrong with the destination, for all who use it; None when `error` names nothing of one delivery."""
    destination_down: bool = False
    """Other subscriptions fare no better there: it could not be reached, or its error is not about one of them."""
    not_sent: bool = False
    """The attempt failed before the destination was asked: it says nothing about the destination."""
    concerns_subscription: bool = False
    """What failed is the subscription's, such as its token endpoint or a time limit: others may fare better there."""
    overloaded: bool = False
    """The destination works, and wants fewer attempts at once."""
    healthy: bool = False
    """The destination works, whatever `status` says."""
    permanent: bool = False
    """No retry can help."""
    disable_subscription: bool = False
    """The receiver wants nothing more from this subscription."""
    retry_at_delay: float | None = None
    """Seconds: what is left is to be tried then and not before, because it is not the time yet (`error` says why).

    That is no retry. Without a `status` nothing was tried at all, and it is no attempt either. With a
    `destination_error` something else was tried in its place, and the destination failed.
    """
    coalesce: bool = False
    """With `retry_at_delay`: what waits of this subscription should go in one message then."""
    superseded: bool = False
    """A later one has arrived there (`error` says so). Without a `status` this one was not sent."""
    attempt_state: str | None = None
    """What the kind wants to know at the next attempt of this delivery, such as who has it already."""

    @property
    def not_attempted(self) -> bool:
        """Whether it is about no attempt."""
        return self.status is None and (self.superseded or self.retry_at_delay is not None)

    @property
    def is_destination_failure(self) -> bool:
        """Whether the destination itself failed, as far as this result says."""
        settled = (
            self.error is None or self.not_sent or self.permanent or self.disable_subscription or self.healthy
        )
        if settled or (self.retry_at_delay is not None and self.destination_error is None):
            return False
        return self.status is None or self.status >= 500


class TargetStatuses(Protocol):
    """Keeps statuses in order at targets with state; see `dispatcher.store.target_statuses`."""

    async def begin(
        self, key: bytes, event_key: str, delivery_id: str, seconds: float
    ) -> Literal["go", "wait", "superseded"]: ...

    async def finish(
        self, key: bytes, event_key: str, delivery_id: str, *, delivered: bool, interval: float = 0.0
    ) -> None: ...


class OAuthTokens(Protocol):
    """Keeps access tokens for all processes; see `dispatcher.store.oauth_tokens`."""

    async def read(self, credentials: bytes) -> bytes | None: ...

    async def begin(self, credentials: bytes, seconds: float) -> bool: ...

    async def finish(self, credentials: bytes, token: bytes | None, until: datetime) -> None: ...


class KindStore(Protocol):
    """What the store keeps for kinds with state."""

    @property
    def oauth_tokens(self) -> OAuthTokens: ...

    @property
    def target_statuses(self) -> TargetStatuses: ...

    @property
    def recipients(self) -> RecipientRepository: ...


class Sender(Protocol):
    """One subscription's target, made ready: all that can be prepared once is prepared."""

    async def send(
        self, event: Event, delivery_id: str, number: int, attempt_state: str | None
    ) -> AttemptResult:
        """Make attempt `number` (from 1). Never raises for what a receiver or the network does.

        `attempt_state` is that of the last result of this delivery.
        """
        ...


@runtime_checkable
class DigestSender(Sender, Protocol):
    """The sender of a kind that can tell of many events in one message."""

    @property
    def overflows(self) -> bool:
        """Whether it may ask to `coalesce` deliveries, so that one that comes may have others with it."""
        ...

    async def send_digest(self, gathered: Sequence[Gathered], number: int) -> AttemptResult:
        """Make attempt `number` with all of these, of which the first leads: the message has its delivery's id.

        The `attempt_state` of the result is the leader's.
        """
        ...


class TargetKind(Protocol):
    """One way of delivering; each kind is a module or folder of `dispatcher.targets`, or of another package."""

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
        """Close connections."""
        ...


@runtime_checkable
class DigestKind(TargetKind, Protocol):
    """A kind whose senders are DigestSenders."""

    def check_digest(self, target: Struct) -> None:
        """Raise InvalidInput when this target cannot tell of many events in one message."""
        ...


class AttemptLimits(Protocol):
    """Keeps what is sent to the limits of its destination; see `dispatcher.delivery.trial.Trials`."""

    async def send(
        self, subscription: Subscription, send: Callable[[], Awaitable[AttemptResult]], *, returns: bool
    ) -> AttemptResult:
        """What `send` answers. Raises Conflict when nothing may go now.

        Raises RateLimited when a rate limit lets nothing go; who `returns` after its seconds has that time to itself.
        """
        ...


@runtime_checkable
class RecipientKind(TargetKind, Protocol):
    """A kind whose targets name people, who may have to agree before they get messages."""

    def check_recipients(self, subscription: Subscription) -> None:
        """Raise InvalidInput when somebody would have to agree and cannot be asked."""
        ...

    def invite(self, subscription: Subscription) -> None:
        """Ask those who have to agree; it goes on after this returns."""
        ...

    async def recipients(self, subscriptions: Sequence[Subscription]) -> Mapping[str, list[ShownRecipient]]:
        """How it stands with the recipients of subscriptions of this kind, by the subscriptions' ids."""
        ...

    async def restore(self, subscription: Subscription, address: str) -> ShownRecipient:
        """Let a recipient have messages again. Raises NotFound and Conflict."""
        ...

    def limit_to(self, limits: AttemptLimits) -> None:
        """Keep what is sent apart from deliveries to these limits."""
        ...
