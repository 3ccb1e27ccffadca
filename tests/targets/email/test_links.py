from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.targets.email.links import Links
from tests.targets.email.offices import BASE, KEY

SUBSCRIPTION = "sub_0192f0c1a2b37c4d8e5f60718293a4b5"
OTHER = "another key of thirty-two characters or more"


def token_of(links: Links, key: str = "ann@example.org") -> str:
    link = links.link("unsubscribe", SUBSCRIPTION, key)
    assert link is not None
    return link.rpartition("/")[2]


def test_a_token_names_the_subscription_and_one_recipient() -> None:
    links = Links(BASE, [KEY])
    whom = links.read("unsubscribe", token_of(links))
    assert whom is not None
    assert whom.subscription_id == SUBSCRIPTION
    assert whom.means("ann@example.org")
    assert not whom.means("bob@example.org")


def test_a_token_is_for_one_purpose() -> None:
    links = Links(BASE, [KEY])
    assert links.read("confirm", token_of(links)) is None


def test_a_key_that_was_replaced_still_opens_and_a_strangers_does_not() -> None:
    old = Links(BASE, [KEY])
    assert Links(BASE, [OTHER, KEY]).read("unsubscribe", token_of(old)) is not None
    assert Links(BASE, [OTHER]).read("unsubscribe", token_of(old)) is None


@given(st.integers(0, 47), st.characters(codec="utf-8"))
def test_a_token_with_one_other_character_is_none(position: int, character: str) -> None:
    links = Links(BASE, [KEY])
    token = token_of(links)
    forged = token[:position] + character + token[position + 1 :]
    assert forged == token or links.read("unsubscribe", forged) is None


@given(st.text(max_size=60))
def test_whatever_stands_in_a_link_is_read_or_refused(text: str) -> None:
    assert Links(BASE, [KEY]).read("unsubscribe", text) is None


def test_without_a_base_there_are_no_links() -> None:
    assert Links(None, [KEY]).link("confirm", SUBSCRIPTION, "ann@example.org") is None
