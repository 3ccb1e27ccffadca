"""The queue of deliveries: what waits, what a process claims of it, and what became of its attempts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from dispatcher.domain.deliveries import ExpiredDelivery, OpenDelivery, Outcome, Share, State, Waiting
from dispatcher.domain.events import utc_now
from dispatcher.store import attempt_state, digest_overflow, digests, ordering
from dispatcher.store.claims import Claim, claimed, given_back, unreadable, without
from dispatcher.store.delivery_writes import expire
from dispatcher.store.filters import Place
from dispatcher.store.mapping import Row, made_at
from dispatcher.store.session import Repository, Session
from dispatcher.store.subscriptions import Revision, SubscriptionRepository

COUNTED = 16
"""How many due deliveries are counted of a subscription that was found by going from one to the next."""


class DeliveryQueue(Repository, ABC):
    """The queue. Its claims belong to processes with a lease."""

    def __init__(self, session: Session, subscriptions: SubscriptionRepository) -> None:
        super().__init__(session)
        self._subscriptions = subscriptions

    @abstractmethod
    async def waiting_destinations(self, after: str, limit: int) -> list[tuple[str, datetime | None]]:
        """The next `limit` destinations after this name for which something waits, and when the first of it is due.

        None when all of it is being tried.
        """

    @abstractmethod
    async def find_queues(self, after: Mapping[str, str], first: int, more: int) -> Mapping[str, Waiting]:
        """What waits for these destinations, by subscription.

        It finds the subscriptions of the `first` deliveries that are due longest. When there are as many, further
        subscriptions are looked at, `more` at most: those after the id that is given for the destination ("" at first).
        """

    @abstractmethod
    async def claim(self, lease_id: int, limit: int, shares: Sequence[Share]) -> list[OpenDelivery]:
        """Claim what is due of these subscriptions and that no other process has: for each so many, `limit` in all."""

    @abstractmethod
    async def _record(self, lease_id: int, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes and attempts."""

    @abstractmethod
    async def _waiting(self, after: Mapping[str, Place | None], limit: int) -> Mapping[str, Sequence[Row]]:
        """What waits for each of these destinations: id, subscription_id, due_at and since."""

    async def finish(self, lease_id: int, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes, and do what follows from them: `record_outcomes` and `run_side_effects`."""
        await self.record_outcomes(lease_id, outcomes)
        await self.run_side_effects(outcomes)

    async def record_outcomes(self, lease_id: int, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes and attempts of deliveries that this process has claimed.

        An outcome whose claim was lost changes no state (its attempt is kept): the process that has the claim decides.
        Once it is written its delivery may be claimed again: writing it again would end that claim.
        """
        noted = {one.delivery_id: one.attempt_state for one in outcomes if one.attempt_state is not None}
        if noted:
            # Before the outcomes: a receiver that has the message must not get it again, even after a crash
            # between the two.
            await self._write(attempt_state.note, noted)
        await self._record(lease_id, outcomes)

    async def run_side_effects(self, outcomes: Sequence[Outcome]) -> None:
        """Let those go on who waited for these outcomes, which are written. It may be repeated."""
        # What was given up can be sent again: it keeps its memo.
        arrived = (State.DELIVERED, State.SUPERSEDED)
        over = [one.delivery_id for one in outcomes if one.attempt_state is not None and one.state in arrived]
        if over:
            await self._write(attempt_state.forget, over)
        ordered = [one.delivery_id for one in outcomes if one.ordered and one.state.final]
        if ordered:
            await self._write(ordering.advance, ordered)
        untried = [
            one.delivery_id for one in outcomes if one.state.final and one.attempt is None and not one.leads
        ]
        if untried:
            # Those that wait for such a one in a digest have their own age, and may still be sent.
            await self._write(digests.remove_members, untried)
        led = [one.delivery_id for one in outcomes if one.leads and one.state.final]
        if led:
            await self._write(digests.finish_members, led)
        for subscription_id, some in digest_overflow.late(outcomes).items():
            await self._write(digest_overflow.gather, subscription_id, some)

    async def _memos(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        """The memos of those that were tried before: nothing else can have one that matters."""
        tried = [claim.id for claim in claims if claim.attempts]
        return await self._read(attempt_state.of, tried) if tried else {}

    async def _wanted(
        self, lease_id: int, claims: Sequence[Claim], found: Sequence[Revision]
    ) -> list[OpenDelivery]:
        """The claims whose subscription still wants them; the others are settled with the reason."""
        subscriptions = {one.id: one for one in await self._subscriptions.of_revisions(found)}
        noted = await self._memos(claims)
        wanted: list[OpenDelivery] = []
        unwanted: list[Outcome] = []
        there = {key for key, _ in found}
        for claim in claims:
            subscription = subscriptions.get(claim.subscription_id)
            if claim.event is None:
                unwanted.append(given_back(claim))
            elif subscription is None and claim.subscription_id in there:
                unwanted.append(unreadable(claim))
            elif subscription is not None and subscription.status == "active":
                wanted.append(claimed(claim, claim.event, subscription, lease_id, noted.get(claim.id)))
            else:
                unwanted.append(without(claim, subscription))
        if unwanted:
            await self.finish(lease_id, unwanted)
        return wanted

    async def find_expired(
        self, after: Mapping[str, Place | None], limit: int
    ) -> tuple[list[ExpiredDelivery], dict[str, Place]]:
        """Which of the next `limit` that wait for each of these destinations have become too old.

        They begin after a place (due time and id), and the answer has the places at which there may be more.
        """
        waiting = await self._waiting(after, limit)
        rows = [row for some in waiting.values() for row in some]
        if not rows:
            return [], {}
        found = await self._subscriptions.by_ids({row["subscription_id"] for row in rows})
        subscriptions = {one.id: one for one in found}
        now, old = utc_now(), []
        for row in rows:
            subscription = subscriptions.get(row["subscription_id"])
            since = row["since"] or made_at(row["id"])
            if subscription is not None and since + timedelta(seconds=subscription.retry.max_age) < now:
                old.append(ExpiredDelivery(row["id"], subscription.kind, subscription.retry.max_age))
        lasts = {name: some[-1] for name, some in waiting.items() if len(some) == limit}
        return old, {name: (last["due_at"], last["id"]) for name, last in lasts.items()}

    async def expire(self, expired: Sequence[ExpiredDelivery]) -> int:
        """Exhaust those of them that still wait. How many."""
        return await self._write(expire, {one.id: one.max_age for one in expired}, utc_now())
