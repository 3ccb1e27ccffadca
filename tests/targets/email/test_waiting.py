"""A relay that takes its time, or says nothing after the whole message: how long is waited, how often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dispatcher.delivery.engine import Engine
from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import State
from dispatcher.domain.events import utc_now
from dispatcher.domain.targets import AttemptResult
from dispatcher.intake.matcher import Matcher
from dispatcher.store.filters import DeliveryFilter, Window
from dispatcher.store.store import Store
from dispatcher.targets.email.consent import MailPolicy
from dispatcher.targets.email.kind import EmailKind
from dispatcher.targets.email.smtp import Timeouts
from tests.factories import make_event
from tests.targets.email.offices import email_subscription, every, make_consent_service
from tests.targets.email.relay import Relay

DELIVERY = "dlv_0192f0c1a2b37c4d8e5f60718293a4b5"
ANN, BOB = "ann@example.org", "bob@example.org"
SHORT = Timeouts(connect=5, command=5, data=5, block=0.05, answer=0.05)


async def attempt(kind: EmailKind, *to: str, memo: str | None = None) -> AttemptResult:
    return await kind.sender(email_subscription(*to)).send(make_event(), DELIVERY, 1, memo)


@pytest.fixture
async def hasty(store: Store, server: Relay) -> AsyncIterator[EmailKind]:
    """Yield the kind that waits for a twentieth of a second after the final dot."""
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", timeout=SHORT))
    yield kind
    await kind.close()


def test_the_times_are_those_of_the_standard() -> None:
    times = Timeouts()
    assert (times.command, times.data, times.block, times.answer) == (300, 120, 180, 600)


async def test_a_relay_may_look_into_a_message_for_longer_than_connecting_may_take(
    store: Store, server: Relay
) -> None:
    times = Timeouts(connect=0.1, command=20, data=20, block=0.1, answer=20)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", timeout=times))
    server.wait_for = asyncio.Event()
    asyncio.get_running_loop().call_later(0.4, server.wait_for.set)
    assert (await attempt(kind, ANN)).error is None
    assert len(server.mails) == 1
    await kind.close()


async def test_what_the_relay_did_not_answer_is_sent_once_more_and_then_said_to_be_unsure(
    hasty: EmailKind, server: Relay
) -> None:
    server.wait_for = asyncio.Event()
    first = await attempt(hasty, ANN)
    assert not first.permanent
    assert first.is_destination_failure
    unconfirmed = (
        "has the message and did not answer within 0.1 s; it may have arrived, and is sent once more"
    )
    assert unconfirmed in (first.error or "")
    second = await attempt(hasty, ANN, memo=first.attempt_state)
    assert second.permanent
    assert f"no one gets it: {ANN}: sent twice, and may have arrived: smtp://" in (second.error or "")
    assert server.transactions == 2


async def test_a_relay_that_hangs_up_after_each_message_is_sent_it_twice_and_no_more(
    kind: EmailKind, server: Relay
) -> None:
    server.hang_up = lambda: True
    first = await attempt(kind, ANN)
    assert "has the message and broke off" in (first.error or "")
    assert (await attempt(kind, ANN, memo=first.attempt_state)).permanent
    assert server.transactions == 2


async def test_the_second_sending_can_arrive(kind: EmailKind, server: Relay) -> None:
    broken = iter([True, False])
    server.hang_up = lambda: next(broken)
    first = await attempt(kind, ANN)
    assert (await attempt(kind, ANN, memo=first.attempt_state)).error is None
    assert len(server.mails) == 1


async def test_one_recipient_who_is_unsure_keeps_the_others_from_nothing(
    hasty: EmailKind, server: Relay
) -> None:
    held = asyncio.Event()
    server.hold = lambda to: held if to == ANN else None
    first = await attempt(hasty, ANN, BOB)
    assert server.to(BOB) == []  # the relay is in trouble, so this attempt ends
    second = await attempt(hasty, ANN, BOB, memo=first.attempt_state)
    third = await attempt(hasty, ANN, BOB, memo=second.attempt_state)
    assert third.error is None
    assert f"{ANN}: sent twice, and may have arrived" in (third.body or "")
    assert len(server.to(BOB)) == 1
    assert server.transactions == 3


async def test_a_person_who_tries_again_begins_from_the_beginning(hasty: EmailKind, server: Relay) -> None:
    server.wait_for = asyncio.Event()
    first = await attempt(hasty, ANN)
    second = await attempt(hasty, ANN, memo=first.attempt_state)
    server.wait_for = None
    assert (await attempt(hasty, ANN, memo=second.attempt_state)).error is None


async def test_a_relay_that_stops_reading_within_a_message_has_not_got_it(store: Store) -> None:
    ready = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in (b"220 hello\r\n", b"250 OK\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go\r\n"):
            writer.write(line)
            if not line.startswith(b"354"):
                await reader.readline()
        await ready.wait()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kind = EmailKind(make_consent_service(store, url, timeout=SHORT))
    sender = kind.sender(email_subscription(ANN, subject="x", text="${data.big}"))
    answer = await sender.send(make_event(data={"big": "ü" * 1_000_000}), DELIVERY, 1)
    ready.set()
    await kind.close()
    server.close()
    assert "took only a part of the message" in (answer.error or "")
    assert "unsure" not in (answer.attempt_state or "") or '"unsure":[]' in (answer.attempt_state or "")


async def test_a_question_that_may_have_arrived_is_not_sent_again(store: Store, server: Relay) -> None:
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", MailPolicy(), timeout=SHORT))
    server.wait_for = asyncio.Event()
    subscription = email_subscription("guest@elsewhere.org")
    for _ in range(3):
        answer = await kind.sender(subscription).send(make_event(), DELIVERY, 1)
        assert answer.error == "waits for guest@elsewhere.org to confirm"
    assert server.transactions == 1
    await kind.close()


async def test_a_stop_notes_what_the_relay_has_not_answered_so_that_it_goes_out_once_more_at_most(
    store: Store, server: Relay
) -> None:
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", timeout=every(20)))
    server.wait_for = asyncio.Event()
    event = make_event(accepted_at=utc_now())
    await store.subscriptions.add(email_subscription(ANN))
    engine = Engine(store, {"email": kind}, Limits(grace=0.1))
    await engine.begin()
    async with asyncio.TaskGroup() as group:
        engine.launch(group)
        deliveries = engine.reservations.reserve_slots(await Matcher(store).match([event]))
        await store.events.accept(engine.lease_id, [event], deliveries)
        engine.reservations.enqueue(deliveries)
        await server.received_data()
        await engine.stop()
    [found] = (await store.deliveries.page(DeliveryFilter(tenant="default"), Window())).items
    assert (found.state, found.attempts) == (State.PENDING, 1)
    assert "said whether it takes the message; it may have arrived, and is sent once more" in (
        found.reason or ""
    )
    await kind.close()


async def test_a_stop_before_the_final_dot_leaves_no_trace(store: Store, server: Relay) -> None:
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", timeout=every(20)))
    server.hold_rcpt = asyncio.Event()
    task = asyncio.create_task(attempt(kind, ANN))
    await server.reached_rcpt.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.hold_rcpt.set()
    assert server.transactions == 0
    await kind.close()
