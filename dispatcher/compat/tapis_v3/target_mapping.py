"""From a subscription of Tapis v3 to ours: one for each of its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dispatcher.api import subscription_rules as rules
from dispatcher.api.request_models import NewSubscription
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.subscriptions import new_subscription
from dispatcher.compat.tapis_v3.envelope import V3Request
from dispatcher.compat.tapis_v3.event_model import filters_of
from dispatcher.compat.tapis_v3.request_models import EVERY, DeliveryTarget, Targets
from dispatcher.compat.tapis_v3.views import target_of
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import utc_now
from dispatcher.domain.retry import RetryPolicy, Schedule
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import TargetKind

DISABLED = "disabled by request"

_WAITS = (0.0, 20.0, 20.0, *(600.0,) * 150)
RETRY = RetryPolicy(strategy=Schedule(_WAITS), jitter=0.0, max_age=2 * 86_400)
"""As Tapis does it: three attempts 20 s apart, then one every 10 minutes, 150 times."""

_SUBJECT = "Tapis v3 notification. Event type: ${data.type} subject: $<JOB_ID>"


class DesiredState(Struct, frozen=True, kw_only=True):
    """What all members of a subscription have in common; with `resume` also those work again that were stopped."""

    key: str
    name: str
    type_filter: str
    subject_filter: str
    expires_at: datetime | None
    enabled: bool
    resume: bool = False


def end_of(ttl_minutes: int) -> datetime | None:
    """When a subscription ends that lives so long from now on; 0 and less mean never."""
    return None if ttl_minutes <= 0 else utc_now() + timedelta(minutes=ttl_minutes)


async def new_members(request: V3Request, wish: DesiredState, targets: Targets) -> list[Subscription]:
    """The members of a new subscription, checked but not stored."""
    return [await _new_member(request, wish, index, target) for index, target in enumerate(targets)]


async def changed_members(
    request: V3Request, wish: DesiredState, members: Sequence[Subscription], targets: Targets | None
) -> tuple[list[Subscription], list[Subscription], tuple[str, ...]]:
    """Members as they are to be: changed ones, added ones, and the ids of all in the order of the targets.

    Without `targets` these stay as they are. A target that comes back as it was shown stays as it is stored.
    """
    if targets is None:
        return [await _changed(request, one, wish) for one in members], [], tuple(one.id for one in members)
    left = list(members)
    changed: list[Subscription] = []
    added: list[Subscription] = []
    order: list[str] = []
    for index, target in enumerate(targets):
        known = next((one for one in left if _targets_same_address(one, target, request)), None)
        if known is None:
            added.append(await _new_member(request, wish, index, target))
        else:
            left.remove(known)
            changed.append(await _changed(request, known, wish))
        order.append((changed if known else added)[-1].id)
    return changed, added, tuple(order)


async def _new_member(
    request: V3Request, wish: DesiredState, index: int, target: DeliveryTarget
) -> Subscription:
    field = f"deliveryTargets[{index}]"
    body = NewSubscription(
        events=(EVERY,),
        target=_target(target, request.services.kinds, field),
        name=wish.name,
        job_id=_job(wish),
        filters=filters_of(wish.type_filter),
        retry=RETRY,
        ordered=True,
        expires_at=wish.expires_at,
        metadata={"tapis_v3": wish.key},
    )
    call = Call(request.caller.key, request.services, {}, NoQuery(), body, request.headers)
    try:
        made = await new_subscription(call)
    except InvalidInput as error:
        if error.field.startswith("target"):
            raise InvalidInput(f"{field}.deliveryAddress", error.problem) from None
        raise
    return _apply_desired_state(made, wish)


async def _changed(request: V3Request, current: Subscription, wish: DesiredState) -> Subscription:
    job_id = _job(wish)
    if job_id != current.job_id:
        await rules.check_job(request.caller.key, job_id, request.services.store)
    changed = replace(
        current,
        revision=current.revision + 1,
        job_id=job_id,
        filters=filters_of(wish.type_filter),
        expires_at=wish.expires_at,
        updated_at=utc_now(),
    )
    if (job_id, list(changed.filters)) != (current.job_id, list(current.filters)):
        changed = _within_reach(changed, request)
    return _apply_desired_state(changed, wish)


def _within_reach(subscription: Subscription, request: V3Request) -> Subscription:
    """The same for jobs that the caller may see.

    What a service subscribes to for its user may be of anybody. The user may keep it, but not choose other events.
    """
    owner = request.caller.key.owner
    if request.caller.trusted or subscription.owner == owner:
        return subscription
    return replace(subscription, owner=owner, subscriber=rules.subscriber_of(subscription.subscriber, owner))


def _apply_desired_state(subscription: Subscription, wish: DesiredState) -> Subscription:
    if not wish.enabled:
        return replace(subscription, status="disabled", status_reason=DISABLED)
    if wish.resume or subscription.status_reason == DISABLED:
        return replace(subscription, status="active", status_reason=None)
    return subscription


def _job(wish: DesiredState) -> str | None:
    return None if wish.subject_filter == EVERY else wish.subject_filter


def _targets_same_address(member: Subscription, target: DeliveryTarget, request: V3Request) -> bool:
    shown = target_of(member, request.services.kinds)
    given = {"deliveryMethod": target.delivery_method, "deliveryAddress": _address(target)}
    stored = member.target.get("url") if target.delivery_method == "WEBHOOK" else shown["deliveryAddress"]
    same = shown["deliveryMethod"] == given["deliveryMethod"]
    return same and given["deliveryAddress"] in (stored, shown["deliveryAddress"])


def _target(target: DeliveryTarget, kinds: Mapping[str, TargetKind], field: str) -> Struct:
    if target.delivery_method == "WEBHOOK":
        name, document = "webhook", {"kind": "webhook", "url": _address(target), "format": "tapis-v3"}
    else:
        name = "email"
        document = {"kind": "email", "to": [target.delivery_address], "subject": _SUBJECT}  # type: ignore[dict-item]
    if name not in kinds:
        raise InvalidInput(
            f"{field}.deliveryMethod", f"this service has no way to deliver by {target.delivery_method}"
        )
    made: Struct = msgspec.convert(document, kinds[name].spec)
    return made


def _address(target: DeliveryTarget) -> str:
    """The address; what would be a variable of ours is none in Tapis."""
    if target.delivery_method == "EMAIL":
        return target.delivery_address
    return target.delivery_address.replace("${", "%24{").replace("$<", "%24<")
