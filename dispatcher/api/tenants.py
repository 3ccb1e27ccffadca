"""Whose items an operation shows: those of the key's tenant, and for operators of another one, or of all.

Operators are the admins of the tenant `default`, who make the keys of all others too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from dispatcher.api.access import is_operator
from dispatcher.api.response_lists import TenantList
from dispatcher.domain.errors import Forbidden, InvalidInput, NotFound
from dispatcher.domain.events import DEFAULT_TENANT, check_text
from dispatcher.domain.keys import ApiKey
from dispatcher.store.tenants import TenantRepository

A = TypeVar("A")

PARAMETER = "tenant"
EVERY_TENANT = "*"
DESCRIPTION = (
    f"Tenant whose items are meant, `{EVERY_TENANT}` for all. Only admins of the tenant `{DEFAULT_TENANT}` may name "
    "another one than their key's."
)

MAX_TENANTS = 100
"""Tenants that are looked at for a list of all."""

_NAMED = 5
# Tenants that a hint names.

Act = Callable[[ApiKey], Awaitable[A]]


async def answer_own(act: Act[A], caller: ApiKey, tenants: TenantRepository, *, first: bool) -> A:
    """What the key's tenant has. The error, or an empty `first` page, names other tenants to an operator."""
    try:
        answer = await act(caller)
    except NotFound as error:
        hint = await _hint(caller, tenants)
        raise NotFound(f"{error}; {hint}" if hint else str(error)) from None
    if isinstance(answer, TenantList) and first and not answer.items:
        return replace(answer, hint=await _hint(caller, tenants))
    return answer


async def answer_for(act: Act[A], caller: ApiKey, tenant: str, tenants: TenantRepository, limit: int) -> A:
    """What this tenant has, or all of them have. Raises Forbidden, and InvalidInput when it is not clear which one."""
    if tenant != caller.tenant and not is_operator(caller):
        raise Forbidden(
            f"{PARAMETER}: expected {caller.tenant!r}, the tenant of the key; only admins of the tenant "
            f"{DEFAULT_TENANT} may name another"
        )
    if tenant != EVERY_TENANT:
        return await act(replace(caller, tenant=check_text(PARAMETER, tenant)))
    names = await tenants.names(MAX_TENANTS + 1)
    if len(names) > MAX_TENANTS:
        raise InvalidInput(PARAMETER, f"there are more than {MAX_TENANTS} tenants: name one")
    found = await _found(act, [replace(caller, tenant=name) for name in {*names, caller.tenant}])
    lists = [answer for _, answer in found if isinstance(answer, TenantList)]
    if lists:
        return _merged(lists, limit)  # type: ignore[return-value]  # lists are what one operation answers
    if len(found) > 1:
        several = ", ".join(sorted(name for name, _ in found))
        raise InvalidInput(PARAMETER, f"expected the name of one: {several} have this")
    return found[0][1]


async def _found(act: Act[A], callers: Sequence[ApiKey]) -> list[tuple[str, A]]:
    """What the tenants have, those without it left out. Raises NotFound when none has it."""
    found: list[tuple[str, A]] = []
    missing: NotFound | None = None
    for caller in callers:
        try:
            found.append((caller.tenant, await act(caller)))
        except NotFound as error:
            missing = error
    if not found and missing is not None:
        raise missing
    return found


def _merged(lists: Sequence[TenantList[object]], limit: int) -> TenantList[object]:
    """One page of several: newest first, down to where the first of them ends."""
    ends = [one.next for one in lists if one.next is not None]
    end = max(ends, default=None)
    items = sorted((item for one in lists for item in one.items), key=_cursor, reverse=True)
    if end is not None:
        items = [item for item in items if _cursor(item) >= end]
    if len(items) > limit:
        items = items[:limit]
        end = _cursor(items[-1])
    return replace(lists[0], items=items, next=end)


def _cursor(item: object) -> str:
    """The cursor that goes on after an item; jobs are listed by their first event."""
    return str(getattr(item, "first_event", None) or getattr(item, "id", ""))


async def _hint(caller: ApiKey, tenants: TenantRepository) -> str | None:
    if not is_operator(caller):
        return None
    others = [name for name in await tenants.names(_NAMED + 2) if name != caller.tenant]
    if not others:
        return None
    more = ", …" if len(others) > _NAMED else ""
    return (
        f"this is of the tenant {caller.tenant} only; there are others: {', '.join(others[:_NAMED])}{more} "
        f"(name one with {PARAMETER}, or {EVERY_TENANT} for all)"
    )
