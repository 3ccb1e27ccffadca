"""Several processes as one service: they share a port, a broker and a database, and one that dies is started again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from dispatcher.config.loading import load
from dispatcher.config.settings import Settings
from dispatcher.domain.errors import SettingsError
from dispatcher.process import run, warn_of_old_names
from dispatcher.telemetry import logs

log = structlog.get_logger("dispatcher")

BACKLOG = 1024
"""Connections that wait to be accepted."""

RESTART_AFTER = 1.0
"""Seconds before a worker that died is started again."""

SERVING = b"serving"
"""What a worker sends once it serves. Anything else is what is wrong with its settings."""

_CLEAN = (0, -signal.SIGTERM)
"""How a worker ends that was asked to: in order, or before it had begun anything that has to be ended."""

_context = multiprocessing.get_context("spawn")


def serve_workers(count: int) -> None:
    """Serve with `count` processes until SIGTERM or SIGINT, then let them stop cleanly.

    Raises SettingsError for what stops the start, or a worker later. SystemExit with 1 when one did not stop cleanly.
    """
    settings = load()
    if settings.database.url.reveal().startswith("sqlite"):
        raise SettingsError(
            f"--workers {count}: SQLite is for one process; set DISPATCHER_DATABASE_URL to postgresql://… for several"
        )
    flush = logs.configure(settings.log.level, settings.log.format)
    warn_of_old_names()
    try:
        with _listening(settings) as listener, TemporaryDirectory(prefix="dispatcher-") as directory:
            code = _Crew(count, listener, directory).run()
    finally:
        flush()
    if code:
        sys.exit(code)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    http = settings.http
    try:
        family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
        listener = socket.create_server((http.host, http.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise SettingsError(
            f"http.host and http.port: cannot listen on {http.host}:{http.port} ({reason}); expected an address of "
            "this machine, and a port that is free"
        ) from None
    with listener:
        yield listener


class _Crew:
    """The workers, seen from the process that keeps them running."""

    def __init__(self, count: int, listener: socket.socket, directory: str) -> None:
        self._count = count
        self._listener = listener
        self._directory = directory
        self._workers: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._stopping = False
        self._refusal: str | None = None
        self._code = 0

    def run(self) -> int:
        """Keep the workers running until a signal; the exit code. Raises SettingsError when one refuses its own."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        # The first one brings the schema up to date and makes the first key. The others come when it serves.
        self._start(1)
        if not self._serves(1):
            code = self._workers[1][0].exitcode or 0
            self._raise_refusal()
            return 0 if self._stopping and code in _CLEAN else code
        for number in range(2, self._count + 1):
            if not self._stopping:
                self._start(number)
        while self._workers:
            self._watch()
        self._raise_refusal()
        return self._code

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            raise SettingsError(self._refusal)

    def _start(self, number: int) -> None:
        ours, theirs = _context.Pipe()
        process = _context.Process(
            target=_work, args=(number, self._listener, self._directory, theirs), name=f"dispatcher-{number}"
        )
        process.start()
        theirs.close()
        self._workers[number] = (process, ours)
        if self._stopping:
            process.terminate()

    def _serves(self, number: int) -> bool:
        """Wait until a worker serves; False when it has ended before."""
        process, pipe = self._workers[number]
        try:
            if (said := pipe.recv_bytes()) == SERVING:
                return True
            self._refusal = said.decode()
        except (EOFError, OSError):
            pass
        process.join()
        return False

    def _watch(self) -> None:
        wait([process.sentinel for process, _ in self._workers.values()], timeout=1.0)
        for number, (process, pipe) in list(self._workers.items()):
            if process.is_alive():
                continue
            process.join()
            refusal = _refusal_in(pipe)
            pipe.close()
            del self._workers[number]
            if refusal is not None and not self._stopping:
                # Another one would be refused the same.
                self._refusal = refusal
                self._stop()
            elif self._stopping:
                self._code = self._code or int(process.exitcode not in _CLEAN)
            else:
                log.error("worker died", worker=number, code=process.exitcode, restart_in=RESTART_AFTER)
                time.sleep(RESTART_AFTER)
                if not self._stopping:
                    self._start(number)

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for process, _pipe in self._workers.values():
            if process.is_alive():
                process.terminate()


def _refusal_in(pipe: Connection) -> str | None:
    """What a worker that has ended said of its settings."""
    said = SERVING
    with suppress(EOFError, OSError):
        while pipe.poll():
            said = pipe.recv_bytes()
    return None if said == SERVING else said.decode()


def _work(number: int, listener: socket.socket, directory: str, parent: Connection) -> None:
    """One worker, in a separate process."""
    from dispatcher.app import Share, serve  # noqa: PLC0415 - the process that keeps the workers needs none of it

    settings = load()
    flush = logs.configure(settings.log.level, settings.log.format)
    share = Share(
        number=number,
        listener=listener,
        directory=Path(directory),
        parent=parent.fileno(),
        serving=lambda: parent.send_bytes(SERVING),
    )
    run(serve(settings, share), flush, refuse=lambda problem: parent.send_bytes(problem.encode()))
