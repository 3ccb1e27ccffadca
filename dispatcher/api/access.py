"""What a key may see: an admin's all of its tenant, another what belongs to its owner or was granted to it.

What somebody else has is not found, as if it were not there.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.api.services import Services
from dispatcher.domain.deliveries import Delivery
from dispatcher.domain.errors import Forbidden, NotFound
from dispatcher.domain.events import Event
from dispatcher.domain.ids import Prefix, is_id
from dispatcher.domain.jobs import Job
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.permissions import permission_of
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.contract import DeliveryFilter, Store, Window


def only_owner(caller: ApiKey) -> str | None:
    """The owner whose things are shown; None when all are."""
    return None if caller.admin else caller.owner


async def may_see_job(caller: ApiKey, job_id: str, owner: str | None, store: Store) -> bool:
    """Whether the key may see a job of this owner."""
    if caller.admin or caller.owner == owner:
        return True
    permit = (caller.tenant, job_id, caller.owner)
    return permit in await store.granted([permit])


# An event of Tapis v3 that removes the subscriptions to its subject, whosever they are.
_ENDS = b'"deleteSubscriptionsMatchingSubject":true'


async def check_permissions(caller: ApiKey, events: Sequence[Event], store: Store) -> None:
    """Raise Forbidden when a key that may look at jobs decides about one that is not its owner's.

    It could grant itself any, and end the subscriptions of others. An admin's key may, and one that only publishes,
    such as a job service has.
    """
    if caller.admin:
        return
    for event in events:
        told = permission_of(event)
        own_grant = told is not None and told.user == caller.owner
        decides = told is not None or _ENDS in event.document
        if not (own_grant or (decides and caller.may("subscribe"))):
            continue
        job = await store.job(event.tenant, event.job_id)
        owner = (None if job is None else job.owner) or event.owner
        if owner != caller.owner:
            raise Forbidden(
                f"{event.event}: job {event.job_id!r} is not known to be of {caller.owner!r}, the owner of the key; of "
                "others' jobs it is told by an admin's key, or by one that may only publish"
            )


async def event_for(caller: ApiKey, key: str, services: Services) -> Event:
    """The event, or NotFound."""
    _check_id("evt", key)
    event = await services.store.event(caller.tenant, key)
    if event is None or not await _may_see_event(caller, event, services.store):
        raise NotFound(f"there is no event {key}")
    return event


async def job_for(caller: ApiKey, job_id: str, services: Services) -> Job:
    """The job, or NotFound."""
    job = await services.store.job(caller.tenant, job_id) if job_id.isprintable() else None
    if job is None or not await may_see_job(caller, job_id, job.owner, services.store):
        raise NotFound(f"there is no job {job_id[:255]!r} that had an event")
    return job


async def subscription_for(caller: ApiKey, subscription_id: str, services: Services) -> Subscription:
    """The subscription, or NotFound."""
    _check_id("sub", subscription_id)
    subscription = await services.store.subscription(caller.tenant, subscription_id)
    if subscription is None or only_owner(caller) not in (None, subscription.subscriber):
        raise NotFound(f"there is no subscription {subscription_id}")
    return subscription


async def delivery_for(caller: ApiKey, delivery_id: str, services: Services) -> Delivery:
    """The delivery, or NotFound."""
    _check_id("dlv", delivery_id)
    delivery = await services.store.delivery(caller.tenant, delivery_id)
    if delivery is None or not await _may_see_delivery(caller, delivery, services.store):
        raise NotFound(f"there is no delivery {delivery_id}")
    return delivery


async def _may_see_event(caller: ApiKey, event: Event, store: Store) -> bool:
    owner = event.owner
    if owner is None and not caller.admin:
        job = await store.job(caller.tenant, event.job_id)
        owner = job.owner if job else None
    return await may_see_job(caller, event.job_id, owner, store)


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
    page = await store.deliveries(own, Window(limit=500))
    return any(item.id == delivery.id for item in page.items)


def _check_id(prefix: Prefix, text: str) -> None:
    # The store takes nothing else for an id, and somebody may have mistaken one for another.
    if not is_id(prefix, text):
        raise NotFound(f"{text[:80]!r} is no id of this kind: expected {prefix}_ and 32 hexadecimal digits")
