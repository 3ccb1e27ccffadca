"""Fan-out: how many deliveries the events of an owner are expected to cause, learned from those before them."""

from __future__ import annotations

from dispatcher.domain.expansions import FAN_OUT
from dispatcher.intake.submission import Owner

REMEMBERED = 10_000
"""Owners of whom it is remembered how many deliveries an event of theirs causes."""


class FanOut:
    """What is expected of each owner, and of those who are not known yet."""

    def __init__(self) -> None:
        self._known: dict[Owner, float] = {}
        self._usual = 1.0

    def expected(self, owner: Owner, events: int) -> float:
        """How many deliveries so many events of an owner cause, and no less than they are themselves."""
        expected = self._known.get(owner, self._usual)
        if expected <= 1.0:
            return events or 1.0
        return max(1.0, events + min(events * (expected - 1), FAN_OUT))

    def learn(self, owner: Owner, events: int, deliveries: int) -> None:
        """Note how many deliveries so many events of an owner caused."""
        if not events:
            return
        fan_out = max(1.0, deliveries / events)
        known = self._known.get(owner)
        if known is None:
            # Each owner counts once, so that no one of them decides what is expected of the others.
            self._usual += (min(fan_out, FAN_OUT) - self._usual) / 16
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
        self._known[owner] = fan_out if known is None else (known + fan_out) / 2
