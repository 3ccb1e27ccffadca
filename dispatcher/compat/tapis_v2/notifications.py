"""`/notifications/v2`: subscriptions as the notifications of Tapis v2 (Agave)."""

from __future__ import annotations

from http import HTTPStatus

from dispatcher.api.problems import Refusal
from dispatcher.api.request_models import NewSubscription, SubscriptionChange
from dispatcher.api.response_models import SubscriptionView
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.secret_models import SubscriptionWithSecret
from dispatcher.api.subscriptions import (
    change_subscription,
    create_subscription,
    delete_subscription,
    resume_subscription,
)
from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.tapis_v2.document import EVERY, Notification, notification_in, read_document
from dispatcher.compat.tapis_v2.envelope import V2Request
from dispatcher.compat.tapis_v2.lookup import call, found, last_of, named
from dispatcher.compat.tapis_v2.policy import retry_policy
from dispatcher.compat.tapis_v2.search import Type, terms_in
from dispatcher.compat.tapis_v2.target_mapping import as_url_fault, target_of
from dispatcher.compat.tapis_v2.views import (
    NotificationState,
    NotificationView,
    brief,
    full,
    metadata_of,
    notification_view,
)
from dispatcher.domain.errors import Forbidden, InvalidInput
from dispatcher.domain.keys import ApiKey

NAME = "Tapis v2 notification"

SEARCHED: dict[str, Type] = {
    "id": "text",
    "url": "text",
    "associateduuid": "text",
    "event": "text",
    "owner": "text",
    "status": "text",
    "persistent": "flag",
    "visible": "flag",
    "created": "time",
    "lastupdated": "time",
    "policy.retrystrategy": "text",
    "policy.retrylimit": "number",
    "policy.retryrate": "number",
    "policy.retrydelay": "number",
    "policy.saveonfailure": "flag",
}


async def list_notifications(request: V2Request) -> CompatResponse:
    """The caller's active notifications, or those that its search terms select; newest first."""
    notices = await found(request, terms_in(request.terms, SEARCHED))
    return CompatResponse([brief(notice, request.base) for notice in notices])


async def add_notification(request: V2Request) -> CompatResponse:
    """Subscribe."""
    wanted = notification_in(await _document(request))
    check_wildcard(request.caller, wanted)
    made = await make(call(request, None), wanted)
    return CompatResponse(full(_noted(made), None, request.base), HTTPStatus.CREATED)


async def get_notification(request: V2Request) -> CompatResponse:
    """One notification."""
    notice = await named(request)
    return CompatResponse(full(notice, await last_of(request, notice), request.base))


async def update_notification(request: V2Request) -> CompatResponse:
    """Replace a notification as a whole: what is not given is as in a new one."""
    notice = await named(request)
    wanted = notification_in(await _document(request))
    check_wildcard(request.caller, wanted)
    if notice.subscription.status == "completed" and not notice.subscription.persistent:
        raise Refusal(
            HTTPStatus.PRECONDITION_FAILED,
            "Notification has already fired. You can not update past notifications.",
        )
    changed = await _change(request, notice, wanted)
    if changed.status in ("disabled", "completed"):
        changed = await resume_subscription(call(request, None, {"id": changed.id}))
    notice = _noted(changed)
    return CompatResponse(full(notice, await last_of(request, notice), request.base))


async def delete_notification(request: V2Request) -> CompatResponse:
    """Remove a notification; it is not seen again."""
    notice = await named(request)
    await delete_subscription(call(request, None, {"id": notice.subscription.id}))
    return CompatResponse({})


async def make(made_by: Call[NoQuery, None], wanted: Notification) -> SubscriptionWithSecret:
    """Store a new notification, as the native API would for the same caller. InvalidInput names its property."""
    kept = NotificationState(owner=made_by.caller.owner, policy=wanted.policy)
    try:
        new = NewSubscription(
            name=NAME,
            events=(wanted.event,),
            job_id=_job_id(wanted),
            target=target_of(wanted.url, made_by.services.kinds),
            retry=retry_policy(wanted.policy),
            persistent=wanted.persistent,
            metadata=metadata_of(kept, {}),
        )
        return await create_subscription(
            Call(made_by.caller, made_by.services, {}, NoQuery(), new, made_by.headers)
        )
    except InvalidInput as error:
        raise as_url_fault(error) from None


def check_wildcard(caller: ApiKey, wanted: Notification) -> None:
    """Raise Forbidden when the notification is for every job and the key is no admin's."""
    if wanted.associated_uuid == EVERY and not caller.admin:
        raise Forbidden("Administrator permissions are required to set wildcard notifications.")


async def _change(request: V2Request, notice: NotificationView, wanted: Notification) -> SubscriptionView:
    kept = NotificationState(
        owner=notice.kept.owner,
        policy=wanted.policy,
        cleared=notice.kept.cleared,
        hidden=notice.kept.hidden,
    )
    try:
        change = SubscriptionChange(
            events=(wanted.event,),
            job_id=_job_id(wanted),
            target=target_of(wanted.url, request.services.kinds),
            retry=retry_policy(wanted.policy),
            persistent=wanted.persistent,
            metadata=metadata_of(kept, notice.subscription.metadata),
        )
        return await change_subscription(call(request, change, {"id": notice.subscription.id}))
    except InvalidInput as error:
        raise as_url_fault(error) from None


def _job_id(wanted: Notification) -> str | None:
    return None if wanted.associated_uuid == EVERY else wanted.associated_uuid


def _noted(subscription: SubscriptionView) -> NotificationView:
    notice = notification_view(subscription)
    assert notice is not None  # noqa: S101 - its metadata were written a moment ago
    return notice


async def _document(request: V2Request) -> dict[str, object]:
    return read_document(request.body, request.headers.get("Content-Type", ""))
