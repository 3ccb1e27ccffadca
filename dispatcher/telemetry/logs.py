"""Logs: one line for each thing that happened, as JSON for machines or in colours for people, on stderr.

Loggers are structlog's: `structlog.get_logger("dispatcher.delivery").info("attempt", status=200)`. What
libraries say through `logging` comes out the same way, from WARNING on.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from functools import partial
from io import BufferedWriter
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec
import structlog
from structlog.typing import Processor

from dispatcher.telemetry.log_writer import LogWriter, Printed

# What stands between a URL's scheme and its host.
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*:[^\s@]*(?=@)")

# What aiormq logs of a broker that cannot be reached. It raises it too, and the caller logs it once.
_SAID_TWICE = "error when creating transport: %r"

# Any, because structlog declares so what goes from one processor to the next.
_Fields = MutableMapping[str, Any]


def configure(
    level: str, fmt: Literal["console", "json"], stream: BinaryIO | None = None
) -> Callable[[], None]:
    """Log from this level on (`debug`, `info`, `warning`, `error`), to stderr unless a stream is given.

    Times are UTC. To be called once in a process, before the first line. A line is written by a separate thread
    within FLUSH_INTERVAL, so that a stream that takes nothing holds nothing else up; see `LogWriter`. Without a stream
    what is printed to stdout and stderr goes the same way, as it is.

    Returns what waits until the lines so far are written, FLUSH_TIMEOUT at most; the end of the process does so too.
    """
    _debug_on[:] = [level == "debug"]
    target = sys.stderr.buffer if stream is None else stream
    processors = [_json] if fmt == "json" else _console(colours=target.isatty())
    writer = LogWriter(_unbuffered(target), partial(_dropped_line, processors))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Logger(writer, *names),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    if stream is None:
        sys.stdout, sys.stderr = Printed(writer), Printed(writer)
    return writer.flush


def debug_is_on() -> bool:
    """Whether lines of the level debug are written; cheaper than to ask a logger. They are until `configure`."""
    return _debug_on[0]


_debug_on = [True]


def _unbuffered(stream: BinaryIO) -> Callable[[bytes], int | None]:
    """What writes to a stream, or a part only, without the lock of its buffer: the interpreter's end takes that."""
    raw = stream.raw if isinstance(stream, BufferedWriter) else None

    def write(data: bytes) -> int | None:
        if raw is not None:
            count: int | None = raw.write(data)
            return count
        stream.write(data)
        stream.flush()
        return len(data)

    return write


def _dropped_line(processors: Sequence[Processor], count: int) -> bytes:
    # Any, because each processor gives what the next one takes; the last one gives the line.
    fields: Any = {"event": "log lines were dropped", "lines": count}
    for process in processors:
        fields = process(_Named("dispatcher.logs"), "warning", fields)
    return bytes(fields)


class _Named(NamedTuple):
    """What processors read of a logger."""

    name: str | None


class _Logger:
    """What structlog hands finished lines to, by level."""

    def __init__(self, writer: LogWriter, name: str | None = None) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = writer.add


_encode = msgspec.json.Encoder(enc_hook=str).encode


def _json(logger: _Logger | _Named, level: str, fields: _Fields) -> bytes:
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


def _with_name(logger: _Logger | _Named, level: str, fields: _Fields) -> _Fields:
    fields["logger"] = logger.name
    return fields


def _with_times(logger: _Logger | _Named, level: str, fields: _Fields) -> _Fields:
    for name, value in fields.items():
        if isinstance(value, datetime):
            fields[name] = value.isoformat()
    return fields


def _with_exception(logger: _Logger | _Named, level: str, fields: _Fields) -> _Fields:
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
    # A warning is about a lost connection mostly: its traceback through the library helps no one.
    error = record.exc_info[1] if record.exc_info else None
    return {} if error is None else {"error": _CREDENTIALS.sub("***", repr(error))}
