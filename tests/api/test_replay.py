"""A replay over the real engine: it really arrives, once, and signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from standardwebhooks.webhooks import Webhook

from dispatcher.delivery.engine import Engine
from dispatcher.delivery.limits import Limits
from dispatcher.intake.batcher import Batcher
from dispatcher.intake.committer import Committer
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.intake.matcher import Matcher
from dispatcher.store.store import Store
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources, load_kinds
from dispatcher.targets.ssrf_guard import Guard
from tests.api.conftest import LOOPBACK, Api, serving
from tests.receiver import Receiver


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Api]:
    """The API over the real engine."""
    kinds = load_kinds(Resources(Egress(Guard([LOOPBACK]))))
    engine = Engine(store, kinds, Limits(grace=5))
    await engine.begin()
    intake = IngestQueue()
    batcher = Batcher(intake, Committer(Matcher(store), engine.reservations, store.events))
    async with asyncio.TaskGroup() as group:
        engine.launch(group)
        group.create_task(batcher.run())
        async with serving(store, engine=engine, intake=intake) as running:
            yield running
        await batcher.stop(5)
        await engine.stop()
    for kind in kinds.values():
        await kind.close()


async def test_a_replayed_event_arrives_again_under_a_new_id(api: Api) -> None:
    async with Receiver() as receiver:
        made = await api.admin.subscribe(target={"kind": "webhook", "url": f"{receiver.url}/hook"})
        event_id = await api.admin.publish(id="the-event")
        await receiver.count(1)
        [replayed] = (await api.admin.post(f"/v1/events/{event_id}/replay", status=202))["deliveries"]
        first, second = await receiver.count(2)
    assert first.id != second.id == replayed
    assert first.body == second.body
    assert Webhook(made["secret"]).verify(second.body, second.headers)
