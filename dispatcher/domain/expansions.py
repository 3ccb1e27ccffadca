"""Expansions: durable orders to make the deliveries of an event later, when it causes too many to store at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from msgspec import Struct

from dispatcher.domain.events import Event

FAN_OUT = 1000
"""Deliveries that the events of one message or request cause at once; an order stands for those of the rest."""

CHUNK = 500
"""Subscriptions that one order names at most: their deliveries are stored in one transaction."""


NO_QUEUE = bytes(16)
"""Before all queues."""


class Candidates(Struct, frozen=True):
    """Up to CHUNK subscriptions, listed once for all orders of a batch; `id` is 16 bytes."""

    id: bytes
    subscription_ids: Sequence[str]


class NewExpansion(Struct, frozen=True):
    """The order to deliver an event to those of the candidates whose bit is set in `wanted`."""

    event: Event
    candidates: Candidates
    wanted: bytes

    @property
    def count(self) -> int:
        """How many deliveries it stands for."""
        return int.from_bytes(self.wanted).bit_count()


class Expansion(Struct, frozen=True):
    """An order as it was claimed from the store: the subscriptions that wanted the event when it was accepted."""

    seq: int
    queue: bytes
    event: Event
    subscription_ids: Sequence[str]


def bitmap(places: Iterable[int], size: int) -> bytes:
    """A bitmap of `size` bits in which these are set."""
    bits = bytearray((size + 7) // 8)
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def selected(ids: Sequence[str], wanted: bytes) -> list[str]:
    """Those of the ids whose bit is set."""
    return [key for place, key in enumerate(ids) if wanted[place >> 3] >> (place & 7) & 1]


def queue_of(event: Event) -> bytes:
    """The queue that an event's orders wait in: there is one for each owner, and they take turns."""
    text = f"{len(event.tenant)}:{event.tenant}{event.owner or ''}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
