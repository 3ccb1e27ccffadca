"""Plays the story to a running service: subscribes, publishes, watches what becomes of it, and sums up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import cast

from rich.console import Console
from rich.table import Table

from dispatcher.client import AsyncClient
from dispatcher.client.fields import NewSubscription
from dispatcher.demo.check import problems, wrongly_seen
from dispatcher.demo.mailbox import Mailbox
from dispatcher.demo.picture import Picture, look
from dispatcher.demo.plans import OWNER
from dispatcher.demo.receivers import Inbox
from dispatcher.demo.story import PlannedEvent, planned_events
from dispatcher.demo.summary import isolation, read_counts, summary
from dispatcher.demo.view import (
    Show,
    deliveries_table,
    live_view,
    mail_lines,
    news_line,
    note_line,
    plain_view,
    received_lines,
)

LOOK = 0.25
"""Seconds between two looks at the service."""

PATIENCE = 45.0
"""Seconds after which what has not arrived is called missing."""

TWICE = "FINISHED"
"""The first event of this name is published twice."""


class Play:
    """One run of the story at the service of `url`. `client` has the admin key."""

    def __init__(self, console: Console, client: AsyncClient, url: str) -> None:
        self._console = console
        self._client = client
        self._url = url
        self._story = planned_events()
        self._published: dict[str, PlannedEvent] = {}
        self._receivers: dict[str, Inbox] = {}
        self._picture = Picture()
        self._start = datetime.now(UTC)

    async def run(self, receivers: Sequence[Inbox], live: bool) -> list[str]:
        """Play to these receivers, `live` on a terminal, and print the summary. What is missing, in words.

        Raises ClientError when the service refuses something that the story needs.
        """
        key = await self._client.keys.create(name="the demo", owner=OWNER, scopes=["subscribe"])
        async with AsyncClient(self._url, key.key) as owner:
            for receiver in receivers:
                await self._subscribe(receiver, owner if receiver.plan.by_owner else self._client)
            with live_view(self._console, self._table) if live else plain_view(self._console) as show:
                await self._perform(show)
            return await self._sum_up(owner)

    async def _subscribe(self, receiver: Inbox, client: AsyncClient) -> None:
        fields = cast(NewSubscription, receiver.plan.request(receiver.url))
        made = await client.subscriptions.create(**fields)
        receiver.secret = made.secret
        self._receivers[made.id] = receiver

    async def _perform(self, show: Show) -> None:
        self._start = datetime.now(UTC)
        publishing = asyncio.create_task(self._publish_all(show))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._watch(publishing, show)
        finally:
            publishing.cancel()

    async def _publish_all(self, show: Show) -> None:
        """Publish every event and open every late receiver at its time."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for at, happen in sorted(self._happenings(), key=lambda happening: happening[0]):
            await asyncio.sleep(start + at - loop.time())
            if note := await happen():
                show([note_line(note, datetime.now(UTC), self._start)])

    def _happenings(self) -> list[tuple[float, Callable[[], Awaitable[str]]]]:
        """Times in seconds from the start, and what happens then, which may say something about it."""
        publications = [(event.at, partial(self._publish, event)) for event in self._story]
        twice = next(event for event in self._story if event.event == TWICE)
        closed = [receiver for receiver in self._receivers.values() if receiver.plan.opens_after]
        late = [(receiver.plan.opens_after, partial(self._open, receiver)) for receiver in closed]
        return [*publications, (twice.at, partial(self._publish, twice)), *late]

    async def _publish(self, event: PlannedEvent) -> str:
        answer = await self._client.publish(event.document)
        self._published[answer.ids[0]] = event
        return f"{event.event} {event.job_id} was published again: a duplicate" if answer.duplicates else ""

    async def _open(self, receiver: Inbox) -> str:
        await receiver.open()
        return f"{receiver.plan.name}: somebody listens on its port now"

    async def _watch(self, publishing: asyncio.Task[None], show: Show) -> None:
        """Look until everything was published and everything that it caused has come to an end."""
        names = {subscription_id: receiver.plan.name for subscription_id, receiver in self._receivers.items()}
        published = False
        while not (published and self._picture.settled):
            await asyncio.sleep(LOOK)
            # Before the look, so that the last look comes after the last event.
            if published := publishing.done():
                await publishing
            show([news_line(news, names, self._start) for news in await look(self._client, self._picture)])

    def _table(self) -> Table:
        return deliveries_table(self._picture, self._receivers)

    async def _sum_up(self, owner: AsyncClient) -> list[str]:
        counts = read_counts(await self._client.service.metrics())
        jobs, shown = [await client.jobs.list().collect() for client in (self._client, owner)]
        plans = {subscription_id: receiver.plan for subscription_id, receiver in self._receivers.items()}
        lines = [*received_lines(self._receivers.values()), *summary(self._picture, counts, plans)]
        mails = [one.newest for one in self._receivers.values() if isinstance(one, Mailbox)]
        self._console.print("", self._table(), "", sep="\n")
        for line in (*lines, isolation(jobs, shown), *chain.from_iterable(map(mail_lines, mails))):
            self._console.print(line, soft_wrap=True)
        found = [
            *problems(self._published, self._picture, counts, self._receivers),
            *wrongly_seen(shown, self._story),
        ]
        if len(self._published) < len(self._story):
            found.append(f"only {len(self._published)} of {len(self._story)} events could be published")
        return found
