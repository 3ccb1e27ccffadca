"""Finds the subscriptions that want the events of a batch, with one question to the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

import structlog

from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import Expansion
from dispatcher.domain.permissions import permission_of
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription, event_match_keys
from dispatcher.matching.selection import Match, PageStore, Selection, select
from dispatcher.telemetry.metrics import INTERNAL_ERRORS

log = structlog.get_logger("dispatcher.matching")

Permit = tuple[str, str, str, str]


class GrantStore(Protocol):
    """Knows who may see whose jobs; see `dispatcher.store.jobs.JobRepository`."""

    async def granted(self, wanted: Iterable[Permit]) -> set[Permit]: ...


class SubscriptionStore(PageStore, Protocol):
    """Finds subscriptions; see `dispatcher.store.subscriptions.SubscriptionRepository`."""

    async def find_matching(self, match_keys: Iterable[str]) -> list[Subscription]: ...

    async def in_use(self, subscription_ids: Collection[str]) -> list[Subscription]: ...


class MatchStore(Protocol):
    """What matching needs of the store."""

    @property
    def subscriptions(self) -> SubscriptionStore: ...

    @property
    def jobs(self) -> GrantStore: ...


class Matcher:
    """Matches batches of events. Keeps nothing: a subscription works from the moment that it is stored."""

    def __init__(self, store: MatchStore) -> None:
        self._store = store

    async def match(self, events: Sequence[Event]) -> list[Match]:
        """Who wants what, in the order of the events. Raises StoreUnavailable."""
        keys = [event_match_keys(event) for event in events]
        by_key: defaultdict[str, list[Subscription]] = defaultdict(list)
        wanted_keys = {key for group in keys for key in group}
        for subscription in await self._store.subscriptions.find_matching(wanted_keys):
            by_key[subscription.match_key].append(subscription)
        if not by_key:
            return []
        wanted = [
            (event, subscription)
            for event, group in zip(events, keys, strict=True)
            for key in group
            for subscription in by_key.get(key, ())
            if _wants(event, subscription)
        ]
        return await self._allowed(wanted, events)

    async def select(
        self, messages: Sequence[Sequence[Event]], unwanted: Callable[[], bool] = lambda: False
    ) -> Selection:
        """The same for messages with any number of events and subscribers: what is too much becomes orders.

        It stops early when `unwanted` says so. Raises StoreUnavailable.
        """
        events = [event for message in messages for event in message]
        return await select(
            messages,
            self._store.subscriptions,
            _wants,
            lambda matches: self._allowed(matches, events),
            unwanted,
        )

    async def expand(self, orders: Sequence[Expansion]) -> list[Match]:
        """Who is to get what orders stand for: those who are still in use and may see the job."""
        ids = dict.fromkeys(key for one in orders for key in one.subscription_ids)
        found = {one.id: one for one in await self._store.subscriptions.in_use(list(ids))}
        wanted = [(one.event, found[key]) for one in orders for key in one.subscription_ids if key in found]
        return await self._allowed(wanted, [])

    async def _allowed(self, matches: list[Match], events: Sequence[Event]) -> list[Match]:
        """Without those of events of somebody else who has not granted the job."""
        doubtful = {permit(e, e.owner, s) for e, s in matches if e.owner and not owner_fits(e, s)}
        granted = await self._store.jobs.granted(doubtful) if doubtful else set()
        revoked = _revoked_before(events) if granted else set()

        def allowed(event: Event, subscription: Subscription) -> bool:
            if owner_fits(event, subscription):
                return True
            if event.owner is None:
                return False
            permitted = permit(event, event.owner, subscription)
            return permitted in granted and (event.key, permitted) not in revoked

        return [(e, s) for e, s in matches if allowed(e, s)]


def _wants(event: Event, subscription: Subscription) -> bool:
    """Whether a subscription wants an event. One that cannot be asked does not: the others must not wait for it."""
    try:
        return subscription.wants(event)
    except Exception as error:
        INTERNAL_ERRORS.labels("match").inc()
        log.error(
            "internal error", where="match", subscription=subscription.id, event_id=event.key, exc_info=error
        )
        return False


def _revoked_before(events: Sequence[Event]) -> set[tuple[str, Permit]]:
    """Keys of events, each with a permit that an earlier event of the same batch took back.

    The store does not know of it yet: the batch is stored after it was matched. What names no owner takes back what any
    owner granted: whose the job is, is not looked up for it.
    """
    gone: defaultdict[tuple[str, str], set[tuple[str | None, str]]] = defaultdict(set)
    found: set[tuple[str, Permit]] = set()
    for event in events:
        job = (event.tenant, event.job_id)
        if event.owner is not None:
            found |= {
                (event.key, (*job, event.owner, user))
                for owner, user in gone.get(job, ())
                if owner in (None, event.owner)
            }
        if (permission := permission_of(event)) is not None:
            change = gone[job].discard if permission.granted else gone[job].add
            change((permission.owner, permission.user))
    return found


def owner_fits(event: Event, subscription: Subscription) -> bool:
    """Whether the event is of a job of the owner that the subscription means."""
    return subscription.owner in (EVERY_OWNER, event.owner)


def permit(event: Event, owner: str, subscription: Subscription) -> Permit:
    """The permission without which the subscription's owner may not see this event of `owner`."""
    return (event.tenant, event.job_id, owner, subscription.owner)


def reasons(event: Event, subscription: Subscription) -> list[str]:
    """Why a subscription wants an event, in words; empty when it does not (any more)."""
    keys = event_match_keys(event)
    if subscription.match_key not in keys or not subscription.wants(event):
        return []
    found = [_key_reason(event, subscription), f"event {event.event} is in {', '.join(subscription.events)}"]
    if subscription.filters:
        found.append("all filters pass")
    if not owner_fits(event, subscription):
        found.append(f"{subscription.owner} was granted the job")
    if subscription.expires_at is not None and subscription.expires_at <= utc_now():
        found.append("it has expired since")
    return found


def _key_reason(event: Event, subscription: Subscription) -> str:
    if subscription.job_id is not None:
        return f"job is {event.job_id}"
    return "any job" if subscription.owner == EVERY_OWNER else f"owner is {event.owner}"
