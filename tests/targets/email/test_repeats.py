"""A relay that refuses one address after the other with the same words is at fault, and not the addresses."""

from __future__ import annotations

from dispatcher.domain.targets import AttemptResult
from dispatcher.store.store import Store
from dispatcher.targets.email.kind import EmailKind
from dispatcher.targets.email.recipients import resolved_recipients
from tests.factories import make_event
from tests.targets.email.offices import email_subscription
from tests.targets.email.relay import Relay

DELIVERY = "dlv_0192f0c1a2b37c4d8e5f60718293a4b5"
ANN, BOB, CY, DAN = (f"{name}@example.org" for name in ("ann", "bob", "cy", "dan"))
UNKNOWN = "550 5.1.1 <{}>: Recipient address rejected: User unknown in table"


async def attempt(kind: EmailKind, *to: str) -> AttemptResult:
    return await kind.sender(email_subscription(*to)).send(make_event(), DELIVERY, 1)


async def marked(store: Store, *to: str) -> list[str]:
    """Which of these are marked as addresses that do not exist."""
    recipients = [one.recipient for one in resolved_recipients(email_subscription(*to))]
    standings = await store.recipients.standings(recipients)
    return [one.key for one, standing in zip(recipients, standings, strict=True) if standing.refused_at]


async def test_the_third_address_in_a_row_that_gets_the_same_words_is_tried_again(
    kind: EmailKind, server: Relay, store: Store
) -> None:
    server.at_rcpt = UNKNOWN.format
    assert (await attempt(kind, ANN)).permanent
    assert (await attempt(kind, BOB)).permanent
    third = await attempt(kind, CY)
    assert not third.permanent
    assert not third.is_destination_failure
    assert (third.error or "").endswith("(the same for 3 addresses in a row: the relay is at fault)")
    assert await marked(store, ANN, BOB, CY) == [ANN, BOB]


async def test_what_was_marked_is_lifted_when_one_of_them_is_taken(
    kind: EmailKind, server: Relay, store: Store
) -> None:
    server.at_rcpt = UNKNOWN.format
    await attempt(kind, ANN, BOB, CY)
    server.at_rcpt = lambda _: None
    # Another one says nothing of these.
    assert (await attempt(kind, DAN)).error is None
    assert await marked(store, ANN, BOB) == [ANN, BOB]
    assert (await attempt(kind, CY)).error is None
    assert await marked(store, ANN, BOB) == []
    assert (await attempt(kind, ANN, BOB)).error is None
    assert sorted(mail.to for mail in server.mails) == [ANN, BOB, CY, DAN]


async def test_lifting_a_mark_does_not_resubscribe_an_address_that_unsubscribed(
    kind: EmailKind, server: Relay, store: Store
) -> None:
    subscription = email_subscription(ANN, BOB, CY)
    sender = kind.sender(subscription)
    server.at_rcpt = UNKNOWN.format
    await sender.send(make_event(), DELIVERY, 1)
    await store.recipients.unsubscribe(resolved_recipients(subscription)[0].recipient)
    server.at_rcpt = lambda _: None
    await attempt(kind, CY)
    answer = await sender.send(make_event(), DELIVERY, 1)
    assert f"{ANN}: unsubscribed at" in (answer.body or "")
    assert f"{BOB}: 250" in (answer.body or "")


async def test_an_address_that_is_taken_in_between_shows_that_the_relay_knows_its_mailboxes(
    kind: EmailKind, server: Relay, store: Store
) -> None:
    server.at_rcpt = lambda address: None if address == DAN else UNKNOWN.format(address)
    await attempt(kind, ANN, BOB)
    assert (await attempt(kind, DAN)).error is None
    assert (await attempt(kind, CY)).permanent
    assert await marked(store, ANN, BOB, CY) == [ANN, BOB, CY]


async def test_the_same_address_again_and_other_words_are_no_row(
    kind: EmailKind, server: Relay, store: Store
) -> None:
    words = {ANN: "no such user", BOB: "mailbox not found", CY: "unknown recipient"}
    server.at_rcpt = lambda address: f"550 {words[address]}"
    assert (await attempt(kind, ANN, BOB, CY)).permanent
    assert await marked(store, ANN, BOB, CY) == [ANN, BOB, CY]


async def test_words_that_say_nothing_clear_are_the_relays_when_several_addresses_get_them(
    kind: EmailKind, server: Relay, store: Store
) -> None:
    server.at_rcpt = lambda _: "550 nix da (id 8f31-77)"
    assert (await attempt(kind, ANN, BOB)).permanent
    assert not (await attempt(kind, CY)).permanent
    assert await marked(store, ANN, BOB, CY) == []


async def test_a_filter_that_refuses_a_message_to_each_recipient_is_right_about_the_message(
    kind: EmailKind, server: Relay, store: Store
) -> None:
    server.at_data = lambda _: "554 5.7.1 looks like spam"
    assert (await attempt(kind, ANN, BOB, CY, DAN)).permanent
