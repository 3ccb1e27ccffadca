from __future__ import annotations

import errno
import io
import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from select import PIPE_BUF

import aio_pika
import pytest
import structlog

from dispatcher.config.types import Secret
from dispatcher.telemetry import log_writer, logs
from dispatcher.telemetry.metrics import REGISTRY
from tests.servers import free_port

Buffer = bytes | bytearray | memoryview


class Stream(io.BytesIO):
    """Takes what is written; `written` is set as soon as something was."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.written = threading.Event()
        self._terminal = terminal
        self.finish: Callable[[], None] = lambda: None

    def text(self) -> bytes:
        self.finish()
        return self.getvalue()

    def isatty(self) -> bool:
        return self._terminal

    def flush(self) -> None:
        self.written.set()

    def lines(self) -> list[dict[str, object]]:
        self.finish()
        return [json.loads(line) for line in self.getvalue().splitlines()]


def dropped() -> int:
    """What the metric says."""
    return int(REGISTRY.get_sample_value("dispatcher_log_lines_dropped_total") or 0)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stream() -> Stream:
    stream = Stream()
    stream.finish = logs.configure("info", "json", stream)
    return stream


def test_a_line_is_json_with_time_in_utc_level_logger_event_and_fields(stream: Stream) -> None:
    structlog.get_logger("dispatcher.delivery").warning("attempt", status=503, error=None)
    (line,) = stream.lines()
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "dispatcher.delivery",
        "event": "attempt",
        "status": 503,
        "error": None,
    }


def test_lines_below_the_level_are_not_written(stream: Stream) -> None:
    log = structlog.get_logger("x")
    log.debug("not this")
    log.error("this")
    assert [line["event"] for line in stream.lines()] == ["this"]


def test_a_line_below_warning_is_written_without_another_one_after_it(stream: Stream) -> None:
    structlog.get_logger("x").info("by itself")
    assert stream.written.wait(10)
    assert [line["event"] for line in stream.lines()] == ["by itself"]


def test_lines_keep_their_order_whatever_their_level(stream: Stream) -> None:
    log = structlog.get_logger("x")
    for number in range(50):
        log.info("info", number=number)
    log.error("error", number=50)
    assert [line["number"] for line in stream.lines()] == list(range(51))


def test_one_write_has_whole_lines_only_and_stays_together_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    stream = Stream()
    monkeypatch.setattr(stream, "write", writes.append)
    finish = logs.configure("info", "json", stream)
    log = structlog.get_logger("x")
    for number in range(100):
        log.info("x" * 200, number=number)
    log.error("last")
    finish()
    assert all(write.endswith(b"\n") and len(write) <= PIPE_BUF for write in writes)
    assert len(b"".join(writes).splitlines()) == 101
    assert len(writes) < 20


class Refusing(Stream):
    """Refuses what is written while `full`."""

    full = True

    def write(self, line: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        if self.full:
            raise OSError(errno.ENOSPC, "full")
        return super().write(line)


def test_lines_that_the_stream_refuses_are_counted_and_reported_when_it_takes_some() -> None:
    stream = Refusing()
    stream.finish = logs.configure("info", "json", stream)
    before = dropped()
    log = structlog.get_logger("x")
    log.error("lost")
    log.info("lost")
    assert stream.lines() == []
    stream.full = False
    log.info("written")
    lines = stream.lines()
    assert [line["event"] for line in lines] == ["written", "log lines were dropped"]
    assert lines[1]["lines"] == 2
    assert dropped() - before == 2


class Standing(Stream):
    """Takes nothing until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.go = threading.Event(), threading.Event()

    def write(self, line: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        self.waits.set()
        self.go.wait()
        return super().write(line)


@pytest.mark.parametrize(("lines", "size"), [(5, 1 << 20), (1000, 500)])
def test_lines_that_wait_for_a_standing_stream_are_bounded_by_number_and_bytes(
    monkeypatch: pytest.MonkeyPatch, lines: int, size: int
) -> None:
    monkeypatch.setattr(log_writer, "MAX_LINES", lines)
    monkeypatch.setattr(log_writer, "MAX_BYTES", size)
    stream = Standing()
    stream.finish = logs.configure("info", "json", stream)
    before = dropped()
    log = structlog.get_logger("x")
    log.warning("first")
    assert stream.waits.wait(10)
    for _ in range(100):
        log.error("one more", exc_info=ValueError("x"))
    logging.getLogger("asyncio").error("of a library")
    lost = dropped() - before
    assert 101 > lost > 90
    stream.go.set()
    written = stream.lines()
    assert written[0]["event"] == "first"
    (said,) = [line for line in written if line["event"] == "log lines were dropped"]
    assert (said["lines"], said["level"]) == (lost, "warning")
    assert len(written) == 102 - lost + 1


def test_a_flush_gives_a_standing_stream_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "FLUSH_TIMEOUT", 0.01)
    stream = Standing()
    finish = logs.configure("info", "json", stream)
    structlog.get_logger("x").warning("first")
    finish()
    assert not stream.go.is_set()
    stream.go.set()


def test_what_is_printed_goes_the_way_of_the_log() -> None:
    stream = Stream()
    writer = log_writer.LogWriter(stream.write, lambda _: b"")
    stream.finish = writer.flush
    printed = log_writer.Printed(writer)
    print("two\nlines", "\ud800", file=printed)
    print("part", end="", file=printed, flush=True)
    assert stream.text() == b"two\nlines \\ud800\npart\n"


def test_an_exception_is_logged_with_its_traceback_and_without_local_variables(stream: Stream) -> None:
    def fail() -> None:
        token = "do-not-show" + "-this"
        raise ValueError(f"a token of {len(token)}")

    try:
        fail()
    except ValueError:
        structlog.get_logger("x").exception("failed")
    (line,) = stream.lines()
    assert "ValueError: a token of 16" in str(line["exception"])
    assert "in fail" in str(line["exception"])
    assert b"do-not-show-this" not in stream.text()


@pytest.mark.parametrize("url", ["amqp://guest:hunter22@broker:5672/", "postgresql://u:hunter22@db/x"])
def test_a_password_in_a_url_is_not_shown(stream: Stream, url: str) -> None:
    logging.getLogger("aio_pika").warning("connection to %s failed", url)
    try:
        raise OSError(f"cannot reach {url}")
    except OSError:
        structlog.get_logger("x").exception("failed")
    assert b"hunter22" not in stream.text()
    assert stream.text().count(b"***@") >= 2


def test_a_secret_is_not_shown(stream: Stream) -> None:
    structlog.get_logger("x").warning("made", key=Secret("hunter22" * 4))
    assert stream.lines()[0]["key"] == "***"


@pytest.mark.parametrize("value", ["\ud800", {("a", "b"): 1}, object, {1, 2}, 2**70])
def test_what_json_has_no_form_for_is_logged_all_the_same(stream: Stream, value: object) -> None:
    structlog.get_logger("x").warning("odd", value=value)
    assert stream.lines()[0]["event"] == "odd"


def test_what_libraries_log_comes_out_the_same_way_from_warning_on(stream: Stream) -> None:
    library = logging.getLogger("aiohttp.server")
    library.info("not this")
    library.error("that %s", "one")
    (line,) = stream.lines()
    assert (line["level"], line["logger"], line["event"]) == ("error", "aiohttp.server", "that one")


async def test_a_broker_that_cannot_be_reached_is_left_to_who_connects(stream: Stream) -> None:
    with pytest.raises(ConnectionError):
        await aio_pika.connect(f"amqp://127.0.0.1:{free_port()}/")
    assert stream.lines() == []


def test_a_librarys_exception_keeps_its_traceback(stream: Stream) -> None:
    try:
        raise RuntimeError("inside")
    except RuntimeError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    assert "RuntimeError: inside" in str(stream.lines()[0]["exception"])


def test_a_librarys_warning_has_its_cause_in_one_line(stream: Stream) -> None:
    error = OSError("cannot reach amqp://u:hunter22@example.org")
    logging.getLogger("asyncpg.pool").warning("trying again", exc_info=error)
    (line,) = stream.lines()
    assert "exception" not in line
    assert line["error"] == "OSError('cannot reach amqp://***@example.org')"


def test_the_console_shows_a_time_as_json_does() -> None:
    stream = Stream()
    flush = logs.configure("info", "console", stream)
    structlog.get_logger("x").info("attempt", due=datetime(2026, 5, 4, 12, tzinfo=UTC))
    flush()
    assert b"due=2026-05-04T12:00:00+00:00" in stream.text()


def test_warnings_are_logged(stream: Stream) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old-fashioned", stacklevel=1)
    assert "old-fashioned" in str(stream.lines()[0]["event"])


@pytest.mark.parametrize("terminal", [True, False])
def test_the_console_has_colours_on_a_terminal_only(terminal: bool) -> None:
    stream = Stream(terminal=terminal)
    stream.finish = logs.configure("info", "console", stream)
    structlog.get_logger("dispatcher.delivery").warning("attempt", status=503, text="\ud800")
    text = stream.text().decode()
    assert "attempt" in text
    assert "503" in text
    assert "dispatcher.delivery" in text
    assert ("\x1b[" in text) is terminal
