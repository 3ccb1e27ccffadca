"""Jobs: list, show, status, history, and waiting for one."""

from __future__ import annotations

import time

from dispatcher.client.aio.pages import PAGE_SIZE, AsyncPages
from dispatcher.client.aio.resource import AsyncResource
from dispatcher.client.aio.transport import sleep
from dispatcher.client.errors import WaitTimeout
from dispatcher.client.exchange import request, segment
from dispatcher.client.models import HistoryItem, Job, JobStatus

PATH = "/v1/jobs"

WAIT_SECONDS = 30.0
"""For how long one request waits. Proxies end longer ones."""

STOPPING_DELAY = 1.0
"""Seconds after which a server that answers early, because it stops, is asked again."""


class AsyncJobs(AsyncResource):
    """`client.jobs`."""

    def list(
        self, *, owner: str | None = None, status: str | None = None, page_size: int = PAGE_SIZE
    ) -> AsyncPages[Job]:
        """Jobs by their first event, newest first."""
        return self._list(PATH, Job, page_size, owner=owner, status=status)

    async def get(self, id: str) -> Job:
        """The status, times and message of a job."""
        return await self._get(_path(id), Job)

    def history(self, id: str, *, page_size: int = PAGE_SIZE) -> AsyncPages[HistoryItem]:
        """The events of a job, newest first."""
        return self._list(f"{_path(id)}/history", HistoryItem, page_size)

    async def status(
        self, id: str, *, wait: float | None = None, until: str | None = None, after: str | None = None
    ) -> JobStatus:
        """A job's status; with `wait` as soon as `until` holds, or after so many seconds (60 at most).

        `until` is `terminal`, `change` (an event newer than `after`), or event names with commas.
        """
        query = {"wait": wait, "until": until, "after": after}
        asked = request("GET", f"{_path(id)}/status", query=query, extra=wait or 0.0)
        return await self._client.send(asked, JobStatus)

    async def wait(
        self, id: str, *, until: str = "terminal", after: str | None = None, timeout: float | None = None
    ) -> JobStatus:
        """Return when `until` holds, over as many requests as that takes. The job need not be known yet.

        Raises WaitTimeout after `timeout` seconds.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            began = time.monotonic()
            left = WAIT_SECONDS if ends is None else max(0.0, min(WAIT_SECONDS, ends - began))
            status = await self.status(id, wait=round(left, 3), until=until, after=after)
            if status.reached:
                return status
            if time.monotonic() - began < left / 2:  # the server stops
                await sleep(min(STOPPING_DELAY, left / 2))
            if ends is not None and time.monotonic() >= ends:
                raise WaitTimeout(f"job {id} did not reach {until} in {timeout:g} s: it is {status.status}")


def _path(id: str) -> str:
    return f"{PATH}/{segment(id)}"
