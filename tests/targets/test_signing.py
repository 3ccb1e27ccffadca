from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from dispatcher.client import BadSignature, verify
from dispatcher.targets.signing import Signer, new_secret, public_key
from tests.factories import SECRET

OTHER = new_secret()
NOW = 1614265330
BODY = b'{"test": 2432232314}'


def signed(
    secrets: list[str], body: bytes = BODY, delivery_id: str = "dlv_1", at: int = NOW
) -> dict[str, str]:
    return Signer(secrets).headers(delivery_id, at, body)


def test_the_published_vector_has_its_published_signature() -> None:
    headers = signed([SECRET], delivery_id="msg_p5jXN8AQM9LWM0D4loKWxJek")

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(body=st.text(), key=st.binary(min_size=24, max_size=64), at=st.integers(0, 4_000_000_000))
def test_signatures_equal_those_of_the_reference_library(body: str, key: bytes, at: int) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    # The library replaces the time's zone by UTC, whatever it was.
    expected = Webhook(secret).sign("dlv_1", datetime.fromtimestamp(at, UTC), body)

    assert signed([secret], body.encode(), at=at)["webhook-signature"] == expected


@pytest.mark.parametrize("secrets", [[SECRET], [OTHER, SECRET]])
def test_the_lines_that_go_out_say_the_same_as_the_headers(secrets: list[str]) -> None:
    lines = Signer(secrets).lines("dlv_1", NOW, BODY).decode()

    assert lines.endswith("\r\n")
    assert dict(line.split(": ") for line in lines.splitlines()) == signed(secrets)


def test_the_reference_library_accepts_either_secret_during_a_rotation() -> None:
    now = int(datetime.now(UTC).timestamp())
    headers = signed([OTHER, SECRET], b'{"a": 1}', at=now)

    assert Webhook(SECRET).verify(b'{"a": 1}', headers) == {"a": 1}
    assert Webhook(OTHER).verify(b'{"a": 1}', headers) == {"a": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(b'{"a": 1}', headers)


def test_what_the_reference_library_signs_is_verified() -> None:
    signature = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(NOW), "Webhook-Signature": signature}

    verify([SECRET], headers, BODY, NOW)


@pytest.mark.parametrize("known", [[SECRET], [OTHER], [new_secret(), SECRET]])
def test_any_known_secret_verifies_a_request_signed_with_both(known: list[str]) -> None:
    verify(known, signed([OTHER, SECRET]), BODY, NOW)


@pytest.mark.parametrize("late", [-300, 0, 300])
def test_a_clock_may_be_five_minutes_off(late: int) -> None:
    verify([SECRET], signed([SECRET]), BODY, NOW + late)


@pytest.mark.parametrize(
    ("changes", "body", "now", "problem"),
    [
        ({}, b"{}", NOW, "no signature in webhook-signature fits"),
        ({"webhook-id": "dlv_2"}, BODY, NOW, "no signature in webhook-signature fits"),
        ({"webhook-timestamp": str(NOW + 1)}, BODY, NOW, "no signature in webhook-signature fits"),
        ({"webhook-signature": "v1,AAAA v1,é"}, BODY, NOW, "has characters that no sender puts there"),
        ({"webhook-signature": "v1a,AAAA"}, BODY, NOW, "no signature of scheme v1"),
        ({"webhook-signature": ""}, BODY, NOW, "the header webhook-signature is missing"),
        ({"webhook-timestamp": ""}, BODY, NOW, "the header webhook-timestamp is missing"),
        ({"webhook-id": ""}, BODY, NOW, "the header webhook-id is missing"),
        ({"webhook-timestamp": "yesterday"}, BODY, NOW, "no number of seconds"),
        ({"webhook-timestamp": "٣"}, BODY, NOW, "has characters that no sender puts there"),
        ({"webhook-timestamp": "9" * 5000}, BODY, NOW, "no number of seconds"),
        ({}, BODY, NOW + 301, "301 s in the past"),
        ({}, BODY, NOW - 301, "301 s in the future"),
    ],
)
def test_a_request_that_is_not_as_it_was_signed_is_refused(
    changes: dict[str, str], body: bytes, now: int, problem: str
) -> None:
    with pytest.raises(BadSignature, match=problem):
        verify([SECRET], signed([SECRET]) | changes, body, now)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whskey" + base64.b64encode(bytes(32)).decode(),
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_not/base64!" + "A" * 40,
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_a_malformed_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="expected a secret") as caught:
        Signer([secret])

    assert str(caught.value) == "expected a secret of whsec_ and 24 to 64 bytes in base64"


def test_without_a_secret_nothing_can_be_signed() -> None:
    with pytest.raises(ValueError, match="at least one secret"):
        Signer([])


# v1a


def signed_twice(secrets: list[str], body: bytes = BODY, at: int = NOW) -> dict[str, str]:
    return Signer(secrets, asymmetric=True).headers("dlv_1", at, body)


def test_the_public_key_is_that_of_ed25519_and_checks_what_the_specification_signs() -> None:
    encoded = public_key(SECRET)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded.removeprefix("whpk_"), validate=True))
    v1, v1a = signed_twice([SECRET])["webhook-signature"].split(" ")

    assert v1 == signed([SECRET])["webhook-signature"]
    scheme, _, signature = v1a.partition(",")
    assert scheme == "v1a"
    key.verify(base64.b64decode(signature, validate=True), b"dlv_1.%d.%b" % (NOW, BODY))


def test_a_secret_has_the_same_public_key_for_ever() -> None:
    assert public_key(SECRET) == "whpk_HO5VYIJ+pEXVpDceeibWjenytUlYR0OCDplBgKg2hro="


def test_the_reference_library_accepts_a_request_that_has_v1a_too() -> None:
    headers = signed_twice([SECRET], b"{}", at=int(datetime.now(UTC).timestamp()))

    assert Webhook(SECRET).verify(b"{}", headers) == {}


@pytest.mark.parametrize("secret", [SECRET, OTHER], ids=["the one before", "the new one"])
def test_either_public_key_verifies_during_a_rotation(secret: str) -> None:
    verify([public_key(secret)], signed_twice([OTHER, SECRET]), BODY, NOW)


@pytest.mark.parametrize(
    ("headers", "body", "problem"),
    [
        (signed_twice([SECRET]), b"{}", "no signature in webhook-signature fits"),
        (signed_twice([OTHER]), BODY, "no signature in webhook-signature fits"),
        (signed_twice([SECRET]) | {"webhook-signature": "v1a,AAAA v1a,é"}, BODY, "has characters that"),
        (signed([SECRET]), BODY, "holds no signature of scheme v1a"),
    ],
)
def test_a_public_key_verifies_only_what_its_secret_signed(
    headers: dict[str, str], body: bytes, problem: str
) -> None:
    with pytest.raises(BadSignature, match=problem):
        verify([public_key(SECRET)], headers, body, NOW)


def test_a_public_key_signs_nothing() -> None:
    with pytest.raises(ValueError, match="expected a secret"):
        Signer([public_key(SECRET)])


@pytest.mark.parametrize("key", ["whpk_", "whpk_AAAA", "whpk_not base64"])
def test_a_malformed_public_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="expected a public key of whpk_ and 32 bytes in base64"):
        verify([key], signed_twice([SECRET]), BODY, NOW)


def test_a_new_secret_holds_32_bytes_and_is_never_the_same() -> None:
    secret = new_secret()

    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert secret != new_secret()


def test_a_signer_does_not_show_its_keys() -> None:
    assert SECRET.removeprefix("whsec_") not in repr(vars(Signer([SECRET])))
