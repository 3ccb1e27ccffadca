"""Paths into an event's data: an object's key or a list's index at each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# The data of a plain event has these fields; the publisher's own stands in the last of them, or beside it in base64.
_PLAIN_FIELDS = frozenset({"event", "status", "message", "job", "data"})
_PLAIN_WITH_BYTES = _PLAIN_FIELDS | {"data_base64"}


def is_plain(data: Mapping[str, object]) -> bool:
    """Whether the data of an event has the fields that it gets when it comes in plain form."""
    return data.keys() in (_PLAIN_FIELDS, _PLAIN_WITH_BYTES)


def value_at(data: object, path: Sequence[str]) -> object:
    """What stands at a path in decoded JSON; None when nothing, or null, stands there."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else _item(data, step)
    return data


def value_in_data(data: object, path: Sequence[str]) -> object:
    """The same in the data of an event, or else in the publisher's own, if it came in plain form."""
    found = value_at(data, path)
    if found is None and isinstance(data, dict) and is_plain(data):
        return value_at(data["data"], path)
    return found


def _item(node: object, step: str) -> object:
    # Nine digits are more than any list has, and keep int() cheap.
    if isinstance(node, list) and len(step) <= 9 and step.isascii() and step.isdigit():
        return node[int(step)] if int(step) < len(node) else None
    return None
