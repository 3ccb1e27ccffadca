"""A relay that wants fewer sessions gets fewer."""

from __future__ import annotations

import asyncio

from dispatcher.delivery.engine import Engine, Limits
from dispatcher.domain.events import utc_now
from dispatcher.matching.matcher import Matcher
from dispatcher.store.contract import Store
from dispatcher.targets.email import EmailKind
from tests.factories import make_event
from tests.mail.desks import email_subscription
from tests.mail.relay import Relay


async def test_a_relay_that_says_too_many_halves_the_attempts_at_once(
    store: Store, server: Relay, kind: EmailKind
) -> None:
    server.at_mail = lambda _: "452 4.3.2 too many sessions"
    event = make_event(accepted_at=utc_now())
    subscription = email_subscription("ann@example.org")
    await store.add_subscription(subscription)
    engine = Engine(store, {"email": kind}, Limits(concurrency=8))
    await engine.begin()
    async with asyncio.TaskGroup() as group:
        engine.launch(group)
        deliveries = engine.reserve(await Matcher(store).match([event]))
        await store.accept(engine.process, [event], deliveries)
        engine.start(deliveries)
        lane = engine.lane(subscription.destination)
        assert lane is not None
        before = lane.limit
        await server.reached_mail.wait()
        await engine.stop()
    assert lane.limit == before / 2
