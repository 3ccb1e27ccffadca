"""Ids: UUIDv7 (RFC 9562) with a prefix that says of what, such as `dlv_0192f0c1a2b37c4d8e5f60718293a4b5`.

An id sorts by the time of its making; within one process ids are strictly increasing.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Literal

Prefix = Literal["evt", "sub", "dlv", "key"]

_PATTERN = re.compile(r"(evt|sub|dlv|key)_[0-9a-f]{32}")
_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62
_COUNTER_BITS = (
    74  # rand_a (12) and rand_b (62) of RFC 9562, used as one counter (method 2 of its section 6.2)
)
_RAND_B = (1 << 62) - 1
_COUNTER = (1 << _COUNTER_BITS) - 1


class _Clock:
    """Milliseconds and a counter that starts at random in each of them and only grows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = 0
        self._counter = 0

    def next(self) -> tuple[int, int]:
        now = time.time_ns() // 1_000_000
        with self._lock:
            if now > self._millisecond:
                self._millisecond = now
                # The top bit stays clear so that the counter cannot overflow within a millisecond.
                self._counter = int.from_bytes(os.urandom(10)) & (_COUNTER >> 1)
            else:
                self._counter += 1
            return self._millisecond, self._counter


_clock = _Clock()


def new_id(prefix: Prefix) -> str:
    """A new, unique id: the prefix, `_` and the 32 hex digits of a UUIDv7."""
    millisecond, counter = _clock.next()
    rand_a, rand_b = counter >> 62, counter & _RAND_B
    value = (millisecond << 80) | _VERSION | (rand_a << 64) | _VARIANT | rand_b
    return f"{prefix}_{value:032x}"


def lowest_id(prefix: Prefix, unix_time: float) -> str:
    """The smallest id that can be made at `unix_time` (seconds); for asking by time through ids."""
    millisecond = max(0, int(unix_time * 1000))
    return f"{prefix}_{(millisecond << 80) | _VERSION | _VARIANT:032x}"


def is_id(prefix: Prefix, text: str) -> bool:
    """Whether `text` is an id of that kind."""
    return text.startswith(prefix) and _PATTERN.fullmatch(text) is not None
