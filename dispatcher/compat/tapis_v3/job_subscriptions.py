"""`/v3/jobs/subscribe`: subscriptions to one job, which are subscriptions of `/v3/notifications` with its id.

Source: tapis-jobs 1.7.1, JobSubscriptionResource. A job of which nothing is known yet may be subscribed to.
"""

from __future__ import annotations

from dispatcher.api.access import only_owner
from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.tapis_v3 import create, listing
from dispatcher.compat.tapis_v3 import request_models as models
from dispatcher.compat.tapis_v3.envelope import V3Request
from dispatcher.compat.tapis_v3.event_model import native_id
from dispatcher.compat.tapis_v3.repository import TapisSubscription
from dispatcher.compat.tapis_v3.views import view
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.names import is_name

MAX_TTL = 4 * models.DEFAULT_TTL


async def subscribe(request: V3Request) -> CompatResponse:
    """Subscribe to a job that has not ended."""
    new, job_id = request.read(models.JobSubscribe), _job_id(request)
    caller = request.caller.key
    job = await request.services.store.jobs.get(caller.tenant, job_id, only_owner(caller))
    if job is not None and job.terminal:
        raise InvalidInput("jobUuid", f"the job {job_id} has ended: it is {job.status}")
    wanted = _as_subscription(new, job_id)
    models.check_filters(wanted.type_filter, wanted.delivery_targets)
    name = create.generate_name(request, caller.owner, wanted)
    await create.create(request, caller.owner, name, wanted)
    return CompatResponse(
        message=f"the subscription to {wanted.type_filter} of the job {job_id} was created",
        result={"url": f"{request.base}{create.BASE}/{name}"},
    )


async def list_subscriptions(request: V3Request) -> CompatResponse:
    """The caller's subscriptions to a job; those of all owners for a service and an administrator."""
    found = await _of_job(request, _job_id(request))
    limit, skip = listing.limit_in(request.query), listing.number(request.query, "skip", 0)
    shown = found[skip : skip + limit]
    members = await request.repository.members(shown)
    return CompatResponse(
        message=f"{len(shown)} subscriptions",
        result=[view(one, members, request.services.kinds) for one in shown],
    )


async def delete_subscriptions(request: V3Request) -> CompatResponse:
    """Remove the subscription of this UUID, or else all of the caller's to the job of this id."""
    text, tenant = request.path["jobUuid"], request.caller.key.tenant
    key = native_id("sub", text)
    named = None if key is None else await request.repository.by_id(tenant, key)
    owner = _owner(request)
    mine = [named] if named is not None and owner in (None, named.owner) else []
    found = mine or await request.repository.listed(tenant, request.caller.key.owner, _job_id(request))
    removed = sum([await request.repository.remove(one) for one in found])
    return CompatResponse(message=f"{removed} subscriptions were removed", result={"changes": removed})


async def _of_job(request: V3Request, job_id: str) -> list[TapisSubscription]:
    return await request.repository.listed(request.caller.key.tenant, _owner(request), job_id)


def _owner(request: V3Request) -> str | None:
    return None if request.caller.trusted else request.caller.key.owner


def _job_id(request: V3Request) -> str:
    job_id = request.path["jobUuid"]
    if job_id == models.EVERY or len(job_id) > models.MAX_SUBJECT or not is_name(job_id):
        raise InvalidInput("jobUuid", f"expected the id of one job, {models.MAX_SUBJECT} characters at most")
    return job_id


def _as_subscription(new: models.JobSubscribe, job_id: str) -> models.PostSubscription:
    category = models.EVERY if new.event_category_filter == "ALL" else new.event_category_filter
    minutes = new.ttl_minutes or new.ttlminutes or 0
    return models.PostSubscription(
        type_filter=f"jobs.{category}.*",
        subject_filter=job_id,
        delivery_targets=new.delivery_targets,
        description=new.description,
        enabled=new.enabled,
        ttl_minutes=min(minutes if minutes > 0 else models.DEFAULT_TTL, MAX_TTL),
    )
