"""Subscriptions and attempts as Tapis v2 (Agave) shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from dispatcher.api.response_models import SubscriptionView
from dispatcher.compat.tapis_v2.document import EVERY
from dispatcher.compat.tapis_v2.ids import attempt_uuid, notification_uuid
from dispatcher.compat.tapis_v2.policy import Policy, policy_of
from dispatcher.compat.tapis_v2.target_mapping import url_of
from dispatcher.domain.deliveries import Attempt, Delivery, State

METADATA = "tapis_v2"
"""Under this name a subscription's metadata hold what Tapis knows of it and nothing else here does."""

ACTIVE, INACTIVE, FAILED, COMPLETE = "ACTIVE", "INACTIVE", "FAILED", "COMPLETE"
_STATUSES = {"active": ACTIVE, "paused": INACTIVE, "disabled": FAILED, "completed": COMPLETE}

_HREF = re.compile(r"[^A-Za-z0-9._~@:-]")


class NotificationState(Struct, frozen=True, kw_only=True):
    """What stands in the metadata of a subscription that was made as a notification.

    `owner` made it. Failed attempts up to the delivery `cleared`, and those in `hidden`, are not shown any more.
    """

    owner: str
    policy: Policy
    cleared: str | None = None
    hidden: tuple[str, ...] = ()


class NotificationView(Struct, frozen=True):
    """A subscription that was made as a notification."""

    subscription: SubscriptionView
    kept: NotificationState

    @property
    def uuid(self) -> str:
        """Its id as Tapis writes it."""
        return notification_uuid(self.subscription.id)

    @property
    def associated_uuid(self) -> str:
        """The job that is meant, `*` for every one."""
        return self.subscription.job_id or EVERY

    @property
    def event(self) -> str:
        """The event, or `*`; several, with commas between them, when it was changed by the native API."""
        return ",".join(self.subscription.events)

    @property
    def url(self) -> str:
        """Where it goes, credentials hidden."""
        return url_of(self.subscription.target)

    @property
    def policy(self) -> Policy:
        """How it is retried."""
        return policy_of(self.subscription.retry, self.kept.policy)

    @property
    def status(self) -> str:
        """Where the subscription stands; whether its latest delivery failed is not looked at."""
        return _STATUSES[self.subscription.status]


class Last(Struct, frozen=True):
    """The latest delivery of a notification, with its latest attempt if there was one."""

    delivery: Delivery
    attempt: Attempt | None


def notification_view(subscription: SubscriptionView) -> NotificationView | None:
    """The subscription as a notification, or None when it was not made as one."""
    kept = subscription.metadata.get(METADATA)
    if kept is None:
        return None
    try:
        return NotificationView(subscription, msgspec.convert(kept, NotificationState))
    except msgspec.ValidationError:
        return None  # somebody's own metadata of the same name


def metadata_of(kept: NotificationState, other: Mapping[str, object]) -> dict[str, object]:
    """The metadata with this in them."""
    return {**other, METADATA: msgspec.to_builtins(kept)}


def status_of(notice: NotificationView, last: Last | None) -> str:
    """As Tapis says it: an active one whose latest delivery was given up has FAILED."""
    given_up = last is not None and last.delivery.state is State.EXHAUSTED
    return FAILED if notice.status == ACTIVE and given_up else notice.status


def facts(notice: NotificationView) -> dict[str, object]:
    """What of a notification can be searched, but for its status."""
    policy = notice.policy
    return {
        "id": notice.uuid,
        "url": notice.url,
        "associateduuid": notice.associated_uuid,
        "event": notice.event,
        "owner": notice.kept.owner,
        "persistent": notice.subscription.persistent,
        "created": notice.subscription.created_at,
        "lastupdated": notice.subscription.updated_at,
        "policy.retrystrategy": policy.retry_strategy,
        "policy.retrylimit": policy.retry_limit,
        "policy.retryrate": policy.retry_rate,
        "policy.retrydelay": policy.retry_delay,
        "policy.saveonfailure": policy.save_on_failure,
        "visible": True,
    }


def brief(notice: NotificationView, base: str) -> dict[str, object]:
    """A notification in a list."""
    return {
        "id": notice.uuid,
        "url": notice.url,
        "associatedUuid": notice.associated_uuid,
        "event": notice.event,
        "_links": {
            "self": link(base, "notifications", notice.uuid),
            "profile": link(base, "profiles", notice.kept.owner),
            **_job_link(base, notice.associated_uuid),
        },
    }


def full(notice: NotificationView, last: Last | None, base: str) -> dict[str, object]:
    """A notification by itself."""
    attempt = None if last is None else last.attempt
    return {
        "id": notice.uuid,
        "owner": notice.kept.owner,
        "url": notice.url,
        "associatedUuid": notice.associated_uuid,
        "event": notice.event,
        "responseCode": None if attempt is None else attempt.status,
        "attempts": 0 if last is None else last.delivery.attempts,
        "lastSent": None if attempt is None else iso(_ended(attempt)),
        "success": last is not None and last.delivery.state is State.DELIVERED,
        "persistent": notice.subscription.persistent,
        "status": status_of(notice, last),
        "lastUpdated": iso(notice.subscription.updated_at),
        "created": iso(notice.subscription.created_at),
        "policy": msgspec.to_builtins(notice.policy),
        "_links": {
            "self": link(base, "notifications", notice.uuid),
            "attempts": link(base, "notifications", notice.uuid, "attempts"),
            "owner": link(base, "profiles", notice.kept.owner),
            **_job_link(base, notice.associated_uuid),
        },
    }


class AttemptView(Struct, frozen=True, kw_only=True):
    """An attempt as it is shown: of a stored delivery, or of one that was only tried."""

    delivery_id: str
    event: str
    job_id: str
    attempt: Attempt


def attempt_view(notice: NotificationView, tried: AttemptView, base: str) -> dict[str, object]:
    """An attempt."""
    attempt = tried.attempt
    uuid = attempt_uuid(tried.delivery_id, attempt.number)
    return {
        "id": uuid,
        "url": _asked_url(attempt) or notice.url,
        "event": tried.event,
        "associatedUuid": tried.job_id,
        "notificationId": notice.uuid,
        "startTime": iso(attempt.started_at),
        "endTime": iso(_ended(attempt)),
        "response": {"code": attempt.status or 0, "message": attempt.error or attempt.answer or ""},
        "_links": {
            "self": link(base, "notifications", notice.uuid, "attempts", uuid),
            "notification": link(base, "notifications", notice.uuid),
            "profile": link(base, "profiles", notice.kept.owner),
            **_job_link(base, tried.job_id),
        },
    }


def _asked_url(attempt: Attempt) -> str | None:
    """The URL that was asked, its variables filled in; None for an e-mail."""
    url = attempt.request.partition(" ")[2]
    return url if url.startswith(("http://", "https://")) else None


def link(base: str, service: str, *path: str) -> dict[str, str]:
    """A link to something of a service of the same host."""
    return {"href": "/".join([f"{base}/{service}/v2", *(_HREF.sub(_percent, part) for part in path)])}


def iso(moment: datetime) -> str:
    """A time as Tapis writes it: to the millisecond, with its offset."""
    return moment.isoformat(timespec="milliseconds")


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace"))


def _job_link(base: str, job_id: str) -> dict[str, object]:
    return {} if job_id == EVERY else {"job": link(base, "jobs", job_id)}


def _ended(attempt: Attempt) -> datetime:
    return attempt.started_at + timedelta(seconds=attempt.duration)
