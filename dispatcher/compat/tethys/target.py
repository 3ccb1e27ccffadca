"""The target kind `tethys`: tells a Tethys portal that one of its jobs has changed.

The portal takes GET alone, wants the slash at the end, and answers 200 also when it knows no such job: what it says in
the body counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Annotated, Literal

import msgspec
import structlog
from msgspec import Meta, Struct
from msgspec.structs import replace
from yarl import URL

from dispatcher.compat.tethys.statuses import EVENTS_TO_DASK
from dispatcher.compat.tethys.turns import Turns
from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.hops import HEADER, outgoing
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import UNTRUSTED, AttemptResult, TargetStatuses
from dispatcher.domain.templates import RenderError, TextTemplate
from dispatcher.domain.variable_values import EventValues
from dispatcher.domain.variables import TemplateError
from dispatcher.http import Request, TransportError
from dispatcher.targets.http.base_url import check_base_url
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.http.response_check import Success, evaluate_response
from dispatcher.targets.registry import Resources

log = structlog.get_logger("dispatcher.targets")

_PATHS = {"job": "update-job-status", "dask": "update-dask-job-status"}
_MARGIN = 15.0
"""Seconds beyond a request's own after which others may go, should this process end meanwhile."""

_RETRY_DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0)
_SUPERSEDED = "a later status of this job has arrived at the portal"
_TAKEN = Success(status=(200,), json={"success": True})
# What the portal's own routes take for a job.
_JOB = re.compile(r"[\w-]+", re.ASCII)


class TethysTarget(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="tethys"):
    """A portal, and which of its jobs an event changes.

    `job` is the job's id in the portal, or its key with `form` "dask"; it may hold variables. In the form "job" the
    portal asks the job itself for its status, in the form "dask" the status goes with the request.
    """

    portal: Annotated[str, Meta(min_length=1, max_length=2048)]
    job: Annotated[str, Meta(min_length=1, max_length=1024)]
    form: Literal["job", "dask"] = "job"

    def __repr__(self) -> str:
        return f"TethysTarget({self.portal} {self.job})"


class TethysKind:
    """Checks Tethys targets and makes their senders, which share one client."""

    name = "tethys"
    spec = TethysTarget

    def __init__(self, egress: Egress, statuses: TargetStatuses | None = None) -> None:
        self._egress = egress
        self._turns = None if statuses is None else Turns(statuses)

    def check(self, target: Struct) -> str:
        """The destination (`https://portal.example.org:443`); InvalidInput when the target cannot work."""
        tethys = _tethys(target)
        destination = check_base_url(tethys.portal, "target.portal", self._egress.guard)
        try:
            job = TextTemplate.compile(tethys.job)
        except TemplateError as error:
            raise InvalidInput("target.job", str(error)) from None
        if not job.names and not _JOB.fullmatch(tethys.job):
            raise InvalidInput(
                "target.job", "expected letters, digits, _ and -, or variables such as $<JOB_NAME>"
            )
        return destination

    def redact(self, target: Struct) -> dict[str, object]:
        """The whole target: there is nothing secret in it."""
        shown: dict[str, object] = msgspec.to_builtins(_tethys(target))
        return shown

    def sender(self, subscription: Subscription) -> TethysSender:
        """The sender of a subscription whose target was checked."""
        target = msgspec.convert(subscription.target, TethysTarget)
        return TethysSender(self._egress, target, subscription, self._turns)

    async def close(self) -> None:
        """Nothing: the client is the one of the webhooks."""


def make_kind(resources: Resources) -> TethysKind:
    """Called by the registry."""
    return TethysKind(resources.egress, None if resources.store is None else resources.store.target_statuses)


class TethysSender:
    """One subscription's requests."""

    def __init__(
        self,
        egress: Egress,
        target: TethysTarget,
        subscription: Subscription,
        turns: Turns | None,
    ) -> None:
        self._egress = egress
        self._form = target.form
        self._base = f"{target.portal.rstrip('/')}/{_PATHS[target.form]}/"
        self._job = TextTemplate.compile(target.job)
        self._whose = f"{subscription.tenant}\0{subscription.subscriber}\0{self._base}"
        self._turns = turns
        self._believes = subscription.believes

    async def send(
        self, event: Event, delivery_id: str, number: int, attempt_state: str | None = None
    ) -> AttemptResult:
        """Make one attempt, unless a later event of the portal's job has arrived there or is on its way.

        Raises for nothing that the portal or the network does; StoreUnavailable when the store cannot say what arrived.
        """
        if not self._believes(event):
            return AttemptResult(request_line=f"GET {self._base}", error=UNTRUSTED, permanent=True)
        try:
            job = self._job_in(event)
            address = self._address(job, event)
        except RenderError as error:
            return AttemptResult(request_line=f"GET {self._base}", error=str(error), permanent=True)
        if self._turns is None:
            return await self._ask(address, event)
        key = hashlib.sha256(f"{self._whose}\0{job}".encode()).digest()[:16]
        turn = await self._turns.begin(key, event.key, delivery_id, self._egress.timeout + _MARGIN)
        if turn == "superseded":
            return AttemptResult(request_line=f"GET {address}", error=_SUPERSEDED, superseded=True)
        if turn != "go":
            return AttemptResult(
                request_line=f"GET {address}", error="another status is on its way", retry_at_delay=turn
            )
        delivered = False
        try:
            answer = await self._ask(address, event)
            delivered = answer.error is None
        finally:
            await self._finish(key, event, delivery_id, delivered=delivered)
        return answer

    async def _finish(self, key: bytes, event: Event, delivery_id: str, *, delivered: bool) -> None:
        """Note it, and try again while the store is away: what is not noted could be followed by an earlier status."""
        assert self._turns is not None  # noqa: S101 - `send` asked it
        for delay in (*_RETRY_DELAYS, None):
            try:
                return await self._turns.finish(key, event.key, delivery_id, delivered=delivered)
            except StoreUnavailable as error:
                if delay is None:
                    log.warning("cannot record a delivered status", delivery=delivery_id, error=str(error))
                else:
                    await asyncio.sleep(delay)

    async def _ask(self, address: str, event: Event) -> AttemptResult:
        line = f"GET {address}"
        headers = {HEADER: str(outgoing(event.document))}
        try:
            request = Request.build("GET", URL(address, encoded=True), headers)
            response = await self._egress.exchange.send(request)
        except TransportError as error:
            return AttemptResult(
                request_line=line, error=str(error), retry_early=error.early, destination_down=error.down
            )
        answer = evaluate_response(response, line, _TAKEN, ())
        if response.status == 200 and answer.error is not None:
            problem = "the portal did not take it: it has no such job, or could not update it"
            return replace(answer, error=f"{problem} ({answer.error})")
        if answer.disable_subscription:  # what is gone is this job: the others may be there
            return replace(answer, error=f"answered {response.status}", disable_subscription=False)
        return answer

    def _job_in(self, event: Event) -> str:
        """Raises RenderError when it is no job that a portal could have."""
        job = self._job.render(EventValues(event))
        if not _JOB.fullmatch(job):
            raise RenderError(f"the job becomes {job[:80]!r}: expected letters, digits, _ and -")
        return job

    def _address(self, job: str, event: Event) -> str:
        """Raises RenderError when the event means nothing to a portal."""
        if self._form == "job":
            return f"{self._base}{job}/"
        status = EVENTS_TO_DASK.get(event.event)
        if status is None:
            known = ", ".join(EVENTS_TO_DASK)
            raise RenderError(f"Dask has no status for {event.event}: expected one of {known}")
        return f"{self._base}{job}/?status={status}"


def _tethys(target: Struct) -> TethysTarget:
    if not isinstance(target, TethysTarget):
        raise TypeError(f"expected a TethysTarget, got a {type(target).__name__}")
    return target
