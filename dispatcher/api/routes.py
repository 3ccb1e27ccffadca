"""The table of all operations of the native API."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar, Union, cast

from msgspec import UNSET, UnsetType, defstruct
from msgspec.structs import fields

from dispatcher.api import answers, deliveries, events, health, jobs, keys, requests, subscriptions
from dispatcher.api.routing import JSON, AnyRoute, Form, Route
from dispatcher.domain.targets import TargetKind
from dispatcher.intake.cloudevents import BATCH, STRUCTURED
from dispatcher.telemetry.metrics import CONTENT_TYPE

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
        requests.PlainEvent | list[requests.PlainEvent],
        {"one": _PLAIN, "several": [_PLAIN, {**_PLAIN, "event": "ARCHIVING_FINISHED"}]},
    ),
    Form(STRUCTURED, requests.CloudEvent, {"one": _CLOUD_EVENT}),
    Form(BATCH, list[requests.CloudEvent], {"batch": [_CLOUD_EVENT]}),
)


def routes(kinds: Mapping[str, TargetKind]) -> list[AnyRoute]:
    """All operations. The types of subscriptions know the targets of these kinds."""
    return [
        *_event_routes(),
        *_subscription_routes(kinds),
        *_delivery_routes(),
        *_job_routes(),
        *_other_routes(),
    ]


def _event_routes() -> list[AnyRoute]:
    return [
        Route(
            method="POST",
            path="/v1/events",
            handler=events.publish_events,
            scope="publish",
            body=EVENT_FORMS,
            answer=answers.Accepted,
            status=HTTPStatus.ACCEPTED,
        ),
        Route(
            method="GET",
            path="/v1/events",
            handler=events.list_events,
            scope="subscribe",
            query=requests.EventsQuery,
            answer=answers.EventList,
        ),
        Route(
            method="GET",
            path="/v1/events/{id}",
            handler=events.get_event,
            scope="subscribe",
            answer=answers.EventDetail,
        ),
        Route(
            method="POST",
            path="/v1/events/{id}/replay",
            handler=events.replay_event,
            scope="subscribe",
            body=requests.Replay,
            answer=answers.Replayed,
            status=HTTPStatus.ACCEPTED,
        ),
    ]


def _subscription_routes(kinds: Mapping[str, TargetKind]) -> list[AnyRoute]:
    collection, one = "/v1/subscriptions", "/v1/subscriptions/{id}"
    return [
        Route(
            method="POST",
            path=collection,
            handler=subscriptions.create_subscription,
            scope="subscribe",
            body=_with_targets(requests.NewSubscription, kinds),
            answer=answers.SubscriptionWithSecret,
            status=HTTPStatus.CREATED,
            location=one,
        ),
        Route(
            method="GET",
            path=collection,
            handler=subscriptions.list_subscriptions,
            scope="subscribe",
            query=requests.SubscriptionsQuery,
            answer=answers.SubscriptionList,
        ),
        Route(
            method="GET",
            path=one,
            handler=subscriptions.get_subscription,
            scope="subscribe",
            answer=answers.SubscriptionView,
        ),
        Route(
            method="PATCH",
            path=one,
            handler=subscriptions.change_subscription,
            scope="subscribe",
            body=_with_targets(requests.SubscriptionChange, kinds),
            answer=answers.SubscriptionView,
        ),
        Route(method="DELETE", path=one, handler=subscriptions.delete_subscription, scope="subscribe"),
        Route(
            method="POST",
            path=f"{one}/test",
            handler=subscriptions.test_subscription,
            scope="subscribe",
            answer=answers.Trial,
        ),
        Route(
            method="POST",
            path=f"{one}/pause",
            handler=subscriptions.pause_subscription,
            scope="subscribe",
            answer=answers.SubscriptionView,
        ),
        Route(
            method="POST",
            path=f"{one}/resume",
            handler=subscriptions.resume_subscription,
            scope="subscribe",
            answer=answers.SubscriptionView,
        ),
        Route(
            method="POST",
            path=f"{one}/rotate-secret",
            handler=subscriptions.rotate_secret,
            scope="subscribe",
            answer=answers.SubscriptionWithSecret,
        ),
    ]


def _delivery_routes() -> list[AnyRoute]:
    return [
        Route(
            method="GET",
            path="/v1/deliveries",
            handler=deliveries.list_deliveries,
            scope="subscribe",
            query=requests.DeliveriesQuery,
            answer=answers.DeliveryList,
        ),
        Route(
            method="POST",
            path="/v1/deliveries/retry",
            handler=deliveries.retry_deliveries,
            scope="subscribe",
            body=requests.RetryMany,
            answer=answers.Counted,
        ),
        Route(
            method="GET",
            path="/v1/deliveries/{id}",
            handler=deliveries.get_delivery,
            scope="subscribe",
            answer=answers.DeliveryDetail,
        ),
        Route(
            method="POST",
            path="/v1/deliveries/{id}/retry",
            handler=deliveries.retry_delivery,
            scope="subscribe",
            answer=answers.DeliveryDetail,
        ),
        Route(
            method="POST",
            path="/v1/deliveries/{id}/cancel",
            handler=deliveries.cancel_delivery,
            scope="subscribe",
            answer=answers.DeliveryDetail,
        ),
    ]


def _job_routes() -> list[AnyRoute]:
    return [
        Route(
            method="GET",
            path="/v1/jobs",
            handler=jobs.list_jobs,
            scope="subscribe",
            query=requests.JobsQuery,
            answer=answers.JobList,
        ),
        Route(
            method="GET",
            path="/v1/jobs/{id}",
            handler=jobs.get_job,
            scope="subscribe",
            answer=answers.JobView,
        ),
        Route(
            method="GET",
            path="/v1/jobs/{id}/history",
            handler=jobs.get_job_history,
            scope="subscribe",
            query=requests.ListQuery,
            answer=answers.History,
        ),
    ]


def _other_routes() -> list[AnyRoute]:
    return [
        Route(
            method="POST",
            path="/v1/keys",
            handler=keys.create_key,
            scope="admin",
            body=requests.NewKey,
            answer=answers.KeyWithText,
            status=HTTPStatus.CREATED,
        ),
        Route(
            method="GET",
            path="/v1/keys",
            handler=keys.list_keys,
            scope="admin",
            query=requests.ListQuery,
            answer=answers.KeyList,
        ),
        Route(method="DELETE", path="/v1/keys/{id}", handler=keys.delete_key, scope="admin"),
        Route(method="GET", path="/health/live", handler=health.live, scope=None, answer=answers.Health),
        Route(method="GET", path="/health/ready", handler=health.ready, scope=None, answer=answers.Health),
        Route(
            method="GET",
            path="/metrics",
            handler=health.metrics,
            scope=None,
            answer=bytes,
            media_type=CONTENT_TYPE,
        ),
    ]


_S = TypeVar("_S", requests.NewSubscription, requests.SubscriptionChange)


def _with_targets(base: type[_S], kinds: Mapping[str, TargetKind]) -> type[_S]:
    """The type with `target` as one of the kinds' own models, so that each is checked and has its schema."""
    specs = [kind.spec for kind in kinds.values()]
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
