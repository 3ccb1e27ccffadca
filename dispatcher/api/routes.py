"""The table of all operations of the native API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TypeVar, Union, cast

from msgspec import UNSET, UnsetType, defstruct
from msgspec.structs import fields

from dispatcher.api.deliveries import (
    cancel_delivery,
    get_delivery,
    list_deliveries,
    retry_deliveries,
    retry_delivery,
)
from dispatcher.api.destinations import (
    change_destination,
    get_destination,
    list_destinations,
    pause_destination,
    resume_destination,
)
from dispatcher.api.events import get_event, list_events, publish_events, replay_event
from dispatcher.api.health import live, metrics, ready
from dispatcher.api.jobs import get_job, get_job_history, get_job_status, list_jobs
from dispatcher.api.keys import create_key, delete_key, list_keys
from dispatcher.api.match_models import MatchList
from dispatcher.api.matches import try_subscription
from dispatcher.api.query_models import (
    DeliveriesQuery,
    DestinationsQuery,
    EventsQuery,
    JobsQuery,
    ListQuery,
    QuotasQuery,
    StatusQuery,
    SubscriptionsQuery,
)
from dispatcher.api.quotas import get_quota, list_quotas, reset_quota, set_quota
from dispatcher.api.recipients import restore_recipient
from dispatcher.api.request_models import (
    CloudEvent,
    DestinationChange,
    MatchRequest,
    NamedRecipient,
    NewKey,
    NewSubscription,
    PauseDestination,
    PlainEvent,
    Replay,
    RetryMany,
    SubscriptionChange,
)
from dispatcher.api.response_lists import (
    DeliveryList,
    EventList,
    History,
    JobList,
    KeyList,
    QuotaList,
    QuotaView,
    SubscriptionList,
)
from dispatcher.api.response_models import (
    Accepted,
    Counted,
    DeliveryDetail,
    DestinationList,
    DestinationView,
    EventDetail,
    Health,
    JobStatus,
    JobView,
    RecipientView,
    Replayed,
    SubscriptionView,
    Trial,
)
from dispatcher.api.routing import JSON, A, AnyRoute, Call, Form, Q, Route
from dispatcher.api.secret_models import KeyWithText, SubscriptionWithSecret
from dispatcher.api.subscriptions import (
    change_subscription,
    create_subscription,
    delete_subscription,
    get_subscription,
    list_subscriptions,
    pause_subscription,
    resume_subscription,
    rotate_secret,
    test_subscription,
)
from dispatcher.domain.quotas import QuotaOverride
from dispatcher.domain.targets import TargetKind
from dispatcher.intake.cloudevents import BATCH, STRUCTURED
from dispatcher.telemetry.metrics import CONTENT_TYPE

CREATED, ACCEPTED, NO_CONTENT = HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT

_PLAIN = {
    "event": "FINISHED",
    "job_id": "0001463171110-242ac11b-0001-007",
    "owner": "alice",
    "message": "Job complete",
}
_CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "42",
    "source": "/jobs",
    "type": "org.example.job.FINISHED",
    "subject": "0001463171110-242ac11b-0001-007",
    "owner": "alice",
    "time": "2026-05-04T12:00:00Z",
    "data": {"exit_code": 0},
}

EVENT_FORMS = (
    Form(
        JSON,
        PlainEvent | list[PlainEvent],
        {"one": _PLAIN, "several": [_PLAIN, {**_PLAIN, "event": "ARCHIVING_FINISHED"}]},
    ),
    Form(STRUCTURED, CloudEvent, {"one": _CLOUD_EVENT}),
    Form(BATCH, list[CloudEvent], {"batch": [_CLOUD_EVENT]}),
)


def routes(kinds: Mapping[str, TargetKind]) -> list[AnyRoute]:
    """All operations. The types of subscriptions know the targets of these kinds."""
    return [
        *_event_routes(),
        *_subscription_routes(kinds),
        *_delivery_routes(),
        *_destination_routes(),
        *_job_routes(),
        *_other_routes(),
    ]


def _shown(
    path: str,
    handler: Callable[[Call[Q, None]], Awaitable[A]],
    answer: type[A],
    query: type[Q] | None = None,
    *,
    waits: bool = False,
) -> AnyRoute:
    """What a tenant has: operators may ask for another one's."""
    return Route("GET", path, handler, "subscribe", answer, query, waits=waits, of_tenants=True)


def _event_routes() -> list[AnyRoute]:
    return [
        Route("POST", "/v1/events", publish_events, "publish", Accepted, body=EVENT_FORMS, status=ACCEPTED),
        _shown("/v1/events", list_events, EventList, EventsQuery),
        _shown("/v1/events/{id}", get_event, EventDetail),
        Route(
            "POST",
            "/v1/events/{id}/replay",
            replay_event,
            "subscribe",
            Replayed,
            body=Replay,
            status=ACCEPTED,
        ),
    ]


def _subscription_routes(kinds: Mapping[str, TargetKind]) -> list[AnyRoute]:
    collection, one = "/v1/subscriptions", "/v1/subscriptions/{id}"
    return [
        Route(
            "POST",
            collection,
            create_subscription,
            "subscribe",
            SubscriptionWithSecret,
            body=_with_targets(NewSubscription, kinds),
            status=CREATED,
            location=one,
        ),
        _shown(collection, list_subscriptions, SubscriptionList, SubscriptionsQuery),
        Route(
            "POST",
            f"{collection}/matches",
            try_subscription,
            "subscribe",
            MatchList,
            body=MatchRequest,
            names_in_body=True,
        ),
        _shown(one, get_subscription, SubscriptionView),
        Route(
            "PATCH",
            one,
            change_subscription,
            "subscribe",
            SubscriptionView,
            body=_with_targets(SubscriptionChange, kinds),
        ),
        Route("DELETE", one, delete_subscription, "subscribe", status=NO_CONTENT),
        Route("POST", f"{one}/test", test_subscription, "subscribe", Trial),
        Route("POST", f"{one}/pause", pause_subscription, "subscribe", SubscriptionView),
        Route("POST", f"{one}/resume", resume_subscription, "subscribe", SubscriptionView),
        Route("POST", f"{one}/rotate-secret", rotate_secret, "subscribe", SubscriptionWithSecret),
        Route(
            "POST",
            f"{one}/recipients",
            restore_recipient,
            "subscribe",
            RecipientView,
            body=NamedRecipient,
        ),
    ]


def _delivery_routes() -> list[AnyRoute]:
    return [
        _shown("/v1/deliveries", list_deliveries, DeliveryList, DeliveriesQuery),
        Route("POST", "/v1/deliveries/retry", retry_deliveries, "subscribe", Counted, body=RetryMany),
        _shown("/v1/deliveries/{id}", get_delivery, DeliveryDetail),
        Route("POST", "/v1/deliveries/{id}/retry", retry_delivery, "subscribe", DeliveryDetail),
        Route("POST", "/v1/deliveries/{id}/cancel", cancel_delivery, "subscribe", DeliveryDetail),
    ]


def _destination_routes() -> list[AnyRoute]:
    one = "/v1/destinations/{key}"
    return [
        Route(
            "GET",
            "/v1/destinations",
            list_destinations,
            "subscribe",
            DestinationList,
            query=DestinationsQuery,
        ),
        Route("GET", one, get_destination, "subscribe", DestinationView),
        Route("PATCH", one, change_destination, "admin", DestinationView, body=DestinationChange),
        Route("POST", f"{one}/pause", pause_destination, "admin", DestinationView, body=PauseDestination),
        Route("POST", f"{one}/resume", resume_destination, "admin", DestinationView),
    ]


def _job_routes() -> list[AnyRoute]:
    return [
        _shown("/v1/jobs", list_jobs, JobList, JobsQuery),
        _shown("/v1/jobs/{id}", get_job, JobView),
        _shown("/v1/jobs/{id}/status", get_job_status, JobStatus, StatusQuery, waits=True),
        _shown("/v1/jobs/{id}/history", get_job_history, History, ListQuery),
    ]


def _other_routes() -> list[AnyRoute]:
    return [
        Route("POST", "/v1/keys", create_key, "admin", KeyWithText, body=NewKey, status=CREATED),
        Route("GET", "/v1/keys", list_keys, "admin", KeyList, query=ListQuery),
        Route("DELETE", "/v1/keys/{id}", delete_key, "admin", status=NO_CONTENT),
        Route("GET", "/v1/quotas", list_quotas, "admin", QuotaList, query=QuotasQuery),
        Route("GET", "/v1/quotas/{owner}", get_quota, "admin", QuotaView),
        Route("PUT", "/v1/quotas/{owner}", set_quota, "admin", QuotaView, body=QuotaOverride),
        Route("DELETE", "/v1/quotas/{owner}", reset_quota, "admin", status=NO_CONTENT),
        Route("GET", "/health/live", live, None, Health),
        Route("GET", "/health/ready", ready, None, Health),
        Route("GET", "/metrics", metrics, None, bytes, media_type=CONTENT_TYPE),
    ]


_S = TypeVar("_S", NewSubscription, SubscriptionChange)


def _with_targets(base: type[_S], kinds: Mapping[str, TargetKind]) -> type[_S]:
    """The type with `target` as one of the kinds' own models, so that each is checked and has its schema."""
    specs: list[type] = [kind.spec for kind in kinds.values()]
    [target] = (field for field in fields(base) if field.name == "target")
    declared = (
        ("target", _union(specs)) if target.required else ("target", _union([*specs, UnsetType]), UNSET)
    )
    made = defstruct(
        base.__name__,
        [declared],
        bases=(base,),
        namespace={"__doc__": base.__doc__},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return cast(type[_S], made)


def _union(types: list[type]) -> object:
    return Union[tuple(types)]  # noqa: UP007 - what is in it is known only now
