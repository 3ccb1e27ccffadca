"""Who is calling in the shape of Tapis v3: X-Tapis-Token is a token of Tapis, or one of our API keys."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.api.auth import authenticate
from dispatcher.api.problems import Refusal, unauthorized
from dispatcher.api.services import Services
from dispatcher.compat.tapis_v3.jwt import Tokens
from dispatcher.domain.events import check_text, utc_now
from dispatcher.domain.keys import ApiKey, Scope
from dispatcher.domain.subscriptions import EVERY_OWNER

TOKEN, OBO_TENANT, OBO_USER = "X-Tapis-Token", "X-Tapis-Tenant", "X-Tapis-User"


class Caller(Struct, frozen=True, kw_only=True):
    """Who is calling, as one of our keys would say it.

    A service, or an admin's key, acts for the user and tenant in its headers: they are in `key` already.
    `service` is the name that a service's token has, None for all others. A `tenant_admin` is a user with a token who
    administers the tenant.
    """

    key: ApiKey
    by_token: bool = False
    service: str | None = None
    tenant_admin: bool = False
    reach: frozenset[str] | None = frozenset()
    """Further tenants that it may publish for, None for every one."""

    @property
    def trusted(self) -> bool:
        """Whether it may do for other owners what it may do for its own."""
        return self.key.admin

    @property
    def may_name_any_owner(self) -> bool:
        """Whether it may ask for what all owners have at once. A user who administers the tenant names one."""
        return self.key.admin and not self.tenant_admin

    def may(self, scope: Scope) -> bool:
        """Whether it may do this at all. No user publishes events, not even an administrator."""
        return self.key.may(scope) and not (self.tenant_admin and scope == "publish")

    @property
    def may_send_events(self) -> bool:
        """Whether it may send user events to jobs that it sees: with every token, as in Tapis."""
        return self.by_token or self.key.may("publish")

    def may_reach(self, tenant: str) -> bool:
        """Whether it may publish events of this tenant."""
        return tenant == self.key.tenant or self.reach is None or tenant in self.reach


async def caller_of(headers: Mapping[str, str], services: Services, tokens: Tokens | None) -> Caller:
    """The caller; without `tokens` API keys alone are accepted. Raises Refusal (401)."""
    token = headers.get(TOKEN)
    if token is None and "Authorization" not in headers:
        raise unauthorized(f"{TOKEN} is missing: expected a token of Tapis or an API key")
    if token is not None and token.count(".") == 2:
        return _with_token(token, headers, tokens)
    authorization = headers.get("Authorization") if token is None else f"Bearer {token}"
    key = await authenticate(authorization, services)
    if headers.get(OBO_TENANT, key.tenant) != key.tenant:
        raise _refused(f"{OBO_TENANT}: expected {key.tenant}, the tenant of the key")
    return Caller(key=_for_user(key, headers))


def _with_token(token: str, headers: Mapping[str, str], tokens: Tokens | None) -> Caller:
    if tokens is None:
        raise _refused(f"{TOKEN}: no tokens of Tapis are accepted here, only API keys (see tapis.keys)")
    claims = tokens.claims(token)
    tenant = headers.get(OBO_TENANT, claims.tenant)
    key = ApiKey(
        id="token",
        name="token",
        owner=claims.user,
        tenant=check_text("tenant", tenant),
        scopes=("admin",) if claims.service else ("subscribe",),
        created_at=utc_now(),
    )
    if tenant != claims.tenant and not claims.service:
        raise _refused(f"{OBO_TENANT}: expected {claims.tenant}, the tenant of the token")
    if claims.reach is not None and tenant not in claims.reach:
        raise _refused(
            f"{OBO_TENANT}: expected one of {', '.join(sorted(claims.reach))}, got {tenant[:80]!r}"
        )
    key = _for_user(key, headers)
    if claims.service:
        return Caller(key=key, by_token=True, service=claims.user, reach=claims.reach)
    if claims.admin:
        return Caller(key=replace(key, scopes=("admin",)), by_token=True, tenant_admin=True)
    return Caller(key=key, by_token=True)


def _for_user(key: ApiKey, headers: Mapping[str, str]) -> ApiKey:
    """The key as it acts for the user in the headers."""
    user = headers.get(OBO_USER, key.owner)
    if user == EVERY_OWNER:
        raise _refused(f"{EVERY_OWNER} is no user: it means every owner")
    if user != key.owner and not key.admin:
        raise _refused(f"{OBO_USER}: expected {key.owner}; only services act for others")
    return replace(key, owner=check_text("owner", user))


def _refused(problem: str) -> Refusal:
    return Refusal(HTTPStatus.UNAUTHORIZED, problem)
