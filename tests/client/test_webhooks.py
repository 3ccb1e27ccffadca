"""Webhook: what is genuine is accepted by the clock of the machine, and nothing else is."""

from __future__ import annotations

import time
from email.message import Message

import pytest

from dispatcher.client import BadSignature, Webhook, verify
from dispatcher.targets.signing import Signer, new_secret, public_key

SECRET, OTHER = new_secret(), new_secret()
BODY = '{"subject": "job-1", "note": "é"}'.encode()


def signed(*secrets: str, at: float | None = None, asymmetric: bool = False) -> dict[str, str]:
    now = int(time.time() if at is None else at)
    return Signer(secrets, asymmetric=asymmetric).headers("dlv_1", now, BODY)


def test_a_genuine_request_is_returned_with_its_id_and_its_time() -> None:
    headers = signed(SECRET)
    message = Webhook(SECRET).verify(BODY, headers)
    assert (message.id, message.body) == ("dlv_1", BODY)
    assert message.timestamp == int(headers["webhook-timestamp"])
    assert message.json() == {"subject": "job-1", "note": "é"}


def test_headers_may_be_of_any_case_and_come_as_pairs_or_as_a_message() -> None:
    pairs = [(name.title(), value) for name, value in signed(SECRET).items()]
    message = Message()
    for name, value in pairs:
        message[name] = value
    webhook = Webhook(SECRET)
    assert webhook.verify(BODY, pairs) == webhook.verify(BODY.decode(), dict(message))
    webhook.verify(BODY, message)


@pytest.mark.parametrize("known", [(SECRET,), (OTHER,), (new_secret(), SECRET)])
def test_one_signature_that_fits_one_secret_is_enough(known: tuple[str, ...]) -> None:
    Webhook(*known).verify(BODY, signed(OTHER, SECRET))


def test_a_public_key_verifies_v1a_and_only_that() -> None:
    webhook = Webhook(public_key(SECRET))
    webhook.verify(BODY, signed(SECRET, asymmetric=True))
    with pytest.raises(BadSignature, match="holds no signature of scheme v1a"):
        webhook.verify(BODY, signed(SECRET))


def test_a_request_older_than_five_minutes_by_the_clock_of_the_machine_is_refused() -> None:
    old = signed(SECRET, at=time.time() - 310)
    with pytest.raises(BadSignature, match="s in the past, expected at most 300 s"):
        Webhook(SECRET).verify(BODY, old)
    Webhook(SECRET, tolerance=600).verify(BODY, old)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(BadSignature, match="fits"):
        Webhook(SECRET).verify(BODY + b" ", signed(SECRET))


@pytest.mark.parametrize("secrets", [(), ("whsec_short",), ("secret",), ("whpk_AAAA",)])
def test_a_webhook_without_a_proper_secret_cannot_be_made(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Webhook(*secrets)


def test_the_function_of_the_first_release_verifies_by_the_given_time() -> None:
    verify([SECRET], signed(SECRET, at=1_000_000_000), BODY, 1_000_000_010.5)
    with pytest.raises(BadSignature):
        verify([SECRET], signed(SECRET, at=1_000_000_000), BODY, time.time())
