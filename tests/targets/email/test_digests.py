"""Digests by e-mail: one message about many events, with the right counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dispatcher.domain.digests import DigestPolicy, Gathered
from dispatcher.domain.errors import InvalidInput
from dispatcher.store.store import Store
from dispatcher.targets.email.consent import MailPolicy
from dispatcher.targets.email.digest import digest_context
from dispatcher.targets.email.kind import EmailKind, EmailTarget
from dispatcher.targets.email.recipients import resolved_recipients
from tests.factories import NOW, make_event, make_subscription
from tests.targets.email.offices import email_subscription, make_consent_service
from tests.targets.email.relay import Relay

# What is sent counts for an hour: for the same one in a whole test.
pytestmark = pytest.mark.usefixtures("clock")

ANN, BOB = "ann@example.org", "bob@example.org"


def event(name: str, number: int, seconds: int = 0, **data: object) -> Any:
    job = {"id": f"job-{number}", "name": f"align {number}", "executionSystem": "frontera"}
    document = {"event": name, "status": name, "message": None, "job": job, "data": data}
    return make_event(
        event=name, job_id=f"job-{number}", time=NOW + timedelta(seconds=seconds), data=document
    )


def gather(*events: Any, **memos: str) -> list[Gathered]:
    return [Gathered(f"dlv_{index:032x}", one, memos.get(f"m{index}")) for index, one in enumerate(events)]


def test_each_job_counts_once_where_it_stands_after_all_events() -> None:
    events = [event("RUNNING", 1), event("FINISHED", 1, 9), event("FAILED", 2, 5), event("RUNNING", 2, 1)]
    facts = digest_context([*events, event("HEARTBEAT", 1, 20), event("HEARTBEAT", 3)], DigestPolicy())
    assert (facts.events, facts.jobs) == (6, 3)
    assert facts.counts == [("FAILED", 1), ("FINISHED", 1), ("HEARTBEAT", 1)]
    assert (facts.system, facts.tone) == ("frontera", "bad")
    assert digest_context([event("FINISHED", 1)], DigestPolicy()).tone == "good"
    assert digest_context([event("RUNNING", 1, 86_400), event("FINISHED", 1)], DigestPolicy()).tone == "good"
    assert digest_context([event("FINISHED", 1), event("RUNNING", 2)], DigestPolicy()).tone == "neutral"


def test_no_more_than_twelve_statuses_are_counted_one_by_one() -> None:
    facts = digest_context(
        [event(f"SITE_{number:02d}", number) for number in range(50)], DigestPolicy(max_rows=10)
    )
    assert len(facts.counts) == 13
    assert facts.counts[-1] == ("other", 38)


async def test_an_array_of_ten_thousand_jobs_is_one_message_with_the_right_counts(
    kind: EmailKind, server: Relay
) -> None:
    failed = {3, 4000, *range(9000, 9020)}
    events = [
        event("FAILED", number, number, exit_code=137)
        if number in failed
        else event("FINISHED", number, number)
        for number in range(10_000)
    ]
    sender = kind.sender(email_subscription(ANN))
    answer = await sender.send_digest(gather(*events), 1)
    assert answer.error is None
    [mail] = server.mails
    assert mail.message["Subject"] == "[frontera] a test: 22 FAILED, 9978 FINISHED (10000 jobs)"
    lines = mail.text.splitlines()
    assert lines[0].startswith("10000 events of 10000 jobs, from 2026-05-04 12:00 UTC to ")
    assert lines[2:4] == ["FAILED: 22", "FINISHED: 9978"]
    causes = [line for line in lines if line.startswith("  FAILED")]
    assert len(causes) == 10
    assert causes[1].startswith("  FAILED align 4000 (job-4000): signal 9 (KILL)")
    assert "  and 12 more" in lines
    assert "  and 9900 more" in lines
    assert "align 9999" in mail.html
    assert len(mail.raw) < 100_000
    assert mail.message["Message-ID"].startswith(f"<dlv_{0:032x}.")


async def test_a_subscription_says_how_many_rows_a_digest_has(kind: EmailKind, server: Relay) -> None:
    target = {"kind": "email", "to": (ANN,)}
    sender = kind.sender(make_subscription(target=target, digest=DigestPolicy(max_rows=2)))
    await sender.send_digest(gather(*(event("FINISHED", number, number) for number in range(5))), 1)
    text = server.mails[0].text
    assert ["align 4" in text, "align 3" in text, "align 2" in text] == [True, True, False]
    assert "  and 3 more" in text


async def test_a_variant_without_its_own_digest_has_the_usual_one(
    store: Store, server: Relay, tmp_path: Path
) -> None:
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "default.txt.j2").write_text("Auftrag {{ job_id }}")
    (tmp_path / "de" / "_digest.subject.j2").write_text("{{ jobs }} Aufträge")
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", templates=tmp_path))
    sender = kind.sender(email_subscription(ANN, template="de"))
    await sender.send_digest(gather(event("FINISHED", 1), event("FAILED", 2)), 1)
    await kind.close()
    assert server.mails[0].message["Subject"] == "2 Aufträge"
    assert server.mails[0].text.startswith("2 events of 2 jobs")


async def test_values_in_a_digest_are_escaped_and_stay_in_their_line(kind: EmailKind, server: Relay) -> None:
    evil = make_event(
        event="FAILED", data={"job": {"name": "<b>x</b>\r\nBcc: y", "errorMessage": "<i>\n\nz"}}
    )
    await kind.sender(email_subscription(ANN)).send_digest(gather(evil, evil), 1)
    [mail] = server.mails
    assert "&lt;b&gt;x&lt;/b&gt; Bcc: y" in mail.html
    assert "<i>" not in mail.html
    assert not any(line.startswith(("Bcc", "z")) for line in mail.text.splitlines())


async def test_only_who_has_no_digest_yet_gets_it_at_the_next_attempt(kind: EmailKind, server: Relay) -> None:
    sender = kind.sender(email_subscription(ANN, BOB))
    server.at_rcpt = lambda address: "450 later" if address == BOB else None
    events = [event("FINISHED", 1), event("FINISHED", 2)]
    first = await sender.send_digest(gather(*events), 1)
    assert first.error == "450 later"
    server.at_rcpt = lambda _: None
    second = await sender.send_digest(gather(*events, m0=first.attempt_state or ""), 2)
    assert second.error is None
    assert [mail.to for mail in server.mails] == [ANN, BOB]


async def test_who_has_a_digest_that_was_given_up_gets_none_of_its_events_when_they_are_sent_again(
    kind: EmailKind, server: Relay
) -> None:
    sender = kind.sender(email_subscription(ANN, BOB))
    server.at_rcpt = lambda address: "450 later" if address == BOB else None
    events = [event("FINISHED", 1), event("FINISHED", 2)]
    given_up = await sender.send_digest(gather(*events), 1)
    server.at_rcpt = lambda _: None
    for number, one in enumerate(events):
        again = await sender.send(one, f"dlv_{number:032x}", 2, given_up.attempt_state)
        assert again.error is None
    assert [mail.to for mail in server.mails] == [ANN, BOB, BOB]


async def test_who_had_an_event_by_itself_does_not_get_it_in_a_digest_again(
    kind: EmailKind, server: Relay
) -> None:
    sender = kind.sender(email_subscription(ANN, BOB))
    server.at_rcpt = lambda address: "450 later" if address == BOB else None
    alone = await sender.send(event("FINISHED", 1), f"dlv_{0:032x}", 1)
    other = await sender.send(event("FINISHED", 2), f"dlv_{1:032x}", 1)
    server.at_rcpt = lambda _: None
    events = [event("FINISHED", 1), event("FINISHED", 2), event("FINISHED", 3)]
    answer = await sender.send_digest(
        gather(*events, m0=alone.attempt_state or "", m1=other.attempt_state or ""), 2
    )
    assert answer.error is None
    assert [mail.text.splitlines()[0].split(",")[0] for mail in server.to(ANN)[2:]] == ["1 event of 1 job"]
    assert server.to(BOB)[0].text.startswith("3 events of 3 jobs")


async def test_over_the_storm_cap_what_comes_waits_to_go_together(store: Store, server: Relay) -> None:
    rules = MailPolicy(trusted_domains=frozenset({"example.org"}), max_per_hour=1)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", rules))
    sender = kind.sender(email_subscription(ANN))
    await sender.send(event("FINISHED", 1), f"dlv_{0:032x}", 1)
    over = await sender.send(event("FINISHED", 2), f"dlv_{1:032x}", 1)
    await kind.close()
    assert sender.overflows
    assert over.coalesce
    assert over.retry_at_delay is not None


@pytest.fixture
async def capped(store: Store, server: Relay) -> AsyncIterator[EmailKind]:
    """Yield the kind, with a storm cap that ann has reached and bob has not."""
    rules = MailPolicy(trusted_domains=frozenset({"example.org"}), max_per_hour=1)
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", rules))
    await kind.sender(email_subscription(ANN)).send(event("FINISHED", 9), f"dlv_{99:032x}", 1)
    yield kind
    await kind.close()


async def test_only_who_is_over_the_cap_waits_and_gets_all_of_it_together(
    capped: EmailKind, server: Relay
) -> None:
    sender = capped.sender(email_subscription(ANN, BOB))
    answer = await sender.send(event("FINISHED", 1), f"dlv_{0:032x}", 1)
    assert [mail.to for mail in server.mails] == [ANN, BOB]
    assert (answer.status, answer.error) == (250, f"{ANN} got 1 mails in this hour")
    assert (answer.not_attempted, answer.is_destination_failure, answer.coalesce) == (False, False, True)


async def test_a_digest_that_somebody_has_waits_for_the_others_by_itself(
    capped: EmailKind, server: Relay
) -> None:
    sender = capped.sender(email_subscription(ANN, BOB))
    answer = await sender.send_digest(gather(event("FINISHED", 1), event("FINISHED", 2)), 1)
    assert [mail.to for mail in server.mails] == [ANN, BOB]
    assert answer.retry_at_delay is not None
    assert not answer.coalesce


async def test_a_digest_that_no_recipient_has_goes_with_others_and_who_had_its_first_event_does_not_again(
    capped: EmailKind, kind: EmailKind, server: Relay
) -> None:
    sender = capped.sender(email_subscription(ANN, BOB))
    alone = await sender.send(event("FINISHED", 1), f"dlv_{0:032x}", 1)
    events = [event("FINISHED", 1), event("FINISHED", 2)]
    full = await sender.send_digest(gather(*events, m0=alone.attempt_state or ""), 2)
    assert full.coalesce
    without_cap = kind.sender(email_subscription(ANN, BOB))
    leader = Gathered(f"dlv_{2:032x}", event("FINISHED", 3))
    await without_cap.send_digest([leader, *gather(*events, m0=full.attempt_state or "")], 1)
    assert server.to(ANN)[-1].text.startswith("3 events of 3 jobs")
    assert server.to(BOB)[-1].text.startswith("2 events of 2 jobs")


async def test_digests_of_a_group_thread_and_those_of_another_do_not(kind: EmailKind, server: Relay) -> None:
    policy = DigestPolicy(group_by=("data.data.array",))
    sender = kind.sender(make_subscription(target={"kind": "email", "to": (ANN,)}, digest=policy))
    one, two = ([event("FINISHED", number, array=array) for number in range(2)] for array in ("a", "b"))
    for events in (one, one[::-1], two, [*one, *two]):
        await sender.send_digest(gather(*events), 1)
    first, again, other, mixed = (str(mail.message["References"]) for mail in server.mails)
    assert first == again
    assert len({first, other, mixed}) == 3


async def test_who_unsubscribed_or_is_refused_by_the_relay_is_left_out(
    kind: EmailKind, store: Store, server: Relay
) -> None:
    subscription = email_subscription(ANN, BOB, "cy@example.org")
    _, bob, cy = (addressee.recipient for addressee in resolved_recipients(subscription))
    await store.recipients.unsubscribe(bob)
    await store.recipients.refuse(cy, "550 no such user")
    answer = await kind.sender(subscription).send_digest(gather(event("FINISHED", 1), event("FAILED", 2)), 1)
    assert answer.error is None
    assert [mail.to for mail in server.mails] == [ANN]
    assert f"{BOB}: unsubscribed at" in (answer.body or "")
    assert "cy@example.org: not tried: refused at" in (answer.body or "")


def test_a_digest_is_refused_for_a_target_with_its_own_texts(kind: EmailKind) -> None:
    kind.check_digest(EmailTarget(to=(ANN,)))
    for words in ({"subject": "s"}, {"text": "t"}):
        with pytest.raises(InvalidInput, match="a digest has its own words"):
            kind.check_digest(EmailTarget(to=(ANN,), **words))
