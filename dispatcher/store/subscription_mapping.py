"""Subscriptions as rows: what is secret sealed, and those in use kept ready in memory.

A subscription is looked for by its match key and found as id and revision; only one that is not in memory
with that revision is read and unsealed. So nothing has to be invalidated, and the same revision is the same
object as long as it is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
import structlog
from cachetools import LRUCache
from msgspec import Struct

from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.encryption import Sealer
from dispatcher.store.mapping import Row, safe, safe_or_none
from dispatcher.telemetry.metrics import INTERNAL_ERRORS

log = structlog.get_logger("dispatcher.store")

IN_MEMORY = 10_000

UNREADABLE = "unreadable"
"""The kind of a target that no key opens any more, or that is not what it was."""


class _Details(Struct, frozen=True):
    """What needs no column."""

    name: str
    events: tuple[str, ...]
    owner: str
    filters: tuple[Mapping[str, object], ...]
    retry: RetryPolicy
    ordered: bool
    persistent: bool
    metadata: Mapping[str, object]
    previous_secret_until: datetime | None
    rate_limit: RateLimit | None = None
    digest: DigestPolicy | None = None


class _Secret(Struct, frozen=True):
    """What only the service may read: a target can hold credentials, and its URL can be one."""

    target: Mapping[str, object]
    secrets: tuple[str, ...]


_encode = msgspec.json.Encoder().encode
_decode_details = msgspec.json.Decoder(_Details).decode
_decode_secret = msgspec.json.Decoder(_Secret).decode

_COLUMNS = (
    *("id", "revision", "tenant", "subscriber", "job_id", "destination"),
    *("status", "status_reason", "expires_at", "created_at", "updated_at"),
)


class SubscriptionRows:
    """Between subscriptions and their rows. Belongs to the event loop: its memory is not locked."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._ready: LRUCache[str, Subscription] = LRUCache(IN_MEMORY)
        self._logged: LRUCache[str, int] = LRUCache(IN_MEMORY)

    def row(self, subscription: Subscription) -> dict[str, object]:
        """The row of a subscription."""
        columns = {name: getattr(subscription, name) for name in _COLUMNS}
        texts = ("tenant", "subscriber", "destination")
        details = _Details(**{name: getattr(subscription, name) for name in _Details.__struct_fields__})
        secret = _Secret(subscription.target, subscription.secrets)
        return columns | {
            **{name: safe(columns[name]) for name in texts},
            "job_id": safe_or_none(subscription.job_id),
            "status_reason": safe_or_none(subscription.status_reason),
            "match_key": safe(subscription.match_key),
            "details": _encode(details),
            "sealed": self._sealer.seal(_encode(secret)),
        }

    def ready(self, subscription_id: str, revision: int) -> Subscription | None:
        """This revision, if it is in memory."""
        kept = self._ready.get(subscription_id)
        return kept if kept is not None and kept.revision == revision else None

    def restore(self, row: Row) -> Subscription:
        """The subscription of a row. SettingsError when no key opens what is sealed."""
        kept = self.ready(row["id"], row["revision"])
        if kept is not None:
            return kept
        restored = _subscription(row, _decode_secret(self._sealer.open(row["sealed"])))
        self._ready[restored.id] = restored
        return restored

    def restore_for_delivery(self, row: Row) -> Subscription | None:
        """The same for delivering, which goes on with the others whatever is wrong with one.

        When its secrets cannot be read its target has the kind UNREADABLE: its deliveries end with the reason. None
        when nothing can be read.
        """
        try:
            return self.restore(row)
        except Exception:
            INTERNAL_ERRORS.labels("restore").inc()
            if self._logged.get(row["id"]) != row["revision"]:
                self._logged[row["id"]] = row["revision"]
                log.exception("a subscription cannot be read", subscription=row["id"])
        try:
            return _subscription(row, _Secret({"kind": UNREADABLE}, ()))
        except (msgspec.MsgspecError, ValueError):
            return None


def _subscription(row: Row, secret: _Secret) -> Subscription:
    details = _decode_details(row["details"])
    return Subscription(
        **{name: row[name] for name in _COLUMNS},
        **msgspec.structs.asdict(details),
        **msgspec.structs.asdict(secret),
    )
