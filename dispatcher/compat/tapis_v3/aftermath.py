"""What events of Tapis v3 do beside being delivered: one may end its series, and the subscriptions to its subject."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.tapis_v3 import TapisEvent, tapis_event
from dispatcher.intake.commit import Result, Source
from dispatcher.store.tapis_v3 import TapisStore
from dispatcher.telemetry.background import InternalErrors

log = structlog.get_logger("dispatcher.compat")

PAUSE = 1.0
"""Seconds between two tries when the store cannot be reached."""

# How an event that ends something is written, always by us.
_MARKS = (b'"deleteSubscriptionsMatchingSubject":true', b'"endSeries":true')


_Ending = tuple[TapisEvent, str | None]
"""An event that ends something, and the owner for whom alone its publisher may speak, whose things alone it ends."""


class Intake(Protocol):
    """Takes events in; see `dispatcher.intake.batcher.Intake`."""

    def offer(self, events: Sequence[Event], source: Source, done: Callable[[Result], None]) -> None: ...

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]: ...


class Aftermath:
    """An intake before which this stands: events that end something are done when it has ended.

    A crash in between brings an AMQP message once more, and then what it ends is ended.
    """

    def __init__(self, intake: Intake, store: TapisStore) -> None:
        self._intake = intake
        self._store = store
        self._errors = InternalErrors("aftermath")
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, events: Sequence[Event], source: Source, done: Callable[[Result], None]) -> None:
        """Take events from the broker; `done` is called when they are stored and what they end has ended."""
        ending = _ending(events)

        def stored(result: Result) -> None:
            if isinstance(result, InvalidInput):
                done(result)
                return
            task = asyncio.get_running_loop().create_task(self._end_all(ending, result, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._intake.offer(events, source, stored if ending else done)

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]:
        """Store events that came over HTTP, and end what they end. Raises what the intake does."""
        result = await self._intake.submit(events)
        for event in _ending(events):
            await self._end(event)
        return result

    async def _end_all(
        self, ending: Sequence[_Ending], result: Result, done: Callable[[Result], None]
    ) -> None:
        for event in ending:
            while not await self._ended(event):  # noqa: ASYNC110 - nobody tells when the store is back
                await asyncio.sleep(PAUSE)
        done(result)

    async def _ended(self, ending: _Ending) -> bool:
        try:
            await self._end(ending)
        except StoreUnavailable as error:
            log.warning("cannot apply what an event ends, retrying", error=str(error))
            return False
        except Exception as error:  # noqa: BLE001 - the event is stored, and its publisher is to know
            self._errors.report(error, subject=ending[0].subject)
        return True

    async def _end(self, ending: _Ending) -> None:
        event, publisher = ending
        tenant, subject = event.tenant or "", event.subject or ""
        if event.series_id:
            await self._store.end_series(tenant, event.source, subject, event.series_id, publisher)
        if event.delete_subscriptions_matching_subject is True and subject:
            await self._store.end_subject(tenant, subject, publisher)


def _ending(events: Sequence[Event]) -> list[_Ending]:
    # Most events are of another form, which their type tells for next to nothing.
    found = [
        (tapis_event(event), event.published_by)
        for event in events
        if event.type.count(".") == 2 and _is_marked(event)
    ]
    return [(event, publisher) for event, publisher in found if event is not None]


def _is_marked(event: Event) -> bool:
    return any(mark in event.document for mark in _MARKS)
