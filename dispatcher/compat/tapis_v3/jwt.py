"""Tokens of Tapis: JWTs that are checked with public keys from a file, and what they say of who is calling."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from dispatcher.api.problems import Refusal, unauthorized
from dispatcher.domain.errors import InvalidInput, SettingsError
from dispatcher.domain.events import check_text

MAX_TOKEN = 16 * 1024
MAX_KEYS = 100
LEEWAY = 10
"""Seconds that clocks may differ."""

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
_MIN_RSA = 2048
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_ALGORITHMS = (*_RSA, *_CURVES.values(), "EdDSA")

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class Claims(Struct, frozen=True, kw_only=True):
    """Who a token is of. `reach` are the tenants that its key may speak for, None for every one.

    `admin` is a user who administers the tenant.
    """

    tenant: str
    user: str
    service: bool
    reach: frozenset[str] | None
    admin: bool = False


class TokenKey(Struct, frozen=True, kw_only=True):
    """A public key, with what its owner may sign."""

    key: PublicKey
    algorithms: Sequence[str]
    kid: str | None = None
    tenants: frozenset[str] | None = None


class Tokens:
    """Checks tokens against these keys and issuers; without issuers any will do. `admins` are written user@tenant."""

    def __init__(
        self, keys: Sequence[TokenKey], issuers: Sequence[str] = (), admins: Sequence[str] = ()
    ) -> None:
        self._keys = keys
        self._issuers = issuers
        self._admins = frozenset(admins)

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    def claims(self, token: str) -> Claims:
        """What a token says. Raises Refusal (401) unless it is whole, valid now, and of a known key."""
        if len(token) > MAX_TOKEN:
            raise _refused(f"it has more than {MAX_TOKEN} characters")
        found, key = self._verified(token)
        if found.get("tapis/token_type", "access") != "access":
            raise _refused("it is a refresh token: expected an access token")
        tenant, user = _text(found, "tapis/tenant_id", "tenant"), _text(found, "tapis/username", "owner")
        kind = found.get("tapis/account_type", "user")
        if kind not in ("user", "service"):
            raise _refused("its claim tapis/account_type is neither user nor service")
        if key.tenants is not None and tenant not in key.tenants:
            raise _refused(
                f"its key signs tokens of {', '.join(sorted(key.tenants))} only, not of {tenant!r}"
            )
        service = kind == "service"
        admin = not service and f"{user}@{tenant}" in self._admins
        return Claims(tenant=tenant, user=user, service=service, reach=key.tenants, admin=admin)

    def _verified(self, token: str) -> tuple[Mapping[str, object], TokenKey]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise _refused("it is no JWT") from None
        if header.get("alg") not in _ALGORITHMS:
            named = str(header.get("alg"))[:20]
            raise _refused(f"its algorithm is {named!r}, expected one of {', '.join(_ALGORITHMS)}")
        for key in self._candidates(header):
            try:
                return self._decoded(token, key), key
            except jwt.InvalidSignatureError:
                continue
        raise _refused("its signature is of none of the configured keys")

    def _candidates(self, header: Mapping[str, object]) -> list[TokenKey]:
        """The keys that may have signed: those of the algorithm, of them those of the name if any has it."""
        fitting = [key for key in self._keys if header["alg"] in key.algorithms]
        named = [key for key in fitting if key.kid is not None and key.kid == header.get("kid")]
        return named or fitting

    def _decoded(self, token: str, key: TokenKey) -> Mapping[str, object]:
        try:
            claims: Mapping[str, object] = jwt.decode(
                token,
                key.key,
                algorithms=list(key.algorithms),
                issuer=list(self._issuers) or None,
                leeway=LEEWAY,
                options={"require": ["exp", "iss"] if self._issuers else ["exp"], "verify_aud": False},
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.ExpiredSignatureError:
            raise _refused("it has expired") from None
        except jwt.InvalidIssuerError:
            raise _refused("its issuer is none of tapis.issuers") from None
        except jwt.InvalidTokenError as error:
            raise _refused(str(error)) from None
        return claims


def read_tokens(path: Path, issuers: Sequence[str] = (), admins: Sequence[str] = ()) -> Tokens:
    """Tokens that are checked with the keys in a file: a JWK set, or public keys in PEM.

    A JWK may name its `tenants`, those whose tokens it signs. Raises SettingsError that says what is wrong.
    """
    try:
        content = path.read_bytes().removeprefix(BOM_UTF8)
    except OSError as error:
        raise SettingsError(f"tapis.keys: {path} cannot be read ({error.strerror})") from None
    try:
        keys = _jwk_set(content) if content.lstrip().startswith(b"{") else _pem_keys(content)
    except (ValueError, jwt.PyJWTError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"tapis.keys: {path}: {error}; expected a JWK set or PEM blocks with public keys"
        ) from None
    if not 0 < len(keys) <= MAX_KEYS:
        raise SettingsError(f"tapis.keys: {path} holds {len(keys)} keys, expected 1 to {MAX_KEYS}")
    return Tokens(keys, issuers, admins)


class _Jwk(Struct):
    kty: str
    kid: str | None = None
    use: str | None = None
    tenants: list[str] | None = None


class _JwkSet(Struct):
    keys: list[msgspec.Raw]


def _jwk_set(content: bytes) -> list[TokenKey]:
    try:
        documents = msgspec.json.decode(content, type=_JwkSet).keys
        return [_jwk(bytes(one)) for one in documents]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


def _jwk(document: bytes) -> TokenKey:
    named = msgspec.json.decode(document, type=_Jwk)
    members = msgspec.json.decode(document, type=dict[str, object])
    what = f"the key {named.kid!r}"
    if named.kty == "oct" or "d" in members:
        raise ValueError(f"{what} is secret")
    key = jwt.PyJWK.from_dict(members).key
    if not isinstance(key, PublicKey):
        raise ValueError(f"{what} is of the type {named.kty}")
    tenants = None if named.tenants is None else frozenset(named.tenants)
    return TokenKey(key=key, algorithms=_algorithms(key, what), kid=named.kid, tenants=tenants)


def _pem_keys(content: bytes) -> list[TokenKey]:
    if b"PRIVATE KEY" in content:
        raise ValueError("it holds a private key")
    return [_pem_key(block, number) for number, block in enumerate(_PEM.findall(content), 1)]


def _pem_key(block: bytes, number: int) -> TokenKey:
    key, what = load_pem_public_key(block), f"key {number}"
    if not isinstance(key, PublicKey):
        raise ValueError(f"{what} is of another type than RSA, EC and Ed25519")
    return TokenKey(key=key, algorithms=_algorithms(key, what))


def _algorithms(key: PublicKey, what: str) -> Sequence[str]:
    """What a key may be used for: its own kind only, so that no other algorithm can be slipped in."""
    if isinstance(key, RSAPublicKey):
        if key.key_size < _MIN_RSA:
            raise ValueError(f"{what} has {key.key_size} bits, expected {_MIN_RSA} or more")
        return _RSA
    if isinstance(key, EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise ValueError(f"{what} is on the curve {key.curve.name}, expected one of {', '.join(_CURVES)}")
        return (_CURVES[key.curve.name],)
    return ("EdDSA",)


def _text(claims: Mapping[str, object], name: str, field: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise _refused(f"its claim {name} is missing")
    try:
        return check_text(field, value)
    except InvalidInput as error:
        raise _refused(f"its claim {name}: {error.problem}") from None


def _refused(problem: str) -> Refusal:
    return unauthorized(f"the token is not accepted: {problem}")
