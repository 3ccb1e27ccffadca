"""Subscriptions over HTTP: making, changing, pausing and trying them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import UNSET
from msgspec.structs import asdict, replace

from dispatcher.api import subscription_rules as rules
from dispatcher.api.access import only_owner, subscription_for
from dispatcher.api.query_models import SubscriptionsQuery
from dispatcher.api.recipients import check_recipients, invite, recipients_of
from dispatcher.api.request_models import NewSubscription, SubscriptionChange
from dispatcher.api.response_lists import SubscriptionList
from dispatcher.api.response_models import RecipientView, SubscriptionView, Trial
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.secret_models import SubscriptionWithSecret
from dispatcher.api.trials import sample, try_out
from dispatcher.domain.errors import Conflict, NotFound, TooManyAlike
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.filters import SubscriptionFilter
from dispatcher.targets.http.tls import expires_at
from dispatcher.targets.signing import new_secret, public_key

ROTATION = timedelta(hours=24)
"""How long requests are signed with the previous secret too."""


async def create_subscription(call: Call[NoQuery, NewSubscription]) -> SubscriptionWithSecret:
    """Subscribe a target to events.

    It works from the moment of the answer. `secret` signs its requests (Standard Webhooks); it is shown only
    here and when it is rotated.
    """
    subscription = await new_subscription(call)
    await call.services.store.subscriptions.add(subscription, await call.services.quotas.caps(call.caller))
    invite(subscription, call.services)
    return await _with_secret(subscription, call)


async def list_subscriptions(call: Call[SubscriptionsQuery, None]) -> SubscriptionList:
    """Subscriptions, newest first."""
    which = SubscriptionFilter(
        tenant=call.caller.tenant,
        subscriber=only_owner(call.caller),
        job_id=call.query.job_id,
        status=call.query.status,
    )
    page = await call.services.store.subscriptions.page(which, call.query.window)
    recipients = await recipients_of(page.items, call.services)
    return SubscriptionList([_view(one, call, recipients.get(one.id)) for one in page.items], page.next)


async def get_subscription(call: Call[NoQuery, None]) -> SubscriptionView:
    """One subscription."""
    return await _shown(await _named(call), call)


async def change_subscription(call: Call[NoQuery, SubscriptionChange]) -> SubscriptionView:
    """Change a subscription.

    What is not given stays as it is. Deliveries that wait go out as it is then.
    """
    change, caller = call.body, call.caller
    if change.job_id is not UNSET:
        await rules.check_job(caller, change.job_id, call.services.store)
    if change.filters is not UNSET:
        await rules.checked_filters(caller, change.filters, call.services.store)
    changed = await _save(call, lambda current: _changed(current, change, call))
    if change.target is not UNSET:
        invite(changed, call.services)
    return await _shown(changed, call)


async def delete_subscription(call: Call[NoQuery, None]) -> None:
    """Remove a subscription; what waits of it is cancelled."""
    subscription = await _named(call)
    if not await call.services.store.subscriptions.remove(subscription.tenant, subscription.id):
        raise NotFound(f"there is no subscription {subscription.id}")


async def pause_subscription(call: Call[NoQuery, None]) -> SubscriptionView:
    """Pause a subscription: its deliveries wait until it is resumed; events are still matched."""
    return await _shown(await _save(call, _paused), call)


async def resume_subscription(call: Call[NoQuery, None]) -> SubscriptionView:
    """Resume a subscription, also a disabled or completed one; its held deliveries are due now."""
    resumed = await _save(call, _resumed)
    call.services.engine.wake()
    return await _shown(resumed, call)


async def rotate_secret(call: Call[NoQuery, None]) -> SubscriptionWithSecret:
    """Make a new signing secret, which is shown only here.

    For 24 hours requests are signed with the previous one too.
    """
    return await _with_secret(await _save(call, _rotated), call)


async def test_subscription(call: Call[NoQuery, None]) -> Trial:
    """Send a sample FINISHED event to a subscription's target, once and now, and say what came of it.

    Nothing of it is stored. It keeps to the limits of deliveries: nothing goes out while the destination is paused or
    keeps failing, when a rate limit has nothing left, or when as many attempts run there as may.
    """
    subscription = await _named(call)
    return await try_out(subscription, sample(subscription, call.caller), new_id("dlv"), call.services)


async def new_subscription(call: Call[NoQuery, NewSubscription]) -> Subscription:
    """A subscription as it is asked for, checked but not stored. Raises InvalidInput or Forbidden."""
    new, caller = call.body, call.caller
    await rules.check_job(caller, new.job_id, call.services.store)
    target, destination = rules.checked_target(new.target, call.services.kinds)
    owner = rules.checked_owner(caller, new.owner)
    now = utc_now()
    subscription = Subscription(
        id=new_id("sub"),
        revision=1,
        tenant=caller.tenant,
        subscriber=rules.subscriber_of(caller.owner, owner),
        name=new.name,
        events=rules.checked_events(new.events),
        job_id=new.job_id,
        owner=owner,
        filters=await rules.checked_filters(caller, new.filters, call.services.store),
        target=target,
        destination=destination,
        retry=new.retry,
        ordered=new.ordered,
        persistent=new.persistent,
        expires_at=rules.checked_end(new.expires_at),
        metadata=rules.checked_metadata(new.metadata),
        status="active",
        status_reason=None,
        secrets=(new_secret(),),
        previous_secret_until=None,
        created_at=now,
        updated_at=now,
        rate_limit=rules.checked_rate_limit(new.rate_limit),
        digest=new.digest,
    )
    check_recipients(subscription, call.services)
    return rules.check_passable(rules.check_digest(subscription, call.services.kinds))


_SELECTING = frozenset({"events", "filters", "job_id", "owner"})
"""The fields that say which events are meant."""

_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "events": rules.checked_events,
    "expires_at": rules.checked_end,
    "metadata": rules.checked_metadata,
    "rate_limit": rules.checked_rate_limit,
}


def _changed(
    current: Subscription, change: SubscriptionChange, call: Call[NoQuery, SubscriptionChange]
) -> Subscription:
    given = {name: value for name, value in asdict(change).items() if value is not UNSET}
    fields = {name: _CHECKS[name](value) if name in _CHECKS else value for name, value in given.items()}
    if "owner" in given:
        owner = rules.checked_owner(call.caller, given["owner"])
        fields |= {"owner": owner, "subscriber": rules.subscriber_of(current.subscriber, owner)}
    if "target" in given:
        fields["target"], fields["destination"] = rules.changed_target(
            given["target"], current, call.services.kinds
        )
    changed = replace(current, **fields) if fields else current
    if not _SELECTING.isdisjoint(given):
        rules.check_passable(changed)
    check_recipients(changed, call.services)
    return rules.check_digest(changed, call.services.kinds)


def _paused(current: Subscription) -> Subscription:
    if current.status == "paused":
        return current
    if current.status != "active":
        raise Conflict(f"{current.id} is {current.status}: only an active one can be paused")
    return replace(current, status="paused", status_reason="paused by request")


def _resumed(current: Subscription) -> Subscription:
    if current.expires_at is not None and current.expires_at <= utc_now():
        raise Conflict(
            f"{current.id} expired at {current.expires_at.isoformat()}: give it a later expires_at first"
        )
    if current.status == "active":
        return current
    return replace(current, status="active", status_reason=None)


def _rotated(current: Subscription) -> Subscription:
    return replace(
        current, secrets=(new_secret(), current.secrets[0]), previous_secret_until=utc_now() + ROTATION
    )


async def _named(call: Call[NoQuery, Any]) -> Subscription:
    return await subscription_for(call.caller, call.path["id"], call.services)


async def _save(call: Call[NoQuery, Any], change: Callable[[Subscription], Subscription]) -> Subscription:
    """Store what `change` makes of the subscription; once more when somebody else was faster."""
    try:
        return await _save_once(call, change)
    except _Outrun:
        return await _save_once(call, change)


class _Outrun(Conflict):
    """Somebody else changed it between reading and writing."""


async def _save_once(
    call: Call[NoQuery, Any], change: Callable[[Subscription], Subscription]
) -> Subscription:
    current = await _named(call)
    changed = change(current)
    if changed is current:
        return current
    quotas = call.services.quotas
    caps, per_minute = await quotas.caps(call.caller), quotas.defaults.deliveries_per_minute
    changed = replace(changed, revision=current.revision + 1, updated_at=utc_now())
    try:
        await call.services.store.subscriptions.save(changed, caps, per_minute)
    except TooManyAlike:
        raise
    except Conflict:
        raise _Outrun(f"{current.id} was changed by somebody else at the same moment: ask again") from None
    return changed


async def _shown(subscription: Subscription, call: Call[Any, Any]) -> SubscriptionView:
    recipients = await recipients_of([subscription], call.services)
    return _view(subscription, call, recipients.get(subscription.id))


def _view(
    subscription: Subscription, call: Call[Any, Any], recipients: list[RecipientView] | None
) -> SubscriptionView:
    names = set(SubscriptionView.__struct_fields__) - {
        "target",
        "recipients",
        "public_key",
        "certificate_expires_at",
    }
    shown = {name: getattr(subscription, name) for name in names}
    target = rules.shown_target(subscription.target, call.services.kinds)
    key = public_key(subscription.secrets[0]) if target.get("signature") == "v1a" else None
    return SubscriptionView(
        **shown,
        target=target,
        recipients=recipients,
        public_key=key,
        certificate_expires_at=_certificate_end(target.get("tls")),
    )


def _certificate_end(tls: object) -> datetime | None:
    certificate = tls.get("certificate") if isinstance(tls, Mapping) else None
    return expires_at(certificate) if isinstance(certificate, str) else None


async def _with_secret(subscription: Subscription, call: Call[Any, Any]) -> SubscriptionWithSecret:
    return SubscriptionWithSecret(**asdict(await _shown(subscription, call)), secret=subscription.secrets[0])
