"""Signatures for receivers that were made for another sender: GitHub's, and any HMAC of the body in a header."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from dispatcher.domain.digests import DigestPolicy, Gathered
from dispatcher.domain.ids import new_id
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.signing import new_secret
from dispatcher.targets.webhook.body_signature import BodySigner, GithubSignature, HmacSignature
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from dispatcher.targets.webhook.sender import WebhookSender
from tests.factories import SECRET, make_event, make_subscription
from tests.receiver import Receiver

SHA512 = (
    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
    "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
)


def test_the_vector_that_github_documents_has_its_documented_signature() -> None:
    line = BodySigner(GithubSignature(), "It's a Secret to Everybody").line(b"Hello, World!")

    assert line == (
        b"X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n"
    )


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        ("sha512", SHA512),
    ],
)
def test_the_published_vectors_of_hmac_have_their_signatures(algorithm: str, digest: str) -> None:
    """Test case 2 of RFC 2202 and RFC 4231."""
    signature = msgspec.convert({"scheme": "hmac", "header": "X-A", "algorithm": algorithm}, HmacSignature)

    assert (
        BodySigner(signature, "Jefe").line(b"what do ya want for nothing?") == f"X-A: {digest}\r\n".encode()
    )


@given(body=st.binary(), prefix=st.sampled_from(["", "sha512=", "HMAC "]))
def test_base64_and_a_prefix_decode_to_the_same_digest(body: bytes, prefix: str) -> None:
    signature = HmacSignature("Authorization", "sha512", "base64", prefix)
    line = BodySigner(signature, SECRET).line(body).decode()

    assert line.startswith(f"Authorization: {prefix}")
    assert line.endswith("\r\n")
    encoded = line.removeprefix(f"Authorization: {prefix}").removesuffix("\r\n")
    assert base64.b64decode(encoded, validate=True) == hmac.digest(SECRET.encode(), body, hashlib.sha512)


def sender(egress: Egress, receiver: Receiver, signature: dict[str, str], **fields: object) -> WebhookSender:
    kind = WebhookKind(egress)
    target = {"kind": "webhook", "url": receiver.url, "signature": signature, **fields}
    kind.check(msgspec.convert(target, WebhookTarget))
    return kind.sender(make_subscription(target=target, digest=DigestPolicy()))


def github(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"body": {"text": "${EVENT}"}},
        {"format": "binary"},
        {"method": "GET"},
        {"headers": {"X-A": "${EVENT}"}},
    ],
)
async def test_a_request_has_both_signatures_of_the_body_that_is_sent(
    egress: Egress, receiver: Receiver, fields: dict[str, object]
) -> None:
    sending = sender(egress, receiver, {"scheme": "github"}, **fields)
    result = await sending.send(make_event(), new_id("dlv"), 1)

    [arrived] = receiver.arrived
    assert result.error is None
    assert arrived.headers["x-hub-signature-256"] == github(arrived.body)
    assert (arrived.body == b"") == ("method" in fields)
    signature = Webhook(SECRET).sign(
        arrived.id,
        datetime.fromtimestamp(int(arrived.headers["webhook-timestamp"]), UTC),
        arrived.body.decode(),
    )
    assert arrived.headers["webhook-signature"] == signature


async def test_a_digest_is_signed_as_a_whole(egress: Egress, receiver: Receiver) -> None:
    gathered = [Gathered(new_id("dlv"), make_event(), None) for _ in range(2)]
    await sender(egress, receiver, {"scheme": "github"}).send_digest(gathered, 1)

    [arrived] = receiver.arrived
    assert arrived.headers["x-hub-signature-256"] == github(arrived.body)


async def test_the_header_algorithm_and_encoding_are_those_of_the_target(
    egress: Egress, receiver: Receiver
) -> None:
    signature = {
        "scheme": "hmac",
        "header": "X-Shop-Hmac",
        "algorithm": "sha1",
        "encoding": "base64",
        "prefix": "v0=",
    }
    await sender(egress, receiver, signature).send(make_event(), new_id("dlv"), 1)

    [arrived] = receiver.arrived
    expected = base64.b64encode(hmac.digest(SECRET.encode(), arrived.body, "sha1")).decode()
    assert arrived.headers["x-shop-hmac"] == f"v0={expected}"


async def test_during_a_rotation_the_newest_secret_signs(egress: Egress, receiver: Receiver) -> None:
    newest = new_secret()
    subscription = make_subscription(
        target={"kind": "webhook", "url": receiver.url, "signature": {"scheme": "github"}},
        secrets=(newest, SECRET),
        previous_secret_until=datetime.now(UTC) + timedelta(hours=1),
    )
    await WebhookKind(egress).sender(subscription).send(make_event(), new_id("dlv"), 1)

    [arrived] = receiver.arrived
    assert arrived.headers["x-hub-signature-256"] == github(arrived.body, newest)
    assert len(arrived.headers["webhook-signature"].split(" ")) == 2


async def test_a_target_shows_its_signature_and_has_no_public_key(egress: Egress) -> None:
    kind = WebhookKind(egress)
    document = {
        "kind": "webhook",
        "url": "https://example.org/",
        "signature": {"scheme": "hmac", "header": "X-Signature"},
    }
    shown = kind.redact(msgspec.convert(document, WebhookTarget))

    assert shown["signature"] == {
        "scheme": "hmac",
        "header": "X-Signature",
        "algorithm": "sha256",
        "encoding": "hex",
        "prefix": "",
    }
