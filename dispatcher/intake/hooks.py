"""Event hooks: what stored events do beside being delivered, done before their publisher gets the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.intake.committer import Result, SourceName, SubmissionSink
from dispatcher.telemetry.background import InternalErrors

log = structlog.get_logger("dispatcher.intake")

RETRY_SECONDS = 1.0
"""Seconds between two tries when the store cannot be reached."""


class EventHook(Protocol):
    """Acts on some events. Those are found without it, so that all others cost next to nothing.

    `dots` is how many there are in the type of such an event; one of `marks` is in the bytes of its document.
    """

    dots: int
    marks: Sequence[bytes]

    async def run(self, event: Event) -> None:
        """Do it. It may be called again for the same event, and raises StoreUnavailable to be."""
        ...


class IngestPort(SubmissionSink, Protocol):
    """Takes events in; see `dispatcher.intake.batcher.IngestQueue`."""

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]: ...


_Call = tuple[EventHook, Event]


class HookedIntake:
    """An intake before which this stands: a message is done when the hooks of its events have run.

    A crash in between brings an AMQP message once more, and then they run.
    """

    def __init__(self, intake: IngestPort, hooks: Sequence[EventHook]) -> None:
        self._intake = intake
        self._hooks = hooks
        self._errors = InternalErrors("event hook")
        self._tasks: set[asyncio.Task[None]] = set()

    def submit_nowait(
        self, events: Sequence[Event], source: SourceName, on_stored: Callable[[Result], None]
    ) -> None:
        """Take events from the broker; `on_stored` is called when they are stored and their hooks have run."""
        calls = self._calls(events)

        def stored(result: Result) -> None:
            if isinstance(result, InvalidInput):
                on_stored(result)
                return
            task = asyncio.get_running_loop().create_task(self._run_all(calls, result, on_stored))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._intake.submit_nowait(events, source, stored if calls else on_stored)

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]:
        """Store events that came over HTTP, and run their hooks. Raises what the intake and the hooks do."""
        result = await self._intake.submit(events)
        for hook, event in self._calls(events):
            await hook.run(event)
        return result

    def _calls(self, events: Sequence[Event]) -> list[_Call]:
        return [
            (hook, event)
            for hook in self._hooks
            for event in events
            if event.type.count(".") == hook.dots and any(mark in event.document for mark in hook.marks)
        ]

    async def _run_all(
        self, calls: Sequence[_Call], result: Result, on_stored: Callable[[Result], None]
    ) -> None:
        for hook, event in calls:
            while not await self._has_run(hook, event):  # noqa: ASYNC110 - nothing says when the store is back
                await asyncio.sleep(RETRY_SECONDS)
        on_stored(result)

    async def _has_run(self, hook: EventHook, event: Event) -> bool:
        try:
            await hook.run(event)
        except StoreUnavailable as error:
            log.warning("cannot run the hook of an event, retrying", event_id=event.key, error=str(error))
            return False
        except Exception as error:  # noqa: BLE001 - the event is stored, and its publisher is to know
            self._errors.report(error, event_id=event.key)
        return True
