"""Jobs: list, show, status, history, and waiting for one."""

# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one.
from __future__ import annotations

import time

from dispatcher.client.errors import TransportError, WaitTimeout
from dispatcher.client.exchange import request, segment
from dispatcher.client.models import HistoryItem, Job, JobStatus
from dispatcher.client.sync.pages import PAGE_SIZE, Pages
from dispatcher.client.sync.resource import Resource
from dispatcher.client.sync.transport import sleep

PATH = "/v1/jobs"

WAIT_SECONDS = 30.0
"""For how long one request waits. Proxies end longer ones."""

STOPPING_DELAY = 1.0
"""Seconds after which a server that answers early, because it stops, is asked again."""

FIRST_ANSWER = 1.0
"""Seconds for the first answer, when the timeout is shorter: who does not want to wait wants to know."""

TOO_SHORT = 0.1
"""Seconds for which the server is not asked again."""


class Jobs(Resource):
    """`client.jobs`. `tenant` is another tenant than the key's, or `*` for all, for admins of the tenant `default`."""

    def list(
        self,
        *,
        owner: str | None = None,
        status: str | None = None,
        tenant: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Pages[Job]:
        """Jobs by their first event, newest first."""
        return self._list(PATH, Job, page_size, owner=owner, status=status, tenant=tenant)

    def get(self, id: str, *, tenant: str | None = None) -> Job:
        """The status, times and message of a job."""
        return self._get(_path(id), Job, {"tenant": tenant})

    def history(
        self, id: str, *, tenant: str | None = None, page_size: int = PAGE_SIZE
    ) -> Pages[HistoryItem]:
        """The events of a job, newest first."""
        return self._list(f"{_path(id)}/history", HistoryItem, page_size, tenant=tenant)

    def status(
        self,
        id: str,
        *,
        wait: float | None = None,
        until: str | None = None,
        after: str | None = None,
        tenant: str | None = None,
    ) -> JobStatus:
        """A job's status; with `wait` as soon as `until` holds, or after so many seconds (60 at most).

        `until` is `terminal`, `change` (an event newer than `after`), or event names with commas.
        """
        query: dict[str, object] = {"wait": wait, "until": until, "after": after, "tenant": tenant}
        return self._status(id, query, wait or 0.0)

    def wait(
        self,
        id: str,
        *,
        until: str = "terminal",
        after: str | None = None,
        timeout: float | None = None,
        tenant: str | None = None,
    ) -> JobStatus:
        """Return when `until` holds, over as many requests as that takes. The job need not be known yet.

        Raises WaitTimeout after `timeout` seconds, retries included. One below a second is for the first answer only.
        """
        ends = deadline = None
        if timeout is not None:
            ends = time.monotonic() + timeout
            deadline = max(ends, time.monotonic() + FIRST_ANSWER)
        late = f"job {id} did not reach {until} in {timeout or 0.0:g} s"
        while True:
            began, seconds = time.monotonic(), _seconds_of_wait(ends)
            query = {"wait": seconds, "until": until, "after": after, "tenant": tenant}
            try:
                status = self._status(id, query, seconds, deadline)
            except TransportError as error:
                if deadline is None or deadline - time.monotonic() > TOO_SHORT:
                    raise
                raise WaitTimeout(f"{late}: {error}") from error
            if status.reached:
                return status
            if time.monotonic() - began < seconds / 2:  # the server stops
                sleep(min(STOPPING_DELAY, seconds / 2))
            if ends is not None and ends - time.monotonic() < TOO_SHORT:
                raise WaitTimeout(f"{late}: it is {status.status}")

    def _status(
        self, id: str, query: dict[str, object], extra: float, deadline: float | None = None
    ) -> JobStatus:
        asked = request("GET", f"{_path(id)}/status", query=query, extra=extra, deadline=deadline)
        return self._client.send(asked, JobStatus)


def _seconds_of_wait(ends: float | None) -> float:
    """For how long the server is asked to wait: a little less than is left, so that its answer comes in time."""
    if ends is None:
        return WAIT_SECONDS
    left = max(0.0, ends - time.monotonic())
    return round(min(WAIT_SECONDS, left - min(1.0, left / 10)), 3)


def _path(id: str) -> str:
    return f"{PATH}/{segment(id)}"
