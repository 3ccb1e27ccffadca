"""`dispatcher wait`: returns when a job has ended, with an exit code that scripts can use."""

from __future__ import annotations

import asyncio
import sys
import time
from http import HTTPStatus
from typing import Annotated

import typer

from dispatcher.cli.connection import Access, access, explained
from dispatcher.cli.options import AsJson, Key, Server, Tenant
from dispatcher.cli.output import plain, print_json, say
from dispatcher.cli.times import duration
from dispatcher.client import NO_RETRIES, ApiError, AsyncClient, ClientError, TransportError
from dispatcher.client.models import JobStatus

FAILED, USAGE, TIMED_OUT = 1, 2, 3
"""Exit codes; 0 is a job that has finished well, or an event that came."""

ANSWER_SECONDS = 2.0
"""For how long an answer is waited for when the time is up."""

WAIT_SECONDS = 30.0
"""For how long one request waits. Proxies end longer ones."""

FIRST_DELAY, MAX_DELAY = 1.0, 15.0
"""Seconds after which a server that did not answer is asked again, doubled from one time to the next."""

FINISHED = "FINISHED"


def wait(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id. It need not be known yet.")],
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="WHAT",
            help="terminal; change: the next event; or event names with commas, such as RUNNING,ARCHIVING*.",
        ),
    ] = "terminal",
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", parser=duration, metavar="TIME", help="Give up after 90s, 30m or 2h. Default: never."
        ),
    ] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Wait until a job ends. While the server cannot be reached it is asked again.

    Exit codes: 0 the job finished well, or what was waited for came; 1 the job failed; 2 called in a wrong way, or
    refused; 3 timed out.

    \b
    Example:
      dispatcher wait 0001414144065563-5056a550b8-0001-007 --timeout 2h && ./next-step
    """
    try:
        answer = asyncio.run(_Waiting(access(server, key), job, until, timeout, tenant).run())
    except ClientError as error:  # 1 would say that the job has failed
        say(f"dispatcher: {explained(error)}")
        raise typer.Exit(USAGE) from None
    if answer is not None and as_json:
        print_json(answer)
    elif answer is not None and answer.status is not None:
        message = f": {answer.message}" if answer.message else ""
        sys.stdout.write(plain(f"{job} {answer.status}{message}") + "\n")
    if answer is None or not (answer.reached or has_failed(answer)):
        say(f"dispatcher: timed out: job {job} did not reach {until}")
        raise typer.Exit(TIMED_OUT)
    if has_failed(answer):
        raise typer.Exit(FAILED)


def has_failed(answer: JobStatus) -> bool:
    """Whether the job has ended, and not well."""
    return answer.terminal and answer.status != FINISHED


class _Waiting:
    """One wait, over as many requests as it takes."""

    def __init__(
        self, access: Access, job: str, until: str, timeout: float | None, tenant: str | None
    ) -> None:
        self._access = access
        self._job = job
        self._until = until
        self._tenant = tenant
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._delay = FIRST_DELAY
        self._status: str | None = None

    async def run(self) -> JobStatus | None:
        """The last answer; None when there was none in time.

        Raises ApiError when the server refuses for good, and InvalidResponse when it is no Dispatcher.
        """
        after, answer = None, None
        async with self._access.async_client(NO_RETRIES) as client:
            if self._until == "change":
                now = await self._ask(client, 0.0, "terminal")
                after = None if now is None else now.event_id
            while True:
                began, seconds = time.monotonic(), min(WAIT_SECONDS, self._left)
                answer = await self._ask(client, round(seconds, 3), self._until, after) or answer
                if answer is not None and (answer.reached or has_failed(answer)):
                    return answer
                if self._left <= 0:
                    return answer
                self._show(answer)
                if time.monotonic() - began < seconds / 2:  # the server stops, or did not answer
                    await asyncio.sleep(min(self._delay, self._left))

    @property
    def _left(self) -> float:
        return float("inf") if self._ends is None else max(0.0, self._ends - time.monotonic())

    async def _ask(
        self, client: AsyncClient, seconds: float, until: str, after: str | None = None
    ) -> JobStatus | None:
        """The answer; None when there is none now, which is said once."""
        try:
            async with asyncio.timeout(None if self._ends is None else self._left + ANSWER_SECONDS):
                answer = await client.jobs.status(
                    self._job, wait=seconds, until=until, after=after, tenant=self._tenant
                )
        except TimeoutError:
            return None
        except (TransportError, ApiError) as error:
            if isinstance(error, ApiError) and not _passes(error.status):
                raise
            if self._delay == FIRST_DELAY:
                say(f"{explained(error)}\nasking again")
            self._delay = min(2 * self._delay, MAX_DELAY)
            return None
        self._delay = FIRST_DELAY
        return answer

    def _show(self, answer: JobStatus | None) -> None:
        """On a terminal, what the job does meanwhile."""
        status = None if answer is None else answer.status
        if status != self._status and sys.stderr.isatty():
            say(f"{self._job} {status}")
        self._status = status


def _passes(status: int) -> bool:
    """Whether a refusal with this status is worth another try."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
