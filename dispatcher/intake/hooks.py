"""Event hooks: what stored events do beside being delivered, done before their publisher gets the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.intake.submission import Result
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


HookCall = tuple[EventHook, Event]


class HookRuns:
    """Runs hooks for events that came from a broker, which does not wait as a request does."""

    def __init__(self) -> None:
        self._errors = InternalErrors("event hook")
        self._tasks: set[asyncio.Task[None]] = set()

    def before(
        self, on_stored: Callable[[Result], None], calls: Sequence[HookCall]
    ) -> Callable[[Result], None]:
        """What to call when the events are stored: it runs their hooks, and then calls `on_stored`.

        A crash in between brings the message once more, and then they run.
        """

        def stored(result: Result) -> None:
            if isinstance(result, InvalidInput):
                on_stored(result)
                return
            task = asyncio.get_running_loop().create_task(self._run_all(calls, result, on_stored))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return stored

    async def _run_all(
        self, calls: Sequence[HookCall], result: Result, on_stored: Callable[[Result], None]
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
