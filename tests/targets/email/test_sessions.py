"""A relay that wants fewer sessions gets fewer."""

from __future__ import annotations

import asyncio

import pytest

from dispatcher.delivery.engine import Engine
from dispatcher.delivery.lane import Lane
from dispatcher.delivery.limits import Limits
from dispatcher.domain.events import utc_now
from dispatcher.intake.matcher import Matcher
from dispatcher.store.store import Store
from dispatcher.targets.email.kind import EmailKind
from tests.factories import make_event
from tests.targets.email.offices import email_subscription, make_consent_service
from tests.targets.email.relay import Relay


async def test_a_relay_that_says_too_many_halves_the_attempts_at_once(
    store: Store, server: Relay, kind: EmailKind
) -> None:
    server.at_mail = lambda _: "452 4.3.2 too many sessions"
    event = make_event(accepted_at=utc_now())
    subscription = email_subscription("ann@example.org")
    await store.subscriptions.add(subscription)
    engine = Engine(store, {"email": kind}, Limits(concurrency=8))
    await engine.begin()
    async with asyncio.TaskGroup() as group:
        engine.launch(group)
        deliveries = engine.reservations.reserve_slots(await Matcher(store).match([event]))
        await store.events.accept(engine.lease_id, [event], deliveries)
        engine.reservations.enqueue(deliveries)
        lane = engine.lane(subscription.destination)
        assert lane is not None
        before = lane.limit
        await server.reached_mail.wait()
        await engine.stop()
    assert lane.limit == before / 2


@pytest.mark.parametrize("asker", ["the first delivery", "the subscription"])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("reply", ["421 4.7.0 too many connections", "450 4.3.2 too many sessions"])
async def test_a_relay_that_says_too_many_to_a_request_to_confirm_halves_them_too(
    store: Store, server: Relay, stage: str, reply: str, asker: str
) -> None:
    consent = make_consent_service(store, f"smtp://{server.url}")
    kind = EmailKind(consent)
    engine = Engine(store, {"email": kind}, Limits(concurrency=8))
    consent.limits = engine.trials
    subscription = email_subscription("guest@elsewhere.org")
    await store.subscriptions.add(subscription)
    lanes: list[tuple[Lane | None, float]] = []

    def too_many(_: str) -> str:
        lane = engine.lane(subscription.destination)
        lanes.append((lane, 0.0 if lane is None else lane.limit))
        return reply

    setattr(server, f"at_{stage}", too_many)
    await engine.begin()
    async with asyncio.TaskGroup() as group:
        engine.launch(group)
        if asker == "the subscription":
            consent.invite(subscription)
            await asyncio.gather(*consent.invitations.running)
        else:
            event = make_event(accepted_at=utc_now())
            deliveries = engine.reservations.reserve_slots(await Matcher(store).match([event]))
            await store.events.accept(engine.lease_id, [event], deliveries)
            engine.reservations.enqueue(deliveries)
            await server.reached_mail.wait()
        await engine.stop()
    await kind.close()
    [(lane, before)] = lanes
    assert lane is not None
    assert lane.limit == before / 2


@pytest.mark.parametrize(
    "replies",
    [
        ["421 4.7.0 Error: too many connections from 192.0.2.7"],
        ["220 relay", "421 4.3.2 too many concurrent sessions"],
        ["220 relay", "250-relay\r\n250 AUTH PLAIN", "454 4.7.0 too many login attempts"],
        ["220 relay", "250-relay\r\n250 AUTH PLAIN", "421 4.7.28 slow down"],
    ],
)
async def test_a_relay_that_says_so_before_any_message_is_overloaded_and_not_unwell(
    store: Store, replies: list[str]
) -> None:
    async def answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            writer.write(f"{reply}\r\n".encode())
            await reader.readline()
        writer.close()

    async with await asyncio.start_server(answer_each, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        user = "user:password@" if len(replies) > 2 else ""
        kind = EmailKind(make_consent_service(store, f"smtp://{user}127.0.0.1:{port}"))
        answer = await kind.sender(email_subscription("ann@example.org")).send(make_event(), "dlv_1", 1, None)
        await kind.close()
    assert (answer.overloaded, answer.is_destination_failure, answer.permanent) == (True, False, False)
    assert answer.error == replies[-1]
