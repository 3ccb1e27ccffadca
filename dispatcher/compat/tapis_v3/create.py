"""Making subscriptions in the shape of Tapis v3."""

from __future__ import annotations

import secrets
from http import HTTPStatus

from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.tapis_v3 import request_models as models
from dispatcher.compat.tapis_v3.envelope import V3Request
from dispatcher.compat.tapis_v3.repository import TapisSubscription
from dispatcher.compat.tapis_v3.target_mapping import DesiredState, end_of, new_members
from dispatcher.compat.tapis_v3.views import Details
from dispatcher.domain.errors import Forbidden
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id

BASE = "/v3/notifications/subscriptions"

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SUBJECT_IN_NAME = 40


async def post_subscription(request: V3Request) -> CompatResponse:
    """Make a subscription."""
    new = request.read(models.PostSubscription)
    models.check_filters(new.type_filter, new.delivery_targets)
    owner = request.caller.key.owner if new.owner == models.API_USER else new.owner
    if owner != request.caller.key.owner and not request.caller.trusted:
        raise Forbidden(
            f"owner: expected {request.caller.key.owner!r}; only services and admins may name another"
        )
    name = generate_name(request, owner, new) if new.name is None else models.check_name(new.name)
    await create(request, owner, name, new)
    return CompatResponse(
        message=f"the subscription {name} was created for {owner}",
        result={"url": f"{request.base}{BASE}/{name}"},
        status=HTTPStatus.CREATED,
    )


async def create(
    request: V3Request,
    owner: str,
    name: str,
    new: models.PostSubscription,
    *,
    key: str | None = None,
    start_count: int | None = None,
) -> TapisSubscription:
    """Make a subscription of this owner and name. Raises Conflict when there is one."""
    expires_at = end_of(models.check_ttl(new.ttl_minutes))
    wish = DesiredState(
        key=key or new_id("sub"),
        name=name,
        type_filter=new.type_filter,
        subject_filter=new.subject_filter,
        expires_at=expires_at,
        enabled=new.enabled,
    )
    members = await new_members(request, wish, new.delivery_targets)
    now = utc_now()
    details = Details(
        type_filter=new.type_filter,
        ttl_minutes=new.ttl_minutes,
        enabled=new.enabled,
        updated=now,
        description=new.description,
        start_count=start_count,
    )
    named = TapisSubscription(
        id=wish.key,
        created_at=now,
        expires_at=expires_at,
        tenant=request.caller.key.tenant,
        owner=owner,
        name=name,
        subject_filter=new.subject_filter,
        members=tuple(member.id for member in members),
        document=details.encoded(),
    )
    caps = await request.services.quotas.caps(request.caller.key)
    await request.repository.add(named, members, caps)
    return named


def generate_name(request: V3Request, owner: str, new: models.PostSubscription) -> str:
    """A name for one that was given none, made as Tapis makes it."""
    subject = "any" if new.subject_filter == models.EVERY else new.subject_filter[:_SUBJECT_IN_NAME]
    random = "".join(secrets.choice(_LETTERS) for _ in range(8))
    maker = request.caller.service or request.caller.key.owner
    parts = (maker, owner, request.caller.key.tenant, subject, random)
    plain = "~".join(
        "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in p) for p in parts
    )
    return plain[-188:].lstrip("._~-")
