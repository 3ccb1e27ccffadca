"""Grouping: into which digest each new delivery goes, worked out before it is stored."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.digests import GroupValues, group_id
from dispatcher.telemetry.metrics import INTERNAL_ERRORS

log = structlog.get_logger("dispatcher.intake")


def grouped(new: Sequence[OpenDelivery]) -> list[OpenDelivery]:
    """These deliveries, with the group of each whose subscription gathers. Those of one event should stand together."""
    found: list[OpenDelivery] = []
    values: GroupValues | None = None
    key = ""
    for one in new:
        if one.subscription.digest is None:
            found.append(one)
            continue
        if values is None or one.event.key != key:
            key, values = one.event.key, GroupValues(one.event)
        found.append(replace(one, group=_group(one, values)))
    return found


def _group(new: OpenDelivery, values: GroupValues) -> bytes:
    """The group of one delivery; that of no values when they cannot be worked out: it must not stop the others."""
    names = () if new.subscription.digest is None else new.subscription.digest.group_by
    try:
        return group_id(new.subscription.id, values.of(names))
    except Exception as error:
        INTERNAL_ERRORS.labels("group").inc()
        log.error(
            "internal error",
            where="group",
            subscription=new.subscription.id,
            event_id=new.event.key,
            exc_info=error,
        )
        return group_id(new.subscription.id, ())
