"""Logs: one line for each thing that happened, as JSON for machines or in colours for people, on stderr.

Loggers are structlog's: `structlog.get_logger("dispatcher.delivery").info("attempt", status=200)`. What
libraries say through `logging` comes out the same way, from WARNING on.
"""

from __future__ import annotations

import atexit
import json
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from select import PIPE_BUF
from threading import Event, Lock, Thread
from typing import Any, BinaryIO, Literal

import msgspec
import structlog
from structlog.typing import Processor

FLUSH_INTERVAL = 0.1
"""Seconds: the longest that a line below WARNING waits to be written."""

MAX_WAITING = 10_000
"""Lines: whoever adds one more writes them first, so that a slow reader cannot fill the memory."""

# What stands between a URL's scheme and its host.
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*:[^\s@]*(?=@)")

# What aiormq logs of a broker that cannot be reached. It raises it too, and whoever connects says it once.
_SAID_TWICE = "error when creating transport: %r"

# Any, because structlog declares so what goes from one processor to the next.
_Fields = MutableMapping[str, Any]


def configure(
    level: str, fmt: Literal["console", "json"], stream: BinaryIO | None = None
) -> Callable[[], None]:
    """Log from this level on (`debug`, `info`, `warning`, `error`), to stderr unless a stream is given.

    Times are UTC. To be called once in a process, before the first line. Returns what writes at once the
    lines that wait; the end of the process does so too.
    """
    target = sys.stderr.buffer if stream is None else stream
    lines = _Lines(target)
    structlog.configure(
        processors=[_json] if fmt == "json" else _console(colours=target.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Logger(lines, *names),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    return lines.flush


class _Lines:
    """Lines on their way to a stream: many in one write, because a write costs as much as making the line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting: deque[bytes] = deque()
        self._some = Event()
        self._writing = Lock()
        Thread(target=self._write_often, name="logs", daemon=True).start()
        atexit.register(self.flush)

    def add(self, line: bytes) -> None:
        """Take a line; it is written within FLUSH_INTERVAL."""
        self._waiting.append(line)
        if len(self._waiting) > MAX_WAITING:
            self.flush()
        elif not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Write all lines that wait."""
        with self._writing:
            self._some.clear()
            try:
                for piece in self._pieces():
                    self._stream.write(piece)
                    self._stream.flush()
            except OSError:
                # Nobody reads any more, and there is nobody to tell: events are worth more than their log.
                self._waiting.clear()

    def _pieces(self) -> Iterator[bytes]:
        # A pipe that several processes share keeps a piece of up to PIPE_BUF bytes together (POSIX, write).
        piece = b""
        for _ in range(len(self._waiting)):
            line = self._waiting.popleft() + b"\n"
            if piece and len(piece) + len(line) > PIPE_BUF:
                yield piece
                piece = b""
            piece += line
        if piece:
            yield piece

    def _write_often(self) -> None:
        while self._some.wait():
            time.sleep(FLUSH_INTERVAL)
            self.flush()


class _Logger:
    """What structlog hands finished lines to, by level. From WARNING on they are written at once."""

    def __init__(self, lines: _Lines, name: str | None = None) -> None:
        self.name = name
        self._lines = lines
        self.debug = self.info = lines.add

    def warning(self, line: bytes) -> None:
        self._lines.add(line)
        self._lines.flush()

    error = critical = warning


_encode = msgspec.json.Encoder(enc_hook=str).encode


def _json(logger: _Logger, level: str, fields: _Fields) -> bytes:
    if "exc_info" in fields:
        fields = _with_exception(logger, level, fields)
    text = fields.pop("event")
    line = {"time": datetime.now(UTC), "level": level, "logger": logger.name, "event": text, **fields}
    try:
        return _encode(line)
    except (TypeError, ValueError):
        # A lone surrogate, a key that is no text: the slower encoder takes them.
        return json.dumps(line, default=str, skipkeys=True).encode()


def _console(colours: bool) -> list[Processor]:
    return [
        _with_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_times,
        _with_exception,
        structlog.dev.ConsoleRenderer(colors=colours),
        lambda logger, level, text: str(text).encode(errors="backslashreplace"),
    ]


def _with_name(logger: _Logger, level: str, fields: _Fields) -> _Fields:
    fields["logger"] = logger.name
    return fields


def _with_times(logger: _Logger, level: str, fields: _Fields) -> _Fields:
    for name, value in fields.items():
        if isinstance(value, datetime):
            fields[name] = value.isoformat()
    return fields


def _with_exception(logger: _Logger, level: str, fields: _Fields) -> _Fields:
    # A traceback without the local variables, which may hold secrets, and without the passwords in URLs.
    fields = structlog.processors.format_exc_info(logger, level, fields)
    if "exception" in fields:
        fields["exception"] = _CREDENTIALS.sub("***", fields["exception"])
    return fields


class _Forward(logging.Handler):
    """Hands what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == _SAID_TWICE:
            return
        log = structlog.get_logger(record.name)
        try:
            text = _CREDENTIALS.sub("***", record.getMessage())
            if record.levelno >= logging.ERROR:
                log.error(text, exc_info=record.exc_info)
            else:
                log.warning(text, **_cause(record))
        except Exception:  # noqa: BLE001 - `logging` asks it of every handler: a line never stops its caller
            self.handleError(record)


def _cause(record: logging.LogRecord) -> dict[str, str]:
    # A warning is about a lost connection mostly: its traceback through the library tells nobody anything.
    error = record.exc_info[1] if record.exc_info else None
    return {} if error is None else {"error": _CREDENTIALS.sub("***", repr(error))}
