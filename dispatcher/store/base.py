"""What both stores do alike: all that is not hot, and what follows from what the hot statements found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from dispatcher.domain.deliveries import Attempt, ClaimedDelivery, Delivery, Outcome, Overdue, State
from dispatcher.domain.digests import Gathered
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import Expansion
from dispatcher.domain.retry import INTERNAL_ERROR_DELAYS, internal_error_delay
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store import (
    delivery_queries,
    digests,
    expansions,
    memos,
    overflow,
    queries,
    subscription_writes,
    turns,
)
from dispatcher.store.breakers import BreakerRepository
from dispatcher.store.destinations import DestinationRepository
from dispatcher.store.filters import (
    DeliveryFilter,
    EventFilter,
    Page,
    Place,
    Window,
)
from dispatcher.store.jobs import JobRepository
from dispatcher.store.keys import KeyRepository
from dispatcher.store.leases import LeaseRepository
from dispatcher.store.quotas import QuotaRepository
from dispatcher.store.rate_limits import RateLimitRepository
from dispatcher.store.recipients import RecipientStore
from dispatcher.store.rows import Row, made_at, safe, safe_filter
from dispatcher.store.session import Run, Session
from dispatcher.store.subscription_mapping import SubscriptionRows
from dispatcher.store.subscriptions import Revision, SubscriptionRepository
from dispatcher.store.tapis_v3 import TapisStore
from dispatcher.store.target_statuses import TargetStatusRepository
from dispatcher.store.tidying import Tidying
from dispatcher.store.waits import WaitRepository

CLAIM_BYTES = 32 * 1024 * 1024
"""Bytes of documents that one claim reads; deliveries of other events are given back."""


class Claim(Struct, frozen=True):
    """A delivery that was claimed, before it is known whether its subscription still wants it.

    There is no event when all documents of the claim were more than CLAIM_BYTES.
    """

    id: str
    event: Event | None
    subscription_id: str
    attempts: int
    restarted_after: int
    since: datetime | None


class SqlStore(ABC):
    """A store on a database that SQLAlchemy knows."""

    session: Session
    leases: LeaseRepository
    breakers: BreakerRepository
    subscriptions: SubscriptionRepository

    def __init__(self, mapping: SubscriptionRows) -> None:
        self._read: Run = self.session.read
        self._write: Run = self.session.write
        self._subscriptions = mapping
        self.tapis = TapisStore(self._read, self._write, self._subscriptions)
        self.recipients = RecipientStore(self.session, self._subscriptions)
        self.destinations = DestinationRepository(self.session)
        self.rate_limits = RateLimitRepository(self.session)
        self.jobs = JobRepository(self.session)
        self.keys = KeyRepository(self.session)
        self.quotas = QuotaRepository(self.session)
        self.waits = WaitRepository(self.session)
        self.target_statuses = TargetStatusRepository(self.session)
        self._tidying = Tidying(self._write)

    @abstractmethod
    async def _waiting(self, after: Mapping[str, Place | None], limit: int) -> Mapping[str, Sequence[Row]]:
        """What waits for each of these destinations: id, subscription_id, due_at and since, as `overdue` wants them."""

    @abstractmethod
    async def _finish(self, process: int, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes and attempts."""

    # Intake and matching

    async def claim_expansions(self, after: bytes) -> list[Expansion]:
        return await self._write(expansions.claim, after)

    async def expanding(self, event_key: str, subscriber: str | None) -> int:
        return await self._read(expansions.remaining, event_key, subscriber)

    # Delivery

    async def finish(self, process: int, outcomes: Sequence[Outcome]) -> None:
        await self.write_outcomes(process, outcomes)
        await self.follow_outcomes(outcomes)

    async def write_outcomes(self, process: int, outcomes: Sequence[Outcome]) -> None:
        noted = {one.delivery_id: one.memo for one in outcomes if one.memo is not None}
        if noted:
            # Before the outcomes: who has been told must not be told again, even after a crash between the two.
            await self._write(memos.note, noted)
        await self._finish(process, outcomes)

    async def follow_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        # What was given up can be sent again: it keeps its memo.
        told = (State.DELIVERED, State.SUPERSEDED)
        over = [one.delivery_id for one in outcomes if one.memo is not None and one.state in told]
        if over:
            await self._write(memos.forget, over)
        ordered = [one.delivery_id for one in outcomes if one.ordered and one.state.final]
        if ordered:
            await self._write(turns.pass_on, ordered)
        untried = [
            one.delivery_id for one in outcomes if one.state.final and one.attempt is None and not one.leads
        ]
        if untried:
            # Those that wait for such a one in a digest have their own age, and may still be sent.
            await self._write(digests.leave_all, untried)
        led = [one.delivery_id for one in outcomes if one.leads and one.state.final]
        if led:
            await self._write(digests.settle, led)
        for subscription_id, some in overflow.late(outcomes).items():
            await self._write(overflow.gather, subscription_id, some)

    async def _memos(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        """The memos of those that were tried before: nothing else can have one that matters."""
        tried = [claim.id for claim in claims if claim.attempts]
        return await self._read(memos.of, tried) if tried else {}

    async def _wanted(
        self, process: int, claims: Sequence[Claim], found: Sequence[Revision]
    ) -> list[ClaimedDelivery]:
        """The claims whose subscription still wants them; the others are settled with the reason."""
        subscriptions = {one.id: one for one in await self.subscriptions.of_revisions(found)}
        noted = await self._memos(claims)
        wanted: list[ClaimedDelivery] = []
        unwanted: list[Outcome] = []
        there = {key for key, _ in found}
        for claim in claims:
            subscription = subscriptions.get(claim.subscription_id)
            if claim.event is None:
                unwanted.append(_given_back(claim))
            elif subscription is None and claim.subscription_id in there:
                unwanted.append(_unreadable(claim))
            elif subscription is not None and subscription.status == "active":
                wanted.append(_claimed(claim, claim.event, subscription, noted.get(claim.id)))
            else:
                unwanted.append(_without(claim, subscription))
        if unwanted:
            await self.finish(process, unwanted)
        return wanted

    async def mend_turns(self, after: int) -> int:
        return await self._write(turns.mend, after)

    async def take_digest(self, leader: str) -> list[Gathered]:
        return await self._write(digests.take, leader)

    async def mend_digests(self, after: str | None) -> str | None:
        return await self._write(digests.mend, after)

    # Destinations

    async def tidy(self) -> None:
        await self._tidying.round()
        await self.breakers.purge()
        await self.recipients.tidy()
        await self.target_statuses.tidy()

    async def overdue(
        self, after: Mapping[str, Place | None], limit: int
    ) -> tuple[list[Overdue], dict[str, Place]]:
        waiting = await self._waiting(after, limit)
        rows = [row for some in waiting.values() for row in some]
        if not rows:
            return [], {}
        found = await self.subscriptions.by_ids({row["subscription_id"] for row in rows})
        subscriptions = {one.id: one for one in found}
        now, old = utc_now(), []
        for row in rows:
            subscription = subscriptions.get(row["subscription_id"])
            since = row["since"] or made_at(row["id"])
            if subscription is not None and since + timedelta(seconds=subscription.retry.max_age) < now:
                old.append(Overdue(row["id"], subscription.kind, subscription.retry.max_age))
        lasts = {name: some[-1] for name, some in waiting.items() if len(some) == limit}
        return old, {name: (last["due_at"], last["id"]) for name, last in lasts.items()}

    async def expire(self, overdue: Sequence[Overdue]) -> int:
        return await self._write(delivery_queries.expire, {one.id: one.max_age for one in overdue}, utc_now())

    async def backlog(self) -> Mapping[State, int]:
        return await self._read(delivery_queries.backlog)

    # What people ask

    async def event(self, tenant: str, key: str) -> Event | None:
        return await self._read(queries.event, safe(tenant), key)

    async def events(self, which: EventFilter, window: Window) -> Page[Event]:
        return await self._read(queries.event_page, safe_filter(which), window)

    async def delivery_counts(self, event_keys: Sequence[str]) -> Mapping[str, int]:
        counts = dict.fromkeys(event_keys, 0)
        for some in queries.chunks(list(counts)):
            counts |= await self._read(queries.delivery_counts, some)
        return counts

    async def delivery(self, tenant: str, delivery_id: str) -> Delivery | None:
        return await self._read(delivery_queries.delivery, safe(tenant), delivery_id)

    async def attempts(self, delivery_id: str) -> list[Attempt]:
        return await self._read(delivery_queries.attempts_of, delivery_id)

    async def deliveries(self, which: DeliveryFilter, window: Window) -> Page[Delivery]:
        return await self._read(delivery_queries.delivery_page, safe_filter(which), window)

    async def count_deliveries(self, which: DeliveryFilter) -> int:
        return await self._read(delivery_queries.count, safe_filter(which))

    async def retry_deliveries(self, which: DeliveryFilter, limit: int) -> int:
        return await self._write(delivery_queries.retry, safe_filter(which), limit, utc_now())

    async def retry_delivery(self, tenant: str, delivery_id: str) -> bool:
        return await self._write(delivery_queries.retry_one, safe(tenant), delivery_id, utc_now())

    async def cancel_delivery(self, tenant: str, delivery_id: str, reason: str) -> bool:
        return await self._write(delivery_queries.cancel_one, safe(tenant), delivery_id, reason, utc_now())


def _claimed(claim: Claim, event: Event, subscription: Subscription, memo: str | None) -> ClaimedDelivery:
    return ClaimedDelivery(
        id=claim.id,
        event=event,
        subscription=subscription,
        attempts=claim.attempts,
        restarted_after=claim.restarted_after,
        since=claim.since or event.accepted_at,
        memo=memo,
    )


def _given_back(claim: Claim) -> Outcome:
    return Outcome(
        delivery_id=claim.id,
        state=State.PENDING,
        attempts=claim.attempts,
        due_at=utc_now(),
        ended_at=None,
        reason=None,
        attempt=None,
    )


def _unreadable(claim: Claim) -> Outcome:
    """What becomes of a delivery whose subscription cannot be read: tried again a few times, then exhausted."""
    number, now = claim.attempts + 1, utc_now()
    delay = internal_error_delay(number - claim.restarted_after, len(INTERNAL_ERROR_DELAYS))
    return Outcome(
        delivery_id=claim.id,
        state=State.EXHAUSTED if delay is None else State.PENDING,
        attempts=number,
        due_at=None if delay is None else now + timedelta(seconds=delay),
        ended_at=now if delay is None else None,
        reason="internal error: the subscription cannot be read",
        attempt=None,
        ordered=delay is None,
    )


def _without(claim: Claim, subscription: Subscription | None) -> Outcome:
    """What becomes of a delivery whose subscription is not in use: held while it is paused, else ended."""
    state, reason = _end_of(subscription)
    return Outcome(
        delivery_id=claim.id,
        state=state,
        attempts=claim.attempts,
        due_at=None,
        ended_at=utc_now() if state.final else None,
        reason=reason,
        attempt=None,
        ordered=state.final and (subscription is None or subscription.ordered),
    )


def _end_of(subscription: Subscription | None) -> tuple[State, str | None]:
    if subscription is None:
        return State.CANCELLED, subscription_writes.REMOVED
    if subscription.status == "paused":
        return State.PENDING, None
    state = State.SUPERSEDED if subscription.status == "completed" else State.CANCELLED
    return state, subscription.status_reason or f"the subscription is {subscription.status}"
