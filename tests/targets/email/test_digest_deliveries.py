"""Digests by e-mail on their whole way: an engine, a store and a relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from msgspec.structs import replace

from dispatcher.delivery.engine import Engine
from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import Delivery, State
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.recipients import Quota
from dispatcher.domain.retry import RetryPolicy
from dispatcher.intake.matcher import Matcher
from dispatcher.store.store import Store
from dispatcher.targets.email.consent import MailPolicy
from dispatcher.targets.email.kind import EmailKind
from tests.delivery.conftest import deliveries, settled
from tests.factories import make_event
from tests.targets.email.offices import Clock, email_subscription, make_consent_service
from tests.targets.email.relay import Relay

Accept = Callable[..., Awaitable[None]]

ANN, BOB = "ann@example.org", "bob@example.org"
CAP = 5


@pytest.fixture
async def capped(store: Store, server: Relay) -> AsyncIterator[EmailKind]:
    """Yield the kind, with a cap of a few messages in an hour."""
    rules = MailPolicy(trusted_domains=frozenset({"example.org"}), max_per_hour=CAP)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", rules))
    yield kind
    await kind.close()


@asynccontextmanager
async def running(store: Store, kind: EmailKind, grace: float = 20) -> AsyncIterator[Accept]:
    """An engine that runs while this is entered; yields what takes events in."""
    engine = Engine(store, {"email": kind}, Limits(grace=grace))

    async def accept(*events: Event) -> None:
        new = engine.reservations.reserve_slots(await Matcher(store).match(events))
        await store.events.accept(engine.lease_id, events, new)
        engine.reservations.enqueue(new)

    await engine.begin()
    async with asyncio.TaskGroup() as group:
        engine.launch(group)
        try:
            yield accept
        finally:
            await engine.stop()


def jobs(count: int) -> list[Event]:
    now = utc_now()
    return [make_event(job_id=f"job-{number}", accepted_at=now) for number in range(count)]


async def gathered(store: Store, count: int) -> list[Delivery]:
    """The deliveries, once so many wait for one that leads them."""
    async with asyncio.timeout(20):
        while True:
            found = await deliveries(store)
            waiting = [one for one in found if one.state is State.PENDING]
            if sum(one.due_at is None for one in waiting) == count and len(waiting) == count + 1:
                return found
            await asyncio.sleep(0.02)


async def test_all_that_is_over_the_storm_cap_is_one_message_that_says_how_much_it_holds(
    store: Store, server: Relay, capped: EmailKind, clock: Clock
) -> None:
    await store.subscriptions.add(email_subscription(ANN))
    async with running(store, capped) as accept:
        await accept(*jobs(30))
        await gathered(store, 30 - CAP - 1)
        assert len(server.mails) == CAP
        clock.now += timedelta(seconds=1)
        await settled(store, {State.DELIVERED: 30})
    assert len(server.mails) == CAP + 1
    assert server.mails[-1].message["Subject"] == "a test: 25 FINISHED (25 jobs)"
    # It counts as one message of its hour.
    counted = [await store.recipients.take([Quota(f"to {ANN}", 2, 3600)], clock.now) for _ in range(2)]
    assert [full is None for full in counted] == [True, False]


async def test_of_several_recipients_only_who_is_over_the_cap_waits_and_needs_no_retry_for_it(
    store: Store, server: Relay, capped: EmailKind, clock: Clock
) -> None:
    for _ in range(CAP):
        await store.recipients.take([Quota(f"to {ANN}", CAP, 3600)], clock.now)
    await store.subscriptions.add(replace(email_subscription(ANN, BOB), retry=RetryPolicy(strategy="none")))
    async with running(store, capped) as accept:
        await accept(*jobs(CAP))
        await gathered(store, CAP - 1)
        assert [mail.to for mail in server.mails] == [BOB] * CAP
        clock.now += timedelta(seconds=1)
        ended = await settled(store, {State.DELIVERED: CAP})
    assert [mail.to for mail in server.mails[CAP:]] == [ANN]
    assert server.mails[-1].text.startswith(f"{CAP} events of {CAP} jobs")
    assert [one.attempts for one in ended] == [2] * CAP


@pytest.fixture
def wired(server: Relay, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return all that the relay is sent, whether it takes it or not."""
    seen: list[bytes] = []
    take = server.handle_DATA

    async def note(smtp: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        seen.append(envelope.content)
        return await take(smtp, session, envelope)

    monkeypatch.setattr(server, "handle_DATA", note)
    return seen


def identity(raw: bytes) -> tuple[str, str]:
    """The Message-ID and the subject."""
    lines = raw.decode().split("\r\n")
    [key] = [line for line in lines if line.startswith("Message-ID:")]
    [subject] = [line for line in lines if line.startswith("Subject:")]
    return key, subject


async def test_a_digest_that_the_relay_did_not_take_is_sent_again_as_it_was(
    store: Store, server: Relay, kind: EmailKind, wired: list[bytes]
) -> None:
    quick = RetryPolicy(strategy="delayed", delay=0.1)
    subscription = email_subscription(ANN)
    await store.subscriptions.add(replace(subscription, digest=DigestPolicy(interval=60), retry=quick))
    server.at_data = lambda _: "451 not now" if len(wired) == 1 else None
    async with running(store, kind) as accept:
        await accept(*jobs(3))
        ended = await settled(store, {State.DELIVERED: 3})
    first, again = map(identity, wired)
    assert first == again
    assert first[1] == "Subject: a test: 3 FINISHED (3 jobs)"
    assert [one.attempts for one in ended] == [2, 2, 2]


async def test_a_process_that_ends_before_the_relay_answers_leaves_the_same_digest_to_the_next(
    store: Store, server: Relay, kind: EmailKind, wired: list[bytes]
) -> None:
    await store.subscriptions.add(replace(email_subscription(ANN), digest=DigestPolicy(interval=1)))
    server.wait_for = asyncio.Event()
    async with running(store, kind, grace=0) as accept:
        await accept(*jobs(3))
        await server.received_data()
        # What comes now is for the next one.
        await accept(*jobs(2))
    server.wait_for = None
    async with running(store, kind):
        await settled(store, {State.DELIVERED: 5})
    # The next one was due by then too, and may have been quicker.
    assert identity(wired[0]) in map(identity, wired[1:])
    assert sorted(identity(raw)[1] for raw in wired) == [
        "Subject: a test: 2 FINISHED (2 jobs)",
        "Subject: a test: 3 FINISHED (3 jobs)",
        "Subject: a test: 3 FINISHED (3 jobs)",
    ]
