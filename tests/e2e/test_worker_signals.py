"""Signals to the process that keeps the workers running, at the moments when there is nothing to tell them to."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dispatcher import supervisor
from dispatcher.config.loading import load


class Ended:
    """A process that has ended."""

    def __init__(self, **_: object) -> None:
        self.exitcode = 1
        self.sentinel = os.open(os.devnull, os.O_RDONLY)
        self.started = False

    def start(self) -> None:
        self.started = True

    def is_alive(self) -> bool:
        return False

    def join(self) -> None:
        os.close(self.sentinel)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ended]]:
    """Yield the processes that were made, which all end at once; the handlers of signals are put back after it."""
    found: list[Ended] = []

    def make(**options: object) -> Ended:
        found.append(Ended(**options))
        return found[-1]

    monkeypatch.setattr(supervisor._context, "Process", make)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_worker_that_died_is_not_started_again_after_the_signal_to_stop(
    made: list[Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        crew = supervisor._Crew(1, listener, str(tmp_path))
        monkeypatch.setattr(crew, "_serves", lambda _: True)
        monkeypatch.setattr(time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGTERM))
        assert crew.run() == 0
    assert len(made) == 1


def test_what_fails_while_workers_run_is_not_reported_as_a_port_that_is_taken() -> None:
    given = load()
    settings = replace(given, http=replace(given.http, port=0))
    with pytest.raises(OSError, match="too many processes"), supervisor._listening(settings):
        raise OSError("too many processes")
