"""What a failed attempt says of the relay, which everybody's mails go through."""

from __future__ import annotations

from dispatcher.targets.mail.progress import Progress, Round


def test_what_is_wrong_with_a_relay_names_no_recipient() -> None:
    attempt = Round(Progress())
    attempt.waits("ann@example.org", "waits for ann@example.org to confirm", 900)
    attempt.broke_off("bob@example.org", "cannot connect to smtp://relay.example.org:25: refused")
    answer = attempt.answer("MAIL")
    assert answer.unwell
    assert answer.trouble == "cannot connect to smtp://relay.example.org:25: refused"


def test_the_words_of_a_relay_that_refuses_the_sender_are_for_the_delivery_alone() -> None:
    attempt = Round(Progress())
    attempt.refused("ann@example.org", "550 not for <ann@example.org>", 550, final=False)
    answer = attempt.answer("MAIL")
    assert (answer.unwell, answer.trouble) == (True, "answered 550")
    assert answer.error == "550 not for <ann@example.org>"


def test_addresses_that_a_relay_knows_or_not_say_nothing_of_its_health() -> None:
    for codes in ((450, 550), (550, 450)):
        attempt = Round(Progress())
        for number, code in enumerate(codes):
            attempt.refused(f"r{number}@example.org", f"{code} no", code, final=code >= 500)
        assert not attempt.answer("MAIL").unwell
