"""How long an open breaker waits for its next probe, so that many of them cost little together."""

from __future__ import annotations

import math
from datetime import UTC, datetime

FIRST_WAIT = 2.0
LONGEST_WAIT = 60.0
"""Seconds to the first probe, and between two of them; each failed one doubles the wait."""

PROBES_PER_SECOND = 3.0
LONGEST_WAIT_OF_ALL = 7200.0
"""Where many breakers are open the wait grows further, so that all of them together are probed no more often."""
SPREAD = 0.05
"""The share of a wait by which processes differ in when they look: of the first one's probe the others learn."""
TOGETHER = 0.0005
LONGEST_TOGETHER = 8.0
"""Seconds for each open breaker, and at most, within which probes are put together: alone each costs more."""


def wait_after(openings: int, opened: int) -> float:
    """Seconds to the next probe of a breaker that has opened so often, where `opened` are open."""
    longest = max(LONGEST_WAIT, min(LONGEST_WAIT_OF_ALL, opened / PROBES_PER_SECOND))
    return min(longest, FIRST_WAIT * 2.0 ** min(openings, 12))


def probe_time(open_until: datetime, openings: int, opened: int, salt: float) -> datetime:
    """When a process looks whether there is something to probe a breaker with, the same moment for many of them.

    `salt`, from 0 to 1, is what the process differs in from others.
    """
    wait = SPREAD * wait_after(openings, opened)
    at = open_until.timestamp() + wait * salt
    # A power of two, so that it is the same for all while a few open and close.
    step = 2.0 ** math.floor(math.log2(min(LONGEST_TOGETHER, TOGETHER * opened, wait)))
    return datetime.fromtimestamp(step * math.ceil(at / step), UTC)
