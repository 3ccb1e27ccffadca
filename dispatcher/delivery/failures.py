"""Whose failures are counted how: first a subscription's, then an owner's, then those of the whole destination."""

from __future__ import annotations

from collections import Counter

from cachetools import LRUCache

from dispatcher.domain.destinations import Scopes

OF_EACH = 3
"""How many failures in a row each of two must have, so that what they share is held to be the fault."""


class _Run:
    """Failures in a row, and of whom; `down` are those that no subscription can be the reason for."""

    __slots__ = ("by", "count", "down")

    def __init__(self) -> None:
        self.count = 0
        self.down = 0
        self.by: Counter[str] = Counter()

    def of_several(self, most: int) -> bool:
        """Whether it is long enough, and two have part in it."""
        part = min(OF_EACH, most)
        return self.count >= most and sum(count >= part for count in self.by.values()) > 1


class Failures:
    """The failures in a row of each scope, as far as this process sees."""

    def __init__(self) -> None:
        self._runs: LRUCache[str, _Run] = LRUCache(30_000)

    def failed(self, scopes: Scopes, most: int, *, down: bool, shared: bool = True) -> str | None:
        """Count a failure. The key of the widest scope that is to blame, if there are `most` in a row now.

        One that is not `shared` counts for the subscription alone.
        """
        one, owner, all_ = (self._run(key) for key in scopes)
        one.count += 1
        if not shared:
            return scopes.subscription if one.count >= most else None
        for run, part in ((owner, scopes.subscription), (all_, scopes.owner)):
            run.count += 1
            run.by[part] += 1
        all_.down += down
        if all_.down >= most or all_.of_several(most):
            return scopes.destination
        if owner.of_several(most):
            return scopes.owner
        return scopes.subscription if one.count >= most else None

    def answered(self, scopes: Scopes) -> None:
        """Begin all its runs from the start."""
        if not self._runs:
            return
        for key in scopes:
            self._runs.pop(key, None)

    def forget(self, key: str) -> None:
        """Begin a run from the start, because its breaker is open now."""
        self._runs.pop(key, None)

    def _run(self, key: str) -> _Run:
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = _Run()
        return run
