"""Batching: events from AMQP and HTTP are gathered and committed together, one batch after the other."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.intake.commit import Committer, Deliverer, EventStore, Matcher, Offer, Result, Source
from dispatcher.telemetry.background import InternalErrors
from dispatcher.telemetry.metrics import EVENTS, EVENTS_UNMATCHED

log = structlog.get_logger("dispatcher.intake")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between two tries to store a batch, doubled from one to the next."""

SLOW_BATCH = 8.0
"""Seconds that the database may take for a batch before this counts as a problem."""

_Failed = list[tuple[Offer, Exception]]


class Busy(StoreUnavailable):
    """More events wait to be stored than the intake takes, or it is stopping. Nothing was changed."""


class Intake:
    """Takes events in and stores them in the order in which they were offered.

    While one batch is being committed the next one gathers: a batch grows with the load, and never waits for
    company. While the store cannot be reached a batch is kept and tried again. When it is refused for another
    reason it is halved until the message is found that cannot be stored; the others are not held up by it.
    """

    def __init__(
        self,
        matcher: Matcher,
        deliverer: Deliverer,
        store: EventStore,
        *,
        max_events: int = 500,
        max_bytes: int = 32 << 20,
        max_waiting: int = 10_000,
        max_waiting_bytes: int = 128 << 20,
        patience: float = 10.0,
    ) -> None:
        self._committer = Committer(matcher, deliverer, store)
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._patience = patience
        self._queue: deque[Offer] = deque()
        self._arrived = asyncio.Event()
        self._stopping = False
        self._errors = InternalErrors("intake")
        self._failing = False
        self._failure = ""
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0
        """Events that were offered and are not stored yet."""
        self.waiting_bytes = 0
        """What these take in memory."""

    def offer(self, events: Sequence[Event], source: Source, done: Callable[[Result], None]) -> None:
        """Take events of which the broker sends only so many ahead; `done` is called when they are committed.

        It gets an InvalidInput when they never can be; then none of them is stored.
        """
        self._enqueue(_offer(events, source, done))

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]:
        """Store events that came over HTTP: all of them, or none and an error.

        Returns when they are committed, with the keys of the duplicates and of what was there before. Raises
        InvalidInput when they can never be stored, Busy when too many wait, and StoreUnavailable when they
        are not stored within `patience` seconds. In the last case they may be stored still: publishing them
        again is safe when they have ids of their own.
        """
        if self._stopping or self._too_many(events):
            raise Busy("too many events wait to be stored; publish these again later")
        stored: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def done(result: Result) -> None:
            if not stored.done():
                stored.set_result(result)

        offer = _offer(events, "http", done)
        self._enqueue(offer)
        try:
            async with asyncio.timeout(self._patience):
                result = await stored
        except TimeoutError:
            raise StoreUnavailable(f"the events could not be stored within {self._patience:g} s") from None
        finally:
            offer.withdrawn = stored.cancelled()
        if isinstance(result, InvalidInput):
            raise result
        return result

    @property
    def problem(self) -> str | None:
        """Why no events are stored, None when they are or when there are none."""
        if self._failing and self.waiting:
            return f"{self.waiting} events wait: {self._failure}"
        seconds = self._committer.seconds_in_store
        if seconds > SLOW_BATCH:
            return f"a batch of events has been in the database for {seconds:.0f} s"
        return None

    async def run(self) -> None:
        """Store what is offered until `stop`. An error that nobody can handle rises from here."""
        self._task = asyncio.current_task()
        while offers := await self._next():
            await self._settle(offers)

    async def stop(self, grace: float) -> None:
        """Take no more requests, and store what was offered; after `grace` seconds leave the rest."""
        self._stopping = True
        self._arrived.set()
        if self._task is None:
            return
        done, _ = await asyncio.wait({self._task}, timeout=grace)
        if not done:
            log.warning(
                "stopped before all events were stored: their publishers keep them", events=self.waiting
            )
            self._task.cancel()
            await asyncio.wait({self._task})

    # The queue

    def _too_many(self, events: Sequence[Event]) -> bool:
        """Whether these are too many beside those that wait; alone they never are."""
        if not self.waiting:
            return False
        size = sum(event.size for event in events)
        return (
            self.waiting + len(events) > self._max_waiting
            or self.waiting_bytes + size > self._max_waiting_bytes
        )

    def _enqueue(self, offer: Offer) -> None:
        self.waiting += len(offer.events)
        self.waiting_bytes += offer.size
        self._queue.append(offer)
        self._arrived.set()

    async def _next(self) -> list[Offer]:
        """The offers that wait, as many as fit into a batch; none when there will be no more."""
        while not (offers := self._take(self._room())):
            if self._stopping:
                return []
            self._arrived.clear()
            await self._arrived.wait()
        return offers

    def _room(self) -> int:
        """How many events fit into a batch whose deliveries are not too many either."""
        return max(1, int(self._max_events / self._committer.fan_out))

    def _take(self, room: int) -> list[Offer]:
        """Offers with `room` events together, or with so many bytes as a batch may have: one offer at least."""
        offers: list[Offer] = []
        space = self._max_bytes
        while self._queue and room > 0 and space > 0:
            offer = self._queue.popleft()
            if offer.withdrawn:
                self._leave(offer)
            else:
                offers.append(offer)
                room -= len(offer.events)
                space -= offer.size
        return offers

    def _leave(self, offer: Offer) -> None:
        self.waiting -= len(offer.events)
        self.waiting_bytes -= offer.size

    def _conclude(self, offer: Offer, result: Result) -> None:
        self._leave(offer)
        try:
            offer.done(result)
        except Exception as error:  # noqa: BLE001 - it is about one message; the others are to be told too
            self._errors.report(error, events=[event.id for event in offer.events][:10])

    # From a batch to the store

    async def _settle(self, offers: list[Offer]) -> None:
        """Go on until each of the offers is stored or refused; whoever comes meanwhile joins them."""
        pause = FIRST_PAUSE
        while offers:
            failed = await self._try(offers)
            progress = len(failed) < len(offers)
            self._tell(failed, progress)
            offers = [offer for offer, error in failed if not self._refused(offer, error, progress)]
            if offers and not progress:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                # One at least: who gets through shows that it is not the store that fails.
                offers += self._take(max(1, self._max_events - sum(len(offer.events) for offer in offers)))

    async def _try(self, offers: Sequence[Offer]) -> _Failed:
        """Store the offers. Returns those that failed, each with the error that it failed with alone."""
        try:
            duplicates = await self._committer.commit(offers)
        except StoreUnavailable as error:
            return [(offer, error) for offer in offers]
        except Exception as error:  # noqa: BLE001 - it is judged when the others have been tried
            if len(offers) == 1:
                return [(offers[0], error)]
        else:
            self._confirm(offers, duplicates)
            return []
        half = len(offers) // 2
        failed = await self._try(offers[:half])
        if failed and isinstance(failed[-1][1], StoreUnavailable):
            # What comes later must not be stored before them.
            return failed + [(offer, failed[-1][1]) for offer in offers[half:]]
        return failed + await self._try(offers[half:])

    def _refused(self, offer: Offer, error: Exception, progress: bool) -> bool:
        """Refuse what fails because of what it is. Nothing is, as long as the fault may be the store's."""
        if isinstance(error, StoreUnavailable):
            return False
        if not isinstance(error, InvalidInput):
            if not offer.suspect:
                offer.suspect = progress
                return False
            log.error(
                "refused events that cannot be stored", events=[e.id for e in offer.events], exc_info=error
            )
            error = InvalidInput("", f"the event cannot be stored: {str(error).partition(chr(10))[0]:.300}")
        self._committer.release([offer])
        EVENTS.labels(offer.source, "refused").inc(len(offer.events))
        self._conclude(offer, error)
        return True

    def _confirm(self, offers: Sequence[Offer], existing: Mapping[str, str]) -> None:
        wanted = {delivery.event.key for offer in offers for delivery in offer.deliveries or ()}
        counts: Counter[tuple[Source, str]] = Counter()
        for offer in offers:
            duplicates = (
                {e.key: existing[e.key] for e in offer.events if e.key in existing} if existing else {}
            )
            counts[offer.source, "accepted"] += len(offer.events) - len(duplicates)
            counts[offer.source, "duplicate"] += len(duplicates)
            counts[offer.source, "unmatched"] += sum(
                event.key not in wanted and event.key not in duplicates for event in offer.events
            )
            self._conclude(offer, duplicates)
        for (source, result), count in counts.items():
            if result == "unmatched":
                EVENTS_UNMATCHED.labels(source).inc(count)
            else:
                EVENTS.labels(source, result).inc(count)

    def _tell(self, failed: _Failed, progress: bool) -> None:
        """Log when storing begins to fail, and when it works again."""
        if failed and not progress and not self._failing:
            error = failed[0][1]
            if isinstance(error, StoreUnavailable):
                log.warning(
                    "events wait: the database cannot be reached", error=str(error), events=self.waiting
                )
            else:
                log.error("events wait: the store refuses all of them", events=self.waiting, exc_info=error)
            # What was not expected may quote an event, and this is shown to everybody.
            known = isinstance(error, StoreUnavailable)
            self._failure = str(error) if known else "the database refuses all of them"
        elif self._failing and (progress or not failed):
            log.info("events are stored again", events=self.waiting)
        self._failing = bool(failed) and not progress


def _offer(events: Sequence[Event], source: Source, done: Callable[[Result], None]) -> Offer:
    return Offer(events, source, done, sum([event.size for event in events]))
