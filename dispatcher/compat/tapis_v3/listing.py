"""Lists of subscriptions in the shape of Tapis v3: whose, in which order, which part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.tapis_v3.authentication import Caller
from dispatcher.compat.tapis_v3.conditions import Attributes, Predicate, Searched
from dispatcher.compat.tapis_v3.envelope import V3Request
from dispatcher.compat.tapis_v3.views import SEARCHED, attributes, selected, view
from dispatcher.domain.errors import Forbidden, InvalidInput

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
"""Items in a list, also when -1 asks for all."""

MAX_ORDERS = 5
_ORDER = re.compile(r"(?P<name>[A-Za-z_]+)(?:\((?P<direction>asc|desc)\))?", re.IGNORECASE)
_FLAGS = {"true": True, "false": False}

T = TypeVar("T")

Order = tuple[str, bool]
"""An attribute, and whether from the highest to the lowest."""


def owner_in(caller: Caller, query: Mapping[str, str]) -> str:
    """Whose subscriptions are meant. Raises Forbidden for another's unless the caller is a service or an admin."""
    owner = query.get("ownedBy") or caller.key.owner
    if owner != caller.key.owner and not caller.trusted:
        raise Forbidden(f"ownedBy: expected {caller.key.owner!r}; only services and admins may name another")
    return owner


def owner_or_any(caller: Caller, query: Mapping[str, str]) -> str | None:
    """The same; None for every owner, with `anyOwner`."""
    if not flag(query, "anyOwner"):
        return owner_in(caller, query)
    if not caller.may_name_any_owner:
        raise Forbidden("anyOwner: only services and admins' keys may set it; name one owner in ownedBy")
    return None


async def listed(request: V3Request, wanted: Predicate, owner: str | None) -> CompatResponse:
    """The part of the list that the query asks for."""
    chosen = selected(request.query.get("select"), "summaryAttributes")
    stored = await request.repository.listed(request.caller.key.tenant, owner)
    found = [(one, attributes(one)) for one in stored]
    shown, metadata = part_of(found, wanted, request.query, SEARCHED)
    members = await request.repository.members(shown)
    return CompatResponse(
        message=f"{len(shown)} subscriptions",
        result=[view(one, members, request.services.kinds, chosen) for one in shown],
        metadata=metadata,
    )


def part_of(
    items: Sequence[tuple[T, Attributes]], wanted: Predicate, query: Mapping[str, str], searched: Searched
) -> tuple[list[T], dict[str, object]]:
    """The items that a query asks for, in its order, and what Tapis says of the list. Raises InvalidInput."""
    limit, skip, orders = limit_in(query), number(query, "skip", 0), _orders(query, searched)
    found = [(one, values) for one, values in items if wanted(values)]
    for name, falling in reversed(orders):
        found.sort(key=lambda pair: _key(pair[1][name]), reverse=falling)
    total = len(found)
    found = _after(found, orders, query, searched)
    shown = [one for one, _ in found[skip : skip + limit]]
    return shown, {
        "recordCount": len(shown),
        "recordLimit": limit,
        "recordsSkipped": skip,
        "orderBy": query.get("orderBy"),
        "startAfter": query.get("startAfter"),
        "totalCount": total if flag(query, "computeTotal") else -1,
    }


def flag(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is true or false, false when absent. Raises InvalidInput."""
    text = query.get(name, "false").lower()
    if text not in _FLAGS:
        raise InvalidInput(name, f"expected true or false, got {text[:40]!r}")
    return _FLAGS[text]


def number(query: Mapping[str, str], name: str, default: int, lowest: int = 0) -> int:
    """A parameter that is a whole number. Raises InvalidInput."""
    text = query.get(name, str(default))
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9 and int(text) >= lowest):
        raise InvalidInput(name, f"expected a whole number from {lowest} on, got {text[:40]!r}")
    return int(text)


def limit_in(query: Mapping[str, str]) -> int:
    """How many items are wanted. Raises InvalidInput."""
    limit = number(query, "limit", DEFAULT_LIMIT, -1)
    return MAX_LIMIT if limit == -1 else min(limit, MAX_LIMIT)


def _orders(query: Mapping[str, str], searched: Searched) -> list[Order]:
    parts = [part.strip() for part in query.get("orderBy", "").split(",") if part.strip()]
    if len(parts) > MAX_ORDERS:
        raise InvalidInput("orderBy", f"expected at most {MAX_ORDERS} attributes, got {len(parts)}")
    orders: list[Order] = []
    for part in parts:
        order = _ORDER.fullmatch(part)
        if order is None:
            raise InvalidInput(
                "orderBy", f"expected an attribute, perhaps with (asc) or (desc), got {part[:80]!r}"
            )
        orders.append((searched.attribute(order["name"]), (order["direction"] or "").lower() == "desc"))
    return orders


def _after(
    found: list[tuple[T, Attributes]], orders: list[Order], query: Mapping[str, str], searched: Searched
) -> list[tuple[T, Attributes]]:
    start = query.get("startAfter")
    if not start:
        return found
    if not orders:
        raise InvalidInput("startAfter", "expected orderBy beside it")
    if query.get("skip", "0") != "0":
        raise InvalidInput("startAfter", "expected either startAfter or skip")
    name, falling = orders[0]
    first = _key(searched.value_of(name, start))
    if falling:
        return [pair for pair in found if _key(pair[1][name]) < first]
    return [pair for pair in found if _key(pair[1][name]) > first]


def _key(value: object) -> tuple[bool, str]:
    """What values are sorted by: those that are missing come first."""
    if isinstance(value, datetime):
        return True, value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return True, f"{value + 10**12:013}"
    return value is not None, str(value).lower() if isinstance(value, bool) else str(value or "")
