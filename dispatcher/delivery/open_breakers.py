"""The breakers that are open, by key and by destination."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dispatcher.domain.destinations import Breaker
from dispatcher.telemetry.metrics import BREAKERS_OPEN


class OpenBreakers:
    """What a process knows of them. No operation takes longer the more there are.

    The metric counts the destinations that are shown as open: by their own breaker, or by one within them beside which
    nothing arrives.
    """

    def __init__(self) -> None:
        self._by_key: dict[str, Breaker] = {}
        self._keys_at: dict[str, set[str]] = {}
        self._shown: dict[str, set[str]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: str) -> Breaker | None:
        """The breaker of this key, None while it is closed."""
        return self._by_key.get(key)

    def of(self, keys: Iterable[str]) -> list[Breaker]:
        """Those of these keys that are open."""
        if not self._by_key:
            return []
        return [self._by_key[key] for key in keys if key in self._by_key]

    def at(self, destination: str) -> list[Breaker]:
        """The open ones of a destination, its own and those within it."""
        return self.of(self._keys_at.get(destination, ()))

    @property
    def destinations(self) -> Collection[str]:
        """The destinations at which at least one is open."""
        return self._keys_at.keys()

    def put(self, breaker: Breaker) -> None:
        """Keep one that is open, as it is now."""
        self._by_key[breaker.key] = breaker
        _add(self._keys_at, breaker)
        (_add if breaker.alone or breaker.key == breaker.destination else _discard)(self._shown, breaker)
        BREAKERS_OPEN.set(len(self._shown))

    def remove(self, key: str) -> bool:
        """Forget one that is closed now; False when it was not open."""
        breaker = self._by_key.pop(key, None)
        if breaker is None:
            return False
        _discard(self._keys_at, breaker)
        _discard(self._shown, breaker)
        BREAKERS_OPEN.set(len(self._shown))
        return True


def _add(keys_at: dict[str, set[str]], breaker: Breaker) -> None:
    keys_at.setdefault(breaker.destination, set()).add(breaker.key)


def _discard(keys_at: dict[str, set[str]], breaker: Breaker) -> None:
    keys = keys_at.get(breaker.destination, set())
    keys.discard(breaker.key)
    if not keys:
        keys_at.pop(breaker.destination, None)
