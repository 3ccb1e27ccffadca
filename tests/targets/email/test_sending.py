"""What a delivery by e-mail sends, and what it makes of the relay's answers."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from dispatcher.domain.events import utc_now
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.targets import AttemptResult
from dispatcher.store.store import Store
from dispatcher.targets.email import smtp_pool as pool
from dispatcher.targets.email.consent import MailPolicy
from dispatcher.targets.email.kind import EmailKind
from dispatcher.targets.email.recipients import resolved_recipients
from dispatcher.targets.email.smtp import Timeouts, relay_at
from dispatcher.telemetry.metrics import MAILS
from tests.factories import make_event
from tests.http.servers import Authority
from tests.targets.email.offices import Clock, email_subscription, make_consent_service
from tests.targets.email.relay import Relay, relay

DELIVERY = "dlv_0192f0c1a2b37c4d8e5f60718293a4b5"
ANN, BOB = "ann@example.org", "bob@example.org"


async def attempt(kind: EmailKind, *to: str, memo: str | None = None) -> AttemptResult:
    """One attempt of a delivery to these recipients."""
    return await kind.sender(email_subscription(*to)).send(make_event(), DELIVERY, 1, memo)


async def sent_to(store: Store, url: str, *to: str) -> AttemptResult:
    """The same through the relay at a URL."""
    kind = EmailKind(make_consent_service(store, url))
    try:
        return await attempt(kind, *(to or (ANN,)))
    finally:
        await kind.close()


async def test_each_recipient_gets_a_message_over_one_connection(kind: EmailKind, server: Relay) -> None:
    answer = await attempt(kind, ANN, BOB)
    assert answer.error is None
    assert answer.status == 250
    assert [mail.to for mail in server.mails] == [ANN, BOB]
    assert [mail.message["To"] for mail in server.mails] == [ANN, BOB]
    assert server.connections == 1
    assert (answer.body or "").splitlines() == [
        f"{ANN}: 250 2.0.0 OK queued as 1",
        f"{BOB}: 250 2.0.0 OK queued as 2",
    ]


async def test_only_who_was_greylisted_is_tried_again(kind: EmailKind, server: Relay) -> None:
    server.at_rcpt = lambda address: "450 4.2.0 greylisted, come back" if address == BOB else None
    first = await attempt(kind, ANN, BOB)
    assert first.error == "450 4.2.0 greylisted, come back"
    assert not first.permanent
    assert f"{BOB}: 450 4.2.0 greylisted" in (first.body or "")
    server.at_rcpt = lambda _: None
    second = await attempt(kind, ANN, BOB, memo=first.attempt_state)
    assert second.error is None
    assert [mail.to for mail in server.mails] == [ANN, BOB]


async def test_one_who_is_refused_for_good_does_not_keep_the_others_from_being_delivered(
    kind: EmailKind, server: Relay
) -> None:
    server.at_rcpt = lambda address: "550 5.1.1 no such user" if address == BOB else None
    answer = await attempt(kind, ANN, BOB)
    assert answer.error is None
    assert f"{BOB}: 550 5.1.1 no such user" in (answer.body or "")
    assert [mail.to for mail in server.mails] == [ANN]


async def test_when_all_are_refused_for_good_no_retry_can_help(kind: EmailKind, server: Relay) -> None:
    server.at_rcpt = lambda _: "550 5.1.1 no such user"
    answer = await attempt(kind, ANN, BOB)
    assert answer.permanent
    assert answer.status == 550
    assert answer.error == f"no one gets it: {ANN}: 550 5.1.1 no such user; {BOB}: 550 5.1.1 no such user"


async def test_a_message_that_is_refused_for_its_content_does_not_suppress_its_recipient(
    kind: EmailKind, server: Relay
) -> None:
    server.at_data = lambda _: "554 5.7.1 looks like spam"
    assert (await attempt(kind, ANN)).permanent
    server.at_data = lambda _: None
    assert (await attempt(kind, ANN)).error is None


@pytest.mark.parametrize(
    "reply", ["550 5.1.1 no such user", "550 no such user here", "553 5.1.3 bad address"]
)
async def test_an_address_that_is_none_is_not_tried_for_the_next_event(
    kind: EmailKind, server: Relay, reply: str
) -> None:
    server.at_rcpt = lambda _: reply
    assert (await attempt(kind, ANN)).permanent
    server.at_rcpt = lambda _: None
    second = await attempt(kind, ANN)
    assert "not tried: refused at" in (second.error or "")
    assert reply in (second.error or "")


@pytest.mark.parametrize(
    "reply",
    [
        "550 relay not permitted",
        "550-Verification failed for <jobs@example.org>\r\n550 Sender verify failed",
        "550 rejected because 192.0.2.7 is in a black list at zen.spamhaus.org",
        "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
        "550 authentication required",
        "550 Message rejected: daily sending quota exceeded",
        "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
        "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname",
        "554 5.7.1 relay access denied",
        "530 5.7.0 Must issue a STARTTLS command first",
        "521 5.3.2 this host takes no mail",
    ],
)
async def test_a_relay_that_refuses_us_suppresses_no_address_and_is_tried_again(
    kind: EmailKind, server: Relay, reply: str
) -> None:
    server.at_rcpt = lambda _: reply
    first = await attempt(kind, ANN)
    assert not first.permanent
    assert (first.error or "").replace(" ", "") == reply.replace("550-", "550").replace(
        "\r\n550", ""
    ).replace(" ", "")
    server.at_rcpt = lambda _: None
    assert (await attempt(kind, ANN)).error is None


async def test_a_full_mailbox_ends_the_delivery_and_not_the_next(kind: EmailKind, server: Relay) -> None:
    server.at_rcpt = lambda _: "552 5.2.2 mailbox full"
    assert (await attempt(kind, ANN)).permanent
    server.at_rcpt = lambda _: None
    assert (await attempt(kind, ANN)).error is None


async def test_what_an_earlier_version_took_for_a_missing_mailbox_is_tried_again(
    kind: EmailKind, server: Relay, store: Store
) -> None:
    [addressee] = resolved_recipients(email_subscription(ANN))
    await store.recipients.refuse(addressee.recipient, "550 relay not permitted")
    assert (await attempt(kind, ANN)).error is None


async def test_the_name_in_ehlo_is_the_one_that_was_set(store: Store, server: Relay) -> None:
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", hello="jobs.example.org"))
    await attempt(kind, ANN)
    await kind.close()
    assert server.hellos == ["jobs.example.org"]


async def test_without_a_setting_the_name_in_ehlo_is_this_machines_and_no_dns_is_asked(
    store: Store, server: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object) -> str:
        raise AssertionError("the DNS was asked for the name of this machine")

    monkeypatch.setattr(socket, "gethostname", lambda: "Login3")
    for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "gethostbyname_ex"):
        monkeypatch.setattr(socket, name, ask)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}"))
    await attempt(kind, ANN)
    await kind.close()
    assert server.hellos == ["login3"]


def test_a_machine_whose_name_cannot_be_said_gives_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node_7")
    assert relay_at("smtp://relay", Timeouts(), 1).hello == "[127.0.0.1]"


async def test_a_sender_who_is_refused_is_the_relays_or_the_operators_fault_and_is_tried_again(
    kind: EmailKind, server: Relay
) -> None:
    server.at_mail = lambda address: f"553 5.7.1 {address} may not send here"
    answer = await attempt(kind, ANN)
    assert answer.error == "553 5.7.1 noreply@example.org may not send here"
    assert not answer.permanent


async def test_a_relay_that_is_down_is_named(store: Store) -> None:
    answer = await sent_to(store, "smtp://127.0.0.1:1", ANN, BOB)
    assert (answer.error or "").startswith("cannot connect to smtp://127.0.0.1:1: ")
    assert not answer.permanent
    assert answer.status is None


async def test_the_same_delivery_has_the_same_message_id_at_every_attempt(
    kind: EmailKind, server: Relay
) -> None:
    # As after a crash between the relay's answer and our commit: nothing is known of the first one.
    await attempt(kind, ANN)
    await attempt(kind, ANN)
    first, second = (mail.message["Message-ID"] for mail in server.mails)
    assert first == second


async def test_an_idle_connection_that_the_relay_has_closed_costs_no_attempt(
    kind: EmailKind, server: Relay
) -> None:
    assert (await attempt(kind, ANN)).error is None
    server.close_all()
    assert (await attempt(kind, ANN)).error is None
    assert server.connections == 2


async def test_a_connection_is_replaced_after_so_many_messages(
    kind: EmailKind, server: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MESSAGES", 2)
    for _ in range(4):
        assert (await attempt(kind, ANN)).error is None
    assert server.connections == 2


async def test_an_idle_connection_is_closed_after_a_while(
    kind: EmailKind, server: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE", 0.01)
    await attempt(kind, ANN)
    await server.left(1)


async def test_a_relay_that_says_421_is_left_alone_until_the_next_attempt(
    kind: EmailKind, server: Relay
) -> None:
    server.at_rcpt = lambda _: "421 4.3.2 shutting down"
    answer = await attempt(kind, ANN)
    assert answer.error == "421 4.3.2 shutting down"
    server.at_rcpt = lambda _: None
    assert (await attempt(kind, ANN)).error is None
    assert server.connections == 2


async def test_when_all_connections_are_in_use_nothing_was_tried(store: Store, server: Relay) -> None:
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", connections=1, timeout=0.3))
    held = asyncio.Event()
    server.wait_for = held
    first = asyncio.create_task(attempt(kind, ANN))
    await server.received_data()
    second = await attempt(kind, BOB)
    held.set()
    assert second.retry_at_delay == 1.0
    assert second.error == f"all 1 connections to smtp://{server.url} are in use"
    assert (await first).error is None
    await kind.close()


async def test_a_relay_that_wants_a_password_gets_it(store: Store) -> None:
    async with relay(users={"jobs@site": "p@ss word"}) as server:
        answer = await sent_to(store, f"smtp://jobs%40site:p%40ss%20word@{server.url}")
        assert answer.error is None


async def test_a_wrong_password_is_reported_without_it(store: Store) -> None:
    async with relay(users={"jobs": "right"}) as server:
        answer = await sent_to(store, f"smtp://jobs:wrong@{server.url}")
        assert "refuses the user and password of smtp.url: 535" in (answer.error or "")
        assert "wrong" not in (answer.error or "")
        assert not answer.permanent


async def test_a_relay_that_wants_a_user_where_there_is_none_is_quoted(store: Store) -> None:
    async with relay(users={"jobs": "right"}) as server:
        answer = await sent_to(store, f"smtp://{server.url}")
        assert "530 5.7.0 Authentication required" in (answer.error or "")
        assert not answer.permanent


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_tls_is_checked_against_the_names_that_are_trusted(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    authority = Authority(tmp_path)
    context = authority.context("localhost")
    async with relay(tls=context, from_the_start=scheme == "smtps") as server:
        url = f"{scheme}://{server.url.replace('127.0.0.1', 'localhost')}"
        untrusted = await sent_to(store, url)
        assert "certificate verify failed" in (untrusted.error or "")
        assert untrusted.error is not None
        assert untrusted.error.startswith(f"cannot connect to {url}: ")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        assert (await sent_to(store, url)).error is None
        assert len(server.mails) == 1


async def test_a_relay_without_starttls_gets_nothing_in_the_clear(store: Store, server: Relay) -> None:
    answer = await sent_to(store, f"smtp+starttls://{server.url}")
    assert "STARTTLS extension not supported" in (answer.error or "")
    assert server.mails == []


async def test_an_address_outside_ascii_needs_a_relay_that_takes_it(store: Store, server: Relay) -> None:
    answer = await sent_to(store, f"smtp://{server.url}", "jürgen@example.org")
    assert answer.permanent
    assert "the relay offers no SMTPUTF8" in (answer.error or "")
    async with relay(utf8=True) as modern:
        assert (await sent_to(store, f"smtp://{modern.url}", "jürgen@example.org")).error is None
        [mail] = modern.mails
        assert mail.to == "jürgen@example.org"
        assert mail.message["To"] == "jürgen@example.org"


async def test_an_international_domain_goes_to_any_relay(store: Store, server: Relay) -> None:
    consent = make_consent_service(
        store, f"smtp://{server.url}", MailPolicy(trusted_domains=frozenset({"xn--bcher-kva.example"}))
    )
    kind = EmailKind(consent)
    assert (await attempt(kind, "ann@bücher.example")).error is None
    await kind.close()
    assert server.mails[0].to == "ann@xn--bcher-kva.example"


async def test_a_message_of_megabytes_goes_out_whole(store: Store) -> None:
    async with relay(size=20_000_000) as server:
        kind = EmailKind(make_consent_service(store, f"smtp://{server.url}"))
        event = make_event(data={"big": "ü" * 1_000_000})
        sender = kind.sender(email_subscription(ANN, subject="x", text="${data.big}"))
        assert (await sender.send(event, DELIVERY, 1)).error is None
        await kind.close()
    assert len(server.mails[0].raw) > 6_000_000
    assert server.mails[0].text.count("ü") == 1_000_000


async def test_a_message_that_is_too_long_for_the_relay_is_not_sent(store: Store) -> None:
    async with relay(size=1_000) as small:
        refused = await sent_to(store, f"smtp://{small.url}")
    assert refused.permanent
    assert "552 the relay takes messages of at most 1000 bytes, this has" in (refused.error or "")
    assert small.mails == []


async def test_values_that_are_too_long_together_end_the_delivery_with_a_reason(kind: EmailKind) -> None:
    event = make_event(data={"big": "x" * 600_000})
    sender = kind.sender(email_subscription(ANN, subject="x", text="${data.big}${data.big}"))
    answer = await sender.send(event, DELIVERY, 1)
    assert answer.permanent
    assert "more than 1048576 characters together" in (answer.error or "")


@pytest.mark.usefixtures("clock")
async def test_the_storm_cap_lets_the_rest_wait_for_the_next_hour(store: Store, server: Relay) -> None:
    rules = MailPolicy(trusted_domains=frozenset({"example.org"}), max_per_hour=2)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", rules))
    answers = [await attempt(kind, ANN) for _ in range(3)]
    other = await attempt(kind, BOB)
    await kind.close()
    assert [answer.error for answer in answers[:2]] == [None, None]
    assert answers[2].error == f"{ANN} got 2 mails in this hour"
    assert answers[2].retry_at_delay == pytest.approx(1.1)
    assert other.error is None


async def test_a_message_that_was_not_sent_does_not_count(store: Store, server: Relay) -> None:
    rules = MailPolicy(trusted_domains=frozenset({"example.org"}), max_per_hour=1)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", rules))
    server.at_rcpt = lambda _: "450 later"
    assert (await attempt(kind, ANN)).error == "450 later"
    server.at_rcpt = lambda _: None
    assert (await attempt(kind, ANN)).error is None
    await kind.close()


async def test_a_message_that_was_not_sent_does_not_count_in_the_hour_in_which_it_was_tried(
    store: Store, server: Relay, clock: Clock
) -> None:
    rules = MailPolicy(trusted_domains=frozenset({"example.org"}), max_per_hour=2)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", rules))
    began, refused = clock.now, asyncio.Event()
    server.hold_rcpt = refused
    first = asyncio.create_task(attempt(kind, ANN))
    await server.reached_rcpt.wait()
    server.hold_rcpt = None
    clock.now += timedelta(seconds=1)
    assert (await attempt(kind, ANN)).error is None
    server.at_rcpt = lambda _: "450 later"
    refused.set()
    assert (await first).error == "450 later"
    server.at_rcpt = lambda _: None
    assert (await attempt(kind, ANN)).error is None
    assert (await attempt(kind, ANN)).error == f"{ANN} got 2 mails in this hour"
    clock.now = began
    assert [(await attempt(kind, ANN)).error for _ in range(2)] == [None, None]
    await kind.close()


@pytest.mark.usefixtures("clock")
async def test_a_domain_gets_so_many_a_minute(store: Store, server: Relay) -> None:
    rules = MailPolicy(trusted_domains=frozenset({"example.org"}), max_per_domain=1)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", rules))
    answer = await attempt(kind, ANN, BOB)
    await kind.close()
    assert answer.error == "example.org got 1 mails in this minute"
    # One was sent, so this is an attempt; the other is for the next one.
    assert not answer.not_attempted
    assert answer.retry_at_delay == pytest.approx(1.1)
    assert msgspec.json.decode(answer.attempt_state or "")["got"].keys() == {ANN}


async def test_waiting_never_outlasts_the_deliverys_age_unseen(store: Store, server: Relay) -> None:
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", MailPolicy()))
    short = msgspec.structs.replace(email_subscription("x@elsewhere.org"), retry=RetryPolicy(max_age=120))
    answer = await kind.sender(short).send(make_event(accepted_at=utc_now()), DELIVERY, 1)
    await kind.close()
    assert 100 < (answer.retry_at_delay or 0) < 120


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ([], "cannot connect to {url}: Timed out waiting for server ready message"),
        ([b"220 hello\r\n"], "broke off at EHLO: Timed out waiting for server response"),
        ([b"220 hello\r\n", b"250 OK\r\n"], "broke off at the sender: Timed out"),
        ([b"220 hello\r\n", b"250 OK\r\n", b"250 OK\r\n"], "broke off at the recipient: Timed out"),
        ([b"220 hello\r\n", *[b"250 OK\r\n"] * 3], "broke off at the message: Timed out"),
        (
            [b"220 hello\r\n", *[b"250 OK\r\n"] * 3, b"354 go\r\n"],
            "has the message and did not answer within",
        ),
        ([b"who are you\r\n"], "cannot connect to {url}: "),
        ([b"554 go away\r\n"], "cannot connect to {url}: 554 go away"),
    ],
)
async def test_a_relay_that_stops_answering_costs_its_time_and_no_more(
    store: Store, says: list[bytes], error: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in says:
            writer.write(line)
            await writer.drain()
            if line.startswith(b"354"):
                break
            await reader.readline()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kind = EmailKind(make_consent_service(store, url, timeout=0.1))
    result = await attempt(kind, ANN)
    await kind.close()
    server.close()
    assert error.format(url=url) in (result.error or "")
    assert not result.permanent


@pytest.mark.parametrize(
    ("url", "destination", "user", "password"),
    [
        ("smtp://relay.example.org", "smtp://relay.example.org:25", None, None),
        ("smtps://u%40x:p%3Aw@relay:4465", "smtps://relay:4465", "u@x", "p:w"),
        ("smtp+starttls://u@[::1]", "smtp+starttls://[::1]:587", "u", None),
    ],
)
def test_a_relays_url_says_where_and_how(
    url: str, destination: str, user: str | None, password: str | None
) -> None:
    found = relay_at(url, Timeouts(), 1)
    assert (found.destination, found.user, found.password) == (destination, user, password)
    assert password is None or password not in repr(found)


async def test_what_the_relay_says_is_counted(kind: EmailKind, server: Relay) -> None:
    def counts() -> list[float]:
        results = ("accepted", "deferred", "refused")
        return [MAILS.labels(result)._value.get() for result in results]

    before = counts()
    await attempt(kind, ANN, BOB)
    server.at_rcpt = lambda address: "450 later" if address == ANN else "550 5.1.1 none"
    await attempt(kind, ANN, BOB)
    assert [after - first for after, first in zip(counts(), before, strict=True)] == [2, 1, 1]
