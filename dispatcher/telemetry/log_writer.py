"""Writes log lines in a separate thread: a stream that takes nothing costs lines, and holds nothing else up."""

from __future__ import annotations

import atexit
import io
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from select import PIPE_BUF
from threading import Event, RLock, Thread

from dispatcher.telemetry.metrics import LOG_LINES_DROPPED

FLUSH_INTERVAL = 0.1
"""Seconds for which lines are collected before they are written: many in one write."""

FLUSH_TIMEOUT = 2.0
"""Seconds that `flush` waits, and with it the end of the process, for a stream that takes nothing."""

MAX_LINES = 10_000
MAX_BYTES = 8 * 1024 * 1024
"""What waits to be written at most. Lines beyond it are dropped and counted."""

RETRY_INTERVAL = 0.05
"""Seconds between two writes to a stream that says it is full instead of waiting."""


class LogWriter:
    """A bounded queue of lines, and the thread that writes them with `write`, which may take a part only.

    When the stream takes lines again, how many were dropped is written as the line that `dropped_line` makes.
    """

    def __init__(self, write: Callable[[bytes], int | None], dropped_line: Callable[[int], bytes]) -> None:
        self._write = write
        self._dropped_line = dropped_line
        self._queue: SimpleQueue[bytes | Event] = SimpleQueue()
        # For those that add lines only: the writer never has it. Garbage collection within may add a line too.
        self._adding = RLock()
        self._added_lines = self._added_bytes = self._dropped = 0
        # Only the writer changes these.
        self._taken_lines = self._taken_bytes = self._lost = self._reported = 0
        self._hurry = Event()
        Thread(target=self._run, name="logs", daemon=True).start()
        atexit.register(self.flush)

    def add(self, line: bytes) -> None:
        """Take a line without its end; it is dropped when too many wait. Never waits for the stream."""
        with self._adding:
            lines = self._added_lines - self._taken_lines
            size = self._added_bytes - self._taken_bytes + len(line)
            if lines >= MAX_LINES or size > MAX_BYTES:
                self._dropped += 1
                full = True
            else:
                self._added_lines += 1
                self._added_bytes += len(line)
                full = False
        if full:
            LOG_LINES_DROPPED.inc()
        else:
            self._queue.put(line)

    def flush(self) -> None:
        """Return when the lines so far are written, or after FLUSH_TIMEOUT, once. Not for an event loop."""
        written = Event()
        self._queue.put(written)
        self._hurry.set()
        if not written.wait(FLUSH_TIMEOUT):
            atexit.unregister(self.flush)  # the end of the process need not wait for it once more

    def _run(self) -> None:
        while True:
            waiting: deque[bytes | Event] = deque([self._queue.get()])
            self._hurry.wait(FLUSH_INTERVAL)
            self._hurry.clear()
            while not self._queue.empty():
                waiting.append(self._queue.get())
            for written in self._write_all(waiting):
                written.set()

    def _write_all(self, waiting: deque[bytes | Event]) -> list[Event]:
        flushes = [item for item in waiting if isinstance(item, Event)]
        lines = [item for item in waiting if not isinstance(item, Event)]
        for piece, count in _pieces(lines):
            if not self._wrote(piece):
                self._lost += count
                LOG_LINES_DROPPED.inc(count)
            self._taken_lines += count
            self._taken_bytes += len(piece) - count
        dropped = self._dropped + self._lost
        if dropped > self._reported and self._wrote(self._dropped_line(dropped - self._reported) + b"\n"):
            self._reported = dropped
        return flushes

    def _wrote(self, piece: bytes) -> bool:
        """Write all of a piece; False when the stream refuses it."""
        rest = memoryview(piece)
        try:
            while rest:
                count = self._write(bytes(rest))
                if (
                    count is None
                ):  # it is not one that waits: another program that shares the terminal chose so
                    time.sleep(RETRY_INTERVAL)
                else:
                    rest = rest[count:]
        except (OSError, ValueError):
            # Closed, full, or no longer read: events are worth more than their log.
            return False
        return True


def _pieces(lines: list[bytes]) -> Iterator[tuple[bytes, int]]:
    """Whole lines with their ends, and how many. A pipe of several processes keeps up to PIPE_BUF bytes together."""
    piece, count = b"", 0
    for line in lines:
        if piece and len(piece) + len(line) + 1 > PIPE_BUF:
            yield piece, count
            piece, count = b"", 0
        piece += line + b"\n"
        count += 1
    if piece:
        yield piece, count


class Printed(io.TextIOBase):
    """Stdout or stderr of a process that serves: what is printed is written as it is, by a LogWriter."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._rest = ""

    def write(self, text: str) -> int:
        """Take text; each line goes out when it is complete."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._writer.add(line.encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Let a line go out that is not complete."""
        if rest := self._rest:
            self._rest = ""
            self._writer.add(rest.encode(errors="backslashreplace"))

    def writable(self) -> bool:
        """Yes."""
        return True

    def isatty(self) -> bool:
        """No: callers that get True write escape sequences."""
        return False
