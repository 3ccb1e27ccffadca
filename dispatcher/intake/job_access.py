"""Job access: which matches are of jobs whose owner has not granted them to the subscriber."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from dispatcher.domain.events import Event
from dispatcher.domain.permissions import permission_of
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription

Match = tuple[Event, Subscription]

Permit = tuple[str, str, str, str]
"""Tenant, job, its owner, and who may see it."""


class GrantStore(Protocol):
    """Knows who may see whose jobs; see `dispatcher.store.jobs.JobRepository`."""

    async def granted(self, wanted: Iterable[Permit]) -> set[Permit]: ...


async def forbidden(
    matches: Sequence[Match], store: GrantStore, events: Sequence[Event] = ()
) -> set[tuple[str, str]]:
    """Which of these matches may not be delivered, as keys of events with ids of subscriptions.

    `events` are all of the batch in their order: they may take back what was granted. Raises StoreUnavailable.
    """
    doubtful = [(event, one) for event, one in matches if not owner_fits(event, one)]
    if not doubtful:
        return set()
    permits = [(event, one, _permit(event, one)) for event, one in doubtful]
    wanted = {permit for _, _, permit in permits if permit is not None}
    granted = await store.granted(wanted) if wanted else set()
    revoked = _revoked_before(events) if granted else set()
    return {
        (event.key, one.id)
        for event, one, permit in permits
        if permit not in granted or (event.key, permit) in revoked
    }


def owner_fits(event: Event, subscription: Subscription) -> bool:
    """Whether the event is of a job of the owner that the subscription means."""
    return subscription.owner in (EVERY_OWNER, event.owner)


def _permit(event: Event, subscription: Subscription) -> Permit | None:
    """What allows the subscription's owner to see an event of somebody else; None of one that is of no known owner."""
    return None if not event.owner else (event.tenant, event.job_id, event.owner, subscription.owner)


def _revoked_before(events: Sequence[Event]) -> set[tuple[str, Permit | None]]:
    """Keys of events, each with a permit that an earlier event of the same batch took back.

    The store does not know of it yet: the batch is stored after it was matched. What names no owner takes back what any
    owner granted: whose the job is, is not looked up for it.
    """
    gone: defaultdict[tuple[str, str], set[tuple[str | None, str]]] = defaultdict(set)
    found: set[tuple[str, Permit | None]] = set()
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
