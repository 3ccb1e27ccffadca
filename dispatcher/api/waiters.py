"""Requests that wait for a job: they are answered as soon as one of its events is stored, by this process or another.

What this process stores wakes them at once. For what others store, the store is asked once a second which of all jobs
that are waited for have changed. Only a job that has changed is looked at, once for all who may see the same of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import structlog
from msgspec.structs import replace

from dispatcher.api.job_snapshots import EventSummary, JobSnapshot, Until, WaitResult, read_snapshot
from dispatcher.api.problems import Fault, unauthorized, unavailable
from dispatcher.domain.errors import NotFound, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.ids import is_id
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.quotas import exceeded
from dispatcher.store.job_changes import JobKey
from dispatcher.store.store import Store
from dispatcher.store.waits import Version
from dispatcher.telemetry.background import InternalErrors
from dispatcher.telemetry.metrics import WAITERS

log = structlog.get_logger("dispatcher.api")

POLL_SECONDS = 1.0
"""How often the store is asked which jobs have changed."""

KEY_SECONDS = 3.0
"""How often it is asked whether the keys of those who wait are still there."""

REST_SECONDS = 0.1
"""How long a job rests after it was looked at: its events may come by the hundred."""

AT_ONCE = 2
"""How many jobs are looked at side by side: the store's connections are for others too."""

MANY = 500
"""How many of its events are read when more have come at once than a snapshot has."""

RETRY_SECONDS = 5.0
"""After which time an owner with too many waiters should ask again."""


class Waiter:
    """A request that waits. `result` ends with its answer, or None when it has to look at the job by itself."""

    def __init__(self, caller: ApiKey, job: JobKey, until: Until, snapshot: JobSnapshot | None) -> None:
        self.caller = caller
        self.viewer = None if caller.admin else caller.owner
        self.job = job
        self.result: asyncio.Future[WaitResult | None] = asyncio.get_running_loop().create_future()
        self._until = until
        self._last = WaitResult(False, *_kept(snapshot))

    def update(self, snapshot: JobSnapshot | None) -> None:
        """Take how the job looks now; None when it may not be seen (any more)."""
        if snapshot is None:
            if self._last.snapshot is not None:
                self.fail(NotFound(f"there is no job {self.job[1][:255]!r} that had an event"))
            return
        result = self._until.evaluate(snapshot)
        if result.reached:
            self._end(result)
        elif self.misses(snapshot):
            self._end(None)
        else:
            self._last = WaitResult(False, *_kept(snapshot))

    def misses(self, snapshot: JobSnapshot) -> bool:
        """Whether there may be events that it waits for and that neither this snapshot shows nor the last one."""
        return self._until.may_be_older(snapshot) and not snapshot.follows(self._last.snapshot)

    def time_out(self) -> None:
        """End without having reached anything."""
        self._end(self._last)

    def fail(self, error: Exception) -> None:
        """End with an error."""
        if not self.result.done():
            self.result.set_exception(error)

    def _end(self, result: WaitResult | None) -> None:
        if not self.result.done():
            self.result.set_result(result)


def _kept(snapshot: JobSnapshot | None) -> tuple[JobSnapshot | None, EventSummary | None]:
    """What is kept of a snapshot while somebody waits, as there may be thousands; and its latest event."""
    if snapshot is None:
        return None, None
    return replace(snapshot, latest=snapshot.latest[:1]), snapshot.newest


def _parts(jobs: Sequence[JobKey]) -> Iterator[Sequence[JobKey]]:
    return (jobs[start : start + AT_ONCE] for start in range(0, len(jobs), AT_ONCE))


class _Watched:
    """A job that somebody waits for."""

    __slots__ = ("refreshed_at", "version", "waiters")

    def __init__(self, version: Version) -> None:
        self.version = version
        self.refreshed_at = 0.0
        self.waiters: dict[str | None, set[Waiter]] = {}


class Waiters:
    """All who wait in this process, `most` at once."""

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._watched: dict[JobKey, _Watched] = {}
        self._changed: set[JobKey] = set()
        self._of_owner: Counter[tuple[str, str]] = Counter()
        self._waiting: set[Waiter] = set()
        self._somebody = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = False
        self._errors = InternalErrors("wait")
        WAITERS.set_function(lambda: len(self._waiting))

    def stored(self, events: Sequence[Event]) -> None:
        """Wake those who wait for the jobs of these events, which this process has stored."""
        if self._watched:
            self._note({(event.tenant, event.job_id) for event in events} & self._watched.keys())

    async def wait(self, waiter: Waiter, version: Version, seconds: float, quota: int) -> WaitResult | None:
        """Wait for so many seconds at most; None when the job has to be looked at again.

        `version` is that of the job when it was looked at. `quota` is how many waiters the owner may have in this
        process (0: any number). Raises Refusal (503 when there is no place, 401 when the key is deleted meanwhile),
        QuotaExceeded, and NotFound when the job may not be seen any more.
        """
        self._check(waiter.caller, quota)
        with self._placed(waiter, version):
            timer = asyncio.get_running_loop().call_later(seconds, waiter.time_out)
            try:
                return await waiter.result
            finally:
                timer.cancel()

    def stop(self) -> None:
        """Answer all who wait, and refuse further ones."""
        self._stopping = True
        for waiter in self._waiting:
            waiter.time_out()

    async def run(self) -> None:
        """Answer those who wait, until cancelled. While there are none, the store is not asked."""
        poll_at, keys_at = 0.0, time.monotonic() + KEY_SECONDS
        while True:
            await self._somebody.wait()
            self._wake.clear()
            try:
                if time.monotonic() >= poll_at:
                    poll_at = time.monotonic() + POLL_SECONDS
                    await self._poll()
                await self._refresh_changed()
                if time.monotonic() >= keys_at:
                    keys_at = time.monotonic() + KEY_SECONDS
                    await self._check_keys()
            except StoreUnavailable as error:
                log.debug("cannot look at the jobs that are waited for, retrying", error=str(error))
                await asyncio.sleep(POLL_SECONDS)
            await self._rest(poll_at)

    def _check(self, caller: ApiKey, quota: int) -> None:
        if self._stopping:
            raise unavailable("the service is stopping; ask again")
        if len(self._waiting) >= self._most:
            problem = f"the limit http.max_waiters is {self._most}: as many wait already; ask again"
            raise unavailable(problem, [Fault("http.max_waiters", problem)])
        if not caller.admin and quota and self._of_owner[caller.tenant, caller.owner] >= quota:
            over = exceeded(
                "waiters", quota, caller.owner, "as many wait already; ask again when one has ended"
            )
            over.retry_after = RETRY_SECONDS
            raise over

    @contextmanager
    def _placed(self, waiter: Waiter, version: Version) -> Iterator[None]:
        owner = (waiter.caller.tenant, waiter.caller.owner)
        watched = self._watched.setdefault(waiter.job, _Watched(version))
        if watched.version != version:
            self._note([waiter.job])
        watched.waiters.setdefault(waiter.viewer, set()).add(waiter)
        self._waiting.add(waiter)
        self._of_owner[owner] += 1
        self._somebody.set()
        try:
            yield
        finally:
            self._waiting.discard(waiter)
            self._of_owner[owner] -= 1
            if not self._of_owner[owner]:
                del self._of_owner[owner]
            watched.waiters[waiter.viewer].discard(waiter)
            if not watched.waiters[waiter.viewer]:
                del watched.waiters[waiter.viewer]
            if not watched.waiters:
                del self._watched[waiter.job]
                self._changed.discard(waiter.job)
            if not self._waiting:
                self._somebody.clear()

    def _note(self, jobs: Collection[JobKey]) -> None:
        if jobs:
            self._changed.update(jobs)
            self._wake.set()

    async def _poll(self) -> None:
        versions = await self._store.waits.versions(list(self._watched))
        for job, version in versions.items():
            watched = self._watched.get(job)
            if watched is not None and watched.version != version:
                self._changed.add(job)

    async def _refresh_changed(self) -> None:
        rested = time.monotonic() - REST_SECONDS
        ready = [job for job in self._changed if self._watched[job].refreshed_at <= rested]
        for some in _parts(ready):
            await asyncio.gather(*(self._refresh(job) for job in some))

    async def _refresh(self, job: JobKey) -> None:
        watched = self._watched.get(job)
        if watched is None:
            return
        self._changed.discard(job)
        watched.refreshed_at = time.monotonic()
        try:
            await self._notify(job, watched)
        except StoreUnavailable:
            self._changed.update({job} & self._watched.keys())
        except Exception as error:  # noqa: BLE001 - reported; those who wait for other jobs are answered
            self._errors.report(error, job_id=job[1])

    async def _notify(self, job: JobKey, watched: _Watched) -> None:
        versions: list[Version] = []
        for viewer in list(watched.waiters):
            version, snapshot = await read_snapshot(self._store, job, viewer)
            if snapshot is not None and any(one.misses(snapshot) for one in watched.waiters.get(viewer, ())):
                version, snapshot = await read_snapshot(self._store, job, viewer, MANY)
            versions.append(version)
            for waiter in list(watched.waiters.get(viewer, ())):
                waiter.update(snapshot)
        if versions:  # that of the first one: what came in between is looked at once more
            watched.version = versions[0]

    async def _check_keys(self) -> None:
        # The key of the settings is no stored one.
        ids = {waiter.caller.id for waiter in self._waiting if is_id("key", waiter.caller.id)}
        gone = ids - await self._store.waits.known_keys(ids) if ids else set()
        for waiter in [one for one in self._waiting if one.caller.id in gone]:
            waiter.fail(unauthorized("this key is not known any more: it was removed"))

    async def _rest(self, poll_at: float) -> None:
        """Until the store is to be asked, a job changes, or one that has changed has rested."""
        rested = (self._watched[job].refreshed_at + REST_SECONDS for job in self._changed)
        until = min(rested, default=poll_at)
        try:
            async with asyncio.timeout(max(0.0, min(until, poll_at) - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return
