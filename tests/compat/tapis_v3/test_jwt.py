"""Tokens of Tapis: whose are accepted, and why the others are refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dispatcher.api.problems import Refusal
from dispatcher.compat.tapis_v3.jwt import Claims, Tokens, read_tokens
from dispatcher.domain.errors import SettingsError

ISSUER = "https://dev.tapis.io/v3/tokens"
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def claims(**changes: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "iss": ISSUER,
        "exp": time.time() + 600,
        "tapis/tenant_id": "dev",
        "tapis/username": "alice",
        "tapis/account_type": "user",
        "tapis/token_type": "access",
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def signed(key: Any = RSA, algorithm: str = "RS256", kid: str | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid} if kid else None)


def jwk(key: Any, **members: object) -> dict[str, object]:
    kind = {rsa.RSAPublicKey: "RSA", ec.EllipticCurvePublicKey: "EC"}
    public = key.public_key()
    name = next((name for one, name in kind.items() if isinstance(public, one)), "OKP")
    algorithms: dict[str, Any] = {
        "RSA": jwt.algorithms.RSAAlgorithm,
        "EC": jwt.algorithms.ECAlgorithm,
        "OKP": jwt.algorithms.OKPAlgorithm,
    }
    document: dict[str, object] = json.loads(algorithms[name].to_jwk(public))
    return document | members


def pem(key: Any) -> bytes:
    public: bytes = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    return public


Reader = Callable[..., Tokens]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    def read(*keys: dict[str, object], issuers: tuple[str, ...] = (ISSUER,)) -> Tokens:
        path = tmp_path / "keys.json"
        path.write_text(json.dumps({"keys": keys}))
        return read_tokens(path, issuers)

    return read


def refusal(tokens: Tokens, token: str) -> str:
    with pytest.raises(Refusal) as refused:
        tokens.claims(token)
    assert refused.value.status == 401
    return str(refused.value).removeprefix("the token is not accepted: ")


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "RS512"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA")]
)
def test_a_token_of_a_configured_key_says_who_is_calling(reader: Reader, key: Any, algorithm: str) -> None:
    found = reader(jwk(OTHER), jwk(key)).claims(signed(key, algorithm))
    assert found == Claims(tenant="dev", user="alice", service=False, reach=None)


def test_a_service_says_that_it_is_one(reader: Reader) -> None:
    assert reader(jwk(RSA)).claims(signed(**{"tapis/account_type": "service"})).service


def test_keys_may_be_pem_blocks(tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    path.write_bytes(pem(OTHER) + pem(RSA) + pem(EC))
    tokens = read_tokens(path)
    assert tokens.claims(signed()).user == tokens.claims(signed(EC, "ES256")).user == "alice"


def test_a_file_of_an_editor_that_marks_utf_8_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"keys": [jwk(RSA)]}).encode())
    assert read_tokens(path).claims(signed()).user == "alice"


def test_a_forged_expired_or_unfit_token_is_refused_with_the_reason(reader: Reader) -> None:
    tokens = reader(jwk(RSA))
    body = signed().split(".")[1]
    forged = f"{signed().rpartition('.')[0]}.{signed(OTHER).rpartition('.')[2]}"
    assert refusal(tokens, forged) == "its signature is of none of the configured keys"
    assert refusal(tokens, signed(OTHER)) == "its signature is of none of the configured keys"
    assert refusal(tokens, signed(exp=time.time() - 60)) == "it has expired"
    assert "exp" in refusal(tokens, signed(exp=None))
    assert refusal(tokens, signed(iss="https://evil.example")) == "its issuer is none of tapis.issuers"
    assert "iss" in refusal(tokens, signed(iss=None))
    assert refusal(tokens, "no.jwt.really") == "it is no JWT"
    assert refusal(tokens, f"..{body}") == "it is no JWT"
    assert refusal(tokens, "a" * 20_000) == "it has more than 16384 characters"
    unnamed: dict[str, Any] = {"tapis/username": None}
    assert refusal(tokens, signed(**unnamed)) == "its claim tapis/username is missing"
    assert "no control characters" in refusal(tokens, signed(**{"tapis/username": "a\nb"}))
    assert refusal(tokens, signed(**{"tapis/token_type": "refresh"})).startswith("it is a refresh token")


def test_no_token_is_accepted_without_a_signature(reader: Reader) -> None:
    unsigned = jwt.encode(claims(), "", "none")
    assert refusal(reader(jwk(RSA)), unsigned).startswith("its algorithm is 'none', expected one of RS256")


def test_a_public_key_is_no_secret_to_sign_with(reader: Reader) -> None:
    # The attack: the verifier takes the public key, which everybody has, for the secret of an HMAC.
    header, body = (
        jwt.utils.base64url_encode(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims())
    )
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        header + b"." + body, pem(RSA)
    )
    token = b".".join((header, body, jwt.utils.base64url_encode(signature))).decode()
    assert refusal(reader(jwk(RSA)), token).startswith("its algorithm is 'HS256'")


def test_a_key_that_names_its_tenants_speaks_for_no_other(reader: Reader) -> None:
    tokens = reader(jwk(RSA, tenants=["dev"]), jwk(OTHER))
    assert tokens.claims(signed()).reach == frozenset({"dev"})
    assert (
        refusal(tokens, signed(**{"tapis/tenant_id": "prod"}))
        == "its key signs tokens of dev only, not of 'prod'"
    )
    assert tokens.claims(signed(OTHER, **{"tapis/tenant_id": "prod"})).tenant == "prod"


def test_a_key_id_chooses_the_key_when_it_is_known(reader: Reader) -> None:
    tokens = reader(jwk(RSA, kid="one"), jwk(OTHER, kid="two"))
    assert tokens.claims(signed(kid="one")).user == "alice"
    assert tokens.claims(signed(kid="unknown")).user == "alice"
    assert refusal(tokens, signed(kid="two")) == "its signature is of none of the configured keys"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds 0 keys"),
        (b"{", "truncated"),
        (b'{"keys": []}', "holds 0 keys"),
        (b'{"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]}', "the key 's' is secret"),
        (b'{"keys": [{"kty": "RSA", "d": "AQAB"}]}', "is secret"),
        (b'{"keys": [{"kty": "what"}]}', "expected a JWK set or PEM blocks"),
        (b"-----BEGIN PRIVATE KEY-----", "it holds a private key"),
        (json.dumps({"keys": [jwk(rsa.generate_private_key(65537, 1024))]}).encode(), "has 1024 bits"),  # noqa: S505 - that is the point
    ],
)
def test_a_file_that_cannot_serve_stops_the_start(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=problem) as stopped:
        read_tokens(path)
    assert str(stopped.value).startswith("tapis.keys: ")


def test_a_file_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"tapis.keys: .* cannot be read \(No such file"):
        read_tokens(tmp_path / "none")
