"""The ready-made targets of subscriptions, and one attempt through them, with all that goes in one message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cachetools import LRUCache

from dispatcher.delivery.internal_errors import InternalError
from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.digests import Gathered
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult, DigestSender, Sender, TargetKind

STORE_WAIT = 1.0
"""Seconds to wait while the store is away."""


class DigestStore(Protocol):
    """What digests need of the store; see `dispatcher.store.digests.DigestRepository`."""

    async def take(self, leader: str) -> list[Gathered]: ...


class SenderCache:
    """The senders of the subscriptions that were delivered to last."""

    def __init__(self, digests: DigestStore, kinds: Mapping[str, TargetKind]) -> None:
        self._digests = digests
        self._kinds = kinds
        self._ready: LRUCache[str, tuple[int, Sender, DigestSender | None]] = LRUCache(10_000)

    async def send(self, delivery: OpenDelivery, number: int) -> tuple[AttemptResult, int]:
        """The result of attempt `number`, and how many other deliveries it was for.

        InternalError for whatever a target kind raises.
        """
        subscription = delivery.subscription
        try:
            sender, gathering = self._sender(subscription)
            if gathering is not None:
                others = await self._digests.take(delivery.id)
                if others:
                    together = [Gathered(delivery.id, delivery.event, delivery.attempt_state), *others]
                    return await gathering.send_digest(together, number), len(others)
            return await sender.send(delivery.event, delivery.id, number, delivery.attempt_state), 0
        except StoreUnavailable as error:
            return AttemptResult(request_line="", error=str(error), retry_at_delay=STORE_WAIT), 0
        except Exception as error:
            kind = subscription.target.get("kind")
            raise InternalError("send", error, f"internal error in the {kind} target: {error!r}") from error

    def _sender(self, subscription: Subscription) -> tuple[Sender, DigestSender | None]:
        """The sender of a subscription; and again, if its deliveries may have others with them."""
        ready = self._ready.get(subscription.id)
        if ready is not None and ready[0] == subscription.revision:
            return ready[1], ready[2]
        sender = self._kinds[subscription.kind].sender(subscription)
        gathering = sender if isinstance(sender, DigestSender) else None
        if gathering is not None and subscription.digest is None and not gathering.overflows:
            gathering = None
        self._ready[subscription.id] = (subscription.revision, sender, gathering)
        return sender, gathering
