"""Ids as Tapis v2 (Agave) writes them: `<sequence>-<node>-0001-<type>`, made from ours and read back."""

from __future__ import annotations

import re

JOB = "007"
NOTIFICATION = "011"
ATTEMPT = "042"

_ID = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-([0-9]{4,6})-(011|042)")


def notification_uuid(subscription_id: str) -> str:
    """The id that a subscription has as a notification."""
    return _uuid(subscription_id, 1, NOTIFICATION)


def attempt_uuid(delivery_id: str, number: int) -> str:
    """The id of a delivery's attempt, counted from 1."""
    return _uuid(delivery_id, number, ATTEMPT)


def subscription_id(uuid: str) -> str | None:
    """The subscription that a notification's id means, or None when it is no such id."""
    found = _ID.fullmatch(uuid)
    if found is None or found[3] != "0001" or found[4] != NOTIFICATION:
        return None
    return f"sub_{found[1]}{found[2]}"


def attempt_of(uuid: str) -> tuple[str, int] | None:
    """The delivery and the number of an attempt's id, or None when it is no such id."""
    found = _ID.fullmatch(uuid)
    if found is None or found[4] != ATTEMPT:
        return None
    return f"dlv_{found[1]}{found[2]}", int(found[3])


def _uuid(native: str, number: int, kind: str) -> str:
    digits = native.partition("_")[2]
    return f"{digits[:16]}-{digits[16:]}-{number:04}-{kind}"
