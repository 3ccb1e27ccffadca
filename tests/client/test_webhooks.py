"""Webhook: what is genuine is accepted by the clock of the machine, and nothing else is."""

from __future__ import annotations

import hmac
import time
from email.message import Message
from typing import Any

import pytest

from dispatcher.client import BadSignature, Webhook, verify
from dispatcher.client.webhooks import MAX_SIGNATURES
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


def among(count: int, headers: dict[str, str], scheme: str) -> dict[str, str]:
    """The headers with the signature behind so many others."""
    others = [f"{scheme},{number:086d}==" for number in range(count)]
    return headers | {"webhook-signature": " ".join([*others, headers["webhook-signature"].split(" ")[-1]])}


@pytest.mark.parametrize("asymmetric", [False, True])
def test_of_many_signatures_only_the_first_are_looked_at(asymmetric: bool) -> None:
    webhook = Webhook(public_key(SECRET) if asymmetric else SECRET)
    headers, scheme = signed(SECRET, asymmetric=asymmetric), "v1a" if asymmetric else "v1"
    webhook.verify(BODY, among(MAX_SIGNATURES - 1, headers, scheme))
    with pytest.raises(BadSignature, match="no signature"):
        webhook.verify(BODY, among(MAX_SIGNATURES, headers, scheme))


def test_the_body_is_read_once_for_each_secret_however_many_signatures_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[bytes] = []
    digest = hmac.digest

    def counted(key: bytes, message: bytes, name: str) -> bytes:
        computed.append(key)
        return digest(key, message, name)

    headers = among(MAX_SIGNATURES, signed(SECRET), "v1")
    monkeypatch.setattr(hmac, "digest", counted)
    with pytest.raises(BadSignature):
        Webhook(SECRET, OTHER).verify(BODY, headers)
    assert len(computed) == 2


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "value", [b"v1,AAAA", None, 5, ["a"], "", "\udcff", "é", "a\r\nb", "\x00", "v1,\udcff", "²", "9" * 5000]
)
def test_a_header_that_no_sender_sends_is_refused_like_any_other(name: str, value: Any) -> None:
    headers: Any = {**signed(SECRET), name: value}
    for webhook in (Webhook(SECRET), Webhook(public_key(SECRET))):
        with pytest.raises(BadSignature):
            webhook.verify(BODY, headers)


@pytest.mark.parametrize(
    "headers",
    [None, 5, "webhook-id", [("webhook-id",)], [5], [("a", "b", "c")], [(b"webhook-id", b"dlv_1")], []],
)
def test_what_is_no_headers_is_refused(headers: Any) -> None:
    with pytest.raises(BadSignature, match=r"headers? "):
        Webhook(SECRET).verify(BODY, headers)


@pytest.mark.parametrize("body", [None, 5, {"subject": "job-1"}, [1], "\udcff"])
def test_what_is_no_body_is_refused(body: Any) -> None:
    with pytest.raises(BadSignature, match="expected the body as the bytes that came"):
        Webhook(SECRET).verify(body, signed(SECRET))


def test_a_body_may_be_any_kind_of_bytes() -> None:
    for body in (bytearray(BODY), memoryview(BODY)):
        assert Webhook(SECRET).verify(body, signed(SECRET)).body == BODY
