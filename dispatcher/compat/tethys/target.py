"""The target kind `tethys`: tells a Tethys portal that one of its jobs has changed."""

from __future__ import annotations

import asyncio
import hashlib

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace
from yarl import URL

from dispatcher.compat.tethys.answers import evaluate
from dispatcher.compat.tethys.config import TethysTarget, check, redact
from dispatcher.compat.tethys.requests import PortalRequest, RequestTemplate
from dispatcher.compat.tethys.turns import Turns
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.event_names import is_terminal
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.hops import HEADER, outgoing
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import UNTRUSTED, AttemptResult, TargetStatuses
from dispatcher.domain.templates import RenderError
from dispatcher.http import Request, TransportError
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources

__all__ = ["TethysKind", "TethysSender", "TethysTarget", "make_kind"]

log = structlog.get_logger("dispatcher.targets")

LOOK_INTERVAL = 10.5
"""Seconds between two requests of the form "job" for one job.

A portal asks a job for its status every 10 seconds at most, and says of a request in between that it was a success.
"""

_MARGIN = 15.0
"""Seconds beyond a request's own after which others may go, should this process end meanwhile."""

_RETRY_DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0)
_SUPERSEDED = "a later status of this job has arrived at the portal"
_NOT_YET = "another status is on its way, or the portal was asked to look less than 10 seconds ago"
_LOOKS_AGAIN = (
    "the portal was asked to look at the job, and is asked once more: it does nothing when it has looked in the 10 "
    "seconds before"
)


class TethysKind:
    """Checks Tethys targets and makes their senders, which share one client."""

    name = "tethys"
    spec = TethysTarget

    def __init__(self, egress: Egress, statuses: TargetStatuses | None = None) -> None:
        self._egress = egress
        self._turns = None if statuses is None else Turns(statuses)
        self._looks = None if statuses is None else Turns(statuses, LOOK_INTERVAL)

    def check(self, target: Struct) -> str:
        """The destination (`https://portal.example.org:443`); InvalidInput when the target cannot work."""
        return check(_tethys(target), self._egress.guard)

    def redact(self, target: Struct) -> dict[str, object]:
        """The target without its token."""
        return redact(_tethys(target))

    def sender(self, subscription: Subscription) -> TethysSender:
        """The sender of a subscription whose target was checked."""
        target = msgspec.convert(subscription.target, TethysTarget)
        turns = self._looks if target.form == "job" else self._turns
        return TethysSender(self._egress, target, subscription, turns)

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
        self._template = RequestTemplate(target)
        self._whose = f"{subscription.tenant}\0{subscription.subscriber}\0{self._template.base}"
        self._turns = turns
        self._believes = subscription.believes

    async def send(
        self, event: Event, delivery_id: str, number: int, attempt_state: str | None = None
    ) -> AttemptResult:
        """Make one attempt, unless a later event of the portal's job has arrived there or is on its way.

        Raises for nothing that the portal or the network does; StoreUnavailable when the store cannot say what arrived.
        """
        if not self._believes(event):
            return AttemptResult(request_line=self._template.shown, error=UNTRUSTED, permanent=True)
        try:
            request = self._template.render(event)
        except RenderError as error:
            return AttemptResult(request_line=self._template.shown, error=str(error), permanent=True)
        if self._turns is None:
            return await self._ask(request, event)
        return await self._in_turn(self._turns, request, event, delivery_id)

    async def _in_turn(
        self, turns: Turns, request: PortalRequest, event: Event, delivery_id: str
    ) -> AttemptResult:
        key = hashlib.sha256(f"{self._whose}\0{request.job}".encode()).digest()[:16]
        unsure = self._unsure_for(event)
        turn = await turns.begin(key, event.key, delivery_id, self._egress.timeout + _MARGIN, unsure)
        if turn == "superseded":
            return AttemptResult(request_line=request.shown, error=_SUPERSEDED, superseded=True)
        if turn != "go":
            return AttemptResult(request_line=request.shown, error=_NOT_YET, retry_at_delay=turn)
        delivered = False
        try:
            answer = await self._ask(request, event)
            delivered = answer.error is None
        finally:
            await self._finish(turns, key, event, delivery_id, delivered=delivered)
        if delivered and unsure > 0:
            return replace(answer, error=_LOOKS_AGAIN, retry_at_delay=LOOK_INTERVAL, healthy=True)
        return answer

    def _unsure_for(self, event: Event) -> float:
        """Seconds in which the end of a job may not be seen, though the portal is asked to look and says it did.

        It may have looked by itself just before the event; and a job that has just been started counts as looked at.
        """
        if self._form != "job" or not is_terminal(event.event):
            return 0.0
        return LOOK_INTERVAL - (utc_now() - event.accepted_at).total_seconds()

    async def _finish(
        self, turns: Turns, key: bytes, event: Event, delivery_id: str, *, delivered: bool
    ) -> None:
        """Note it, and try again while the store is away: what is not noted could be followed by an earlier status."""
        for delay in (*_RETRY_DELAYS, None):
            try:
                return await turns.finish(key, event.key, delivery_id, delivered=delivered)
            except StoreUnavailable as error:
                if delay is None:
                    log.warning("cannot record a delivered status", delivery=delivery_id, error=str(error))
                else:
                    await asyncio.sleep(delay)

    async def _ask(self, request: PortalRequest, event: Event) -> AttemptResult:
        headers = {HEADER: str(outgoing(event.document))}
        try:
            response = await self._egress.exchange.send(
                Request.build("GET", URL(request.address, encoded=True), headers)
            )
        except TransportError as error:
            return AttemptResult(
                request_line=request.shown,
                error=str(error),
                retry_early=error.early,
                destination_down=error.down,
            )
        return evaluate(response, request, self._form)


def _tethys(target: Struct) -> TethysTarget:
    if not isinstance(target, TethysTarget):
        raise TypeError(f"expected a TethysTarget, got a {type(target).__name__}")
    return target
