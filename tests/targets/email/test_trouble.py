"""What a failed attempt says of the relay, which everybody's mails go through."""

from __future__ import annotations

import pytest

from dispatcher.targets.email.recipient_results import Progress, RecipientResults
from dispatcher.targets.email.replies import Refused


def test_what_is_wrong_with_a_relay_names_no_recipient() -> None:
    attempt = RecipientResults(Progress())
    attempt.waits("ann@example.org", "waits for ann@example.org to confirm", 900)
    attempt.broke_off("bob@example.org", "cannot connect to smtp://relay.example.org:25: refused")
    answer = attempt.answer("MAIL")
    assert answer.is_destination_failure
    assert answer.destination_error == "cannot connect to smtp://relay.example.org:25: refused"


def test_what_a_relay_says_of_the_sender_is_reported_of_the_relay_without_addresses() -> None:
    attempt = RecipientResults(Progress())
    attempt.refused("ann@example.org", Refused("sender", 550, "no mail from <jobs@example.org> here"))
    answer = attempt.answer("MAIL")
    assert (answer.is_destination_failure, answer.destination_error) == (True, "550 no mail from … here")
    assert answer.error == "550 no mail from <jobs@example.org> here"


@pytest.mark.parametrize("text", ["5.7.1 relaying denied", "4.2.0 greylisted"])
def test_a_refusal_of_one_recipient_keeps_no_one_else_waiting_but_is_tried_again(text: str) -> None:
    attempt = RecipientResults(Progress())
    attempt.refused("ann@example.org", Refused("recipient", int(f"{text[0]}50"), text))
    answer = attempt.answer("MAIL")
    assert (answer.is_destination_failure, answer.permanent, answer.overloaded) == (False, False, False)
    assert answer.error == f"{text[0]}50 {text}"


def test_addresses_that_a_relay_knows_or_not_say_nothing_of_its_health() -> None:
    for codes in ((450, 550), (550, 450)):
        attempt = RecipientResults(Progress())
        for number, code in enumerate(codes):
            attempt.refused(f"r{number}@example.org", Refused("recipient", code, "no"))
        assert not attempt.answer("MAIL").is_destination_failure


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (421, "closing"),
        (432, "4.3.2 STOREDRV.Deliver; recipient thread limit exceeded"),
        (451, "4.3.2 system not accepting messages"),
        (450, "4.7.0 too fast"),
        (452, "Too many recipients received this hour"),
        (421, "4.7.28 unusual rate of mail"),
        (454, "connection limit reached"),
    ],
)
def test_a_relay_that_wants_fewer_sessions_is_overloaded_and_not_unwell(code: int, text: str) -> None:
    attempt = RecipientResults(Progress())
    attempt.refused("ann@example.org", Refused("sender", code, text))
    answer = attempt.answer("MAIL")
    assert (answer.overloaded, answer.is_destination_failure) == (True, False)


def test_greylisting_and_a_full_mailbox_ask_for_no_fewer_sessions() -> None:
    assert not Refused("recipient", 450, "4.2.0 greylisted, come back in 300 seconds").fewer
    assert not Refused("recipient", 452, "4.2.2 mailbox full").fewer
    assert not Refused("recipient", 550, "5.7.0 too many connections").fewer
