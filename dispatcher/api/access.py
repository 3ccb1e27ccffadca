"""What a key may see and say: an admin's all of its tenant, another what belongs to its owner or was granted to it.

What somebody else has is not found, as if it were not there.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.api.services import Services
from dispatcher.domain.deliveries import Delivery
from dispatcher.domain.errors import Forbidden, NotFound
from dispatcher.domain.events import DEFAULT_TENANT, Event
from dispatcher.domain.ids import Prefix, is_id
from dispatcher.domain.jobs import Job
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.names import is_name
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.filters import DeliveryFilter, Window
from dispatcher.store.store import Store


def only_owner(caller: ApiKey) -> str | None:
    """The owner whose things are shown; None when all are."""
    return None if caller.admin else caller.owner


def is_operator(caller: ApiKey) -> bool:
    """Whether the key may see what other tenants have: an admin's of the tenant `default`."""
    return caller.admin and caller.tenant == DEFAULT_TENANT


async def check_publisher(caller: ApiKey, events: Sequence[Event], store: Store) -> None:
    """Raise Forbidden when a key that speaks for its owner only says something of others or of their jobs.

    A trusted publisher may give a job to somebody between this look and the storing of the events. Then they are stored
    as the key owner's, whom no one else believes: the store looks once more, and keeps them out of the job's row.
    """
    if caller.trusted:
        return
    for event in events:
        if event.owner != caller.owner:
            raise Forbidden(
                f"owner: expected {caller.owner!r}, the owner of the key, or none, got {event.owner!r}; "
                "an admin's key, or one with the scope publish:any, may name any"
            )
    owners = await store.jobs.owners(caller.tenant, {event.job_id for event in events})
    for job_id, owner in owners.items():
        if owner != caller.owner:
            raise Forbidden(
                f"job_id: job {job_id!r} belongs to somebody else than {caller.owner!r}, the owner of the key"
            )


def speaks_for(caller: ApiKey) -> str | None:
    """The owner for whom alone a key may publish; None when it may for any."""
    return None if caller.trusted else caller.owner


async def event_for(caller: ApiKey, key: str, services: Services) -> Event:
    """The event, or NotFound."""
    _check_id("evt", key)
    event = await services.store.events.get(caller.tenant, key)
    if event is None or not await _may_see_event(caller, event, services.store):
        raise NotFound(f"there is no event {key}")
    return event


async def job_for(caller: ApiKey, job_id: str, services: Services) -> Job:
    """The job, or NotFound."""
    seen_by = only_owner(caller)
    job = await services.store.jobs.get(caller.tenant, job_id, seen_by) if is_name(job_id) else None
    if job is None:
        raise NotFound(f"there is no job {job_id[:255]!r} that had an event")
    return job


async def subscription_for(caller: ApiKey, subscription_id: str, services: Services) -> Subscription:
    """The subscription, or NotFound."""
    _check_id("sub", subscription_id)
    subscription = await services.store.subscriptions.get(caller.tenant, subscription_id)
    if subscription is None or only_owner(caller) not in (None, subscription.subscriber):
        raise NotFound(f"there is no subscription {subscription_id}")
    return subscription


async def delivery_for(caller: ApiKey, delivery_id: str, services: Services) -> Delivery:
    """The delivery, or NotFound."""
    _check_id("dlv", delivery_id)
    delivery = await services.store.deliveries.get(caller.tenant, delivery_id)
    if delivery is None or not await _may_see_delivery(caller, delivery, services.store):
        raise NotFound(f"there is no delivery {delivery_id}")
    return delivery


async def _may_see_event(caller: ApiKey, event: Event, store: Store) -> bool:
    if caller.admin or event.owner == caller.owner:
        return True
    if event.owner is None:
        owners = await store.jobs.owners(event.tenant, [event.job_id])
        return owners.get(event.job_id) == caller.owner
    permit = (event.tenant, event.job_id, event.owner, caller.owner)
    return permit in await store.jobs.granted([permit])


async def _may_see_delivery(caller: ApiKey, delivery: Delivery, store: Store) -> bool:
    if caller.admin:
        return True
    # A delivery outlives its subscription, so whose it is is asked of the list.
    own = DeliveryFilter(
        tenant=caller.tenant,
        subscriber=caller.owner,
        event_key=delivery.event_key,
        subscription_id=delivery.subscription_id,
    )
    page = await store.deliveries.page(own, Window(limit=500))
    return any(item.id == delivery.id for item in page.items)


def _check_id(prefix: Prefix, text: str) -> None:
    # The store takes nothing else for an id, and somebody may have mistaken one for another.
    if not is_id(prefix, text):
        raise NotFound(f"{text[:80]!r} is no id of this kind: expected {prefix}_ and 32 hexadecimal digits")
