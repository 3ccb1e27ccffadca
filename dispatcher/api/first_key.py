"""The first admin key: shown once on stderr, and removed at the end if it could not be written there."""

from __future__ import annotations

import os
import sys
import time
from threading import Event, Thread

import structlog

from dispatcher.domain.keys import hash_key
from dispatcher.store.store import Store

log = structlog.get_logger("dispatcher")

RETRY_INTERVAL = 0.05
"""Seconds between two writes to a stream that says it is full instead of waiting."""


class FirstKey:
    """A key that is stored already, and is being shown. Not as a log line: those are kept and shipped, and dropped.

    A separate thread writes it, because a write to stderr may block.
    """

    def __init__(self, text: str, stderr: int | None = None) -> None:
        self._text = text
        self._stderr = sys.__stderr__.fileno() if stderr is None and sys.__stderr__ else stderr
        self._written = Event()
        Thread(target=self._show, name="first key", daemon=True).start()

    def _show(self) -> None:
        rest = f"\nThe first admin key, shown this once:\n\n    {self._text}\n\n".encode()
        try:
            while rest and self._stderr is not None:
                try:
                    rest = rest[os.write(self._stderr, rest) :]
                except BlockingIOError:
                    time.sleep(RETRY_INTERVAL)
        except OSError:
            return  # the reader has closed the stream
        if not rest:
            self._written.set()

    async def close(self, store: Store) -> None:
        """Remove the key unless it was shown: the next start makes another one. Raises StoreUnavailable."""
        if self._written.is_set():
            return
        key = await store.keys.by_digest(hash_key(self._text))
        if key is not None:
            await store.keys.remove(None, key.id)
            log.warning("the first admin key could not be shown; the next start makes another one")
