"""What an event asks of a portal: the address, and how it may be shown."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from dispatcher.compat.tethys.config import EVENT_TOKEN, JOB, TethysTarget
from dispatcher.compat.tethys.statuses import EVENTS_TO_DASK, EVENTS_TO_TETHYS
from dispatcher.domain.events import Event
from dispatcher.domain.templates import RenderError, TextTemplate
from dispatcher.domain.variable_values import EventValues
from dispatcher.targets.http.auth import HIDDEN, scrubbable

MAX_TOKEN = 2048
"""Characters of a token: one of Tethys has about fifty."""

_PATHS = {"job": "update-job-status", "dask": "update-dask-job-status", "report": "report-job-status"}
# What Django signs with, and what may stand in a query as it is (RFC 3986).
_SAFE = ":-_.~"


class PortalRequest(NamedTuple):
    """One GET. `shown` is its line without secrets, which are `secrets`."""

    job: str
    address: str
    shown: str
    secrets: tuple[str, ...] = ()


class RequestTemplate:
    """The requests of one target. `base` is the part of the address that never changes."""

    def __init__(self, target: TethysTarget) -> None:
        self._form = target.form
        self.base = f"{target.portal.rstrip('/')}/{_PATHS[target.form]}/"
        self._job = TextTemplate.compile(target.job)
        self._token = TextTemplate.compile(target.token or EVENT_TOKEN)

    @property
    def shown(self) -> str:
        """The line of a request that could not be rendered."""
        return f"GET {self.base}"

    def render(self, event: Event) -> PortalRequest:
        """Raises RenderError when the event means nothing to a portal."""
        values = EventValues(event)
        job = self._job.render(values)
        if not JOB.fullmatch(job):
            raise RenderError(f"the job becomes {job[:80]!r}: expected letters, digits, _ and -")
        address = f"{self.base}{job}/"
        if self._form == "job":
            return PortalRequest(job, address, f"GET {address}")
        if self._form == "dask":
            address += f"?status={_status(event, EVENTS_TO_DASK, 'Dask')}"
            return PortalRequest(job, address, f"GET {address}")
        status = _status(event, EVENTS_TO_TETHYS, "Tethys")
        token = self._report_token(values)
        encoded = quote(token, safe=_SAFE)
        query = f"&status={status}"
        return PortalRequest(
            job,
            f"{address}?token={encoded}{query}",
            f"GET {address}?token={HIDDEN}{query}",
            scrubbable({token, encoded}),
        )

    def _report_token(self, values: EventValues) -> str:
        token = self._token.render(values)
        if not token:
            named = ", ".join(f"${{{name}}}" for name in sorted(self._token.names))
            raise RenderError(f"the token of the report is empty: the event has no {named}")
        if len(token) > MAX_TOKEN:
            raise RenderError(f"the token of the report has {len(token)} characters, more than {MAX_TOKEN}")
        return token


def _status(event: Event, statuses: dict[str, str], whose: str) -> str:
    status = statuses.get(event.event)
    if status is None:
        raise RenderError(f"{whose} has no status for {event.event}: expected one of {', '.join(statuses)}")
    return status
