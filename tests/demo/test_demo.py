"""The demo as a person runs it: in a separate process."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.environment import environment

DEMO = (sys.executable, "-m", "dispatcher", "demo")


def _environment(folder: Path) -> dict[str, str]:
    return environment({"TMPDIR": str(folder), "TERM": "xterm-256color"})


class _Terminal:
    """The demo on its own terminal, whose output is read all the time."""

    def __init__(self, folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            DEMO, env=_environment(folder), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.output = ""
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def shows(self, text: str, seconds: float = 50) -> None:
        """Wait until this is shown. AssertionError when the demo ends before."""
        with self._more:
            self._more.wait_for(lambda: self._ended or text in self.output, seconds)
            assert text in self.output, f"{text!r} was not shown: {self.output[-2000:]}"

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and wait for the exit code."""
        self.process.send_signal(number)
        self._reader.join()
        return self.process.wait(30)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while found := self._piece():
            with self._more:
                self.output += found.decode(errors="replace")
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def _piece(self) -> bytes:
        try:
            return os.read(self._ours, 65536)
        except OSError:  # Linux: the other side was closed
            return b""


class Played(NamedTuple):
    """The demo after it ended by itself, its output being no terminal."""

    code: int
    output: str
    left: list[Path]


@pytest.fixture(scope="module", autouse=True)
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Yield the demo, which plays while other tests run, and its folder for temporary files."""
    folder = tmp_path_factory.mktemp("demo")
    process = subprocess.Popen(
        DEMO, env=_environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield process, folder
    process.kill()
    process.communicate()  # which closes its output too


@pytest.fixture(scope="module", autouse=True)
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Terminal]:
    """Yield the demo on a terminal, which plays while other tests run."""
    terminal = _Terminal(tmp_path_factory.mktemp("terminal"))
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def played(playing: tuple[subprocess.Popen[str], Path]) -> Played:
    process, folder = playing
    output, _ = process.communicate(timeout=50)
    return Played(process.returncode, output, list(folder.iterdir()))


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[_Terminal]:
    terminal = _Terminal(tmp_path)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_signal_in_the_middle_ends_the_demo_with_0_and_leaves_nothing(
    terminal: _Terminal, tmp_path: Path, number: signal.Signals
) -> None:
    terminal.shows("PROCESSING_INPUTS")
    assert terminal.end(number) == 0
    assert "Traceback" not in terminal.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_demo_ends_with_1_and_says_what_is_missing_and_where_to_look(tmp_path: Path) -> None:
    impatient = "from dispatcher.demo import play, run; play.PATIENCE = 1.0; raise SystemExit(run.run())"
    command = (sys.executable, "-c", impatient)
    ended = subprocess.run(
        command, env=_environment(tmp_path), capture_output=True, text=True, check=False, timeout=50
    )
    assert ended.returncode == 1
    assert re.search(r"^Missing: only \d+ of 62 events could be published$", ended.stdout, re.MULTILINE)
    (folder,) = tmp_path.iterdir()
    assert f"The log and the database stay in {folder}" in ended.stdout
    assert (folder / "dispatcher.log").stat().st_size > 0


def test_without_a_terminal_the_demo_ends_by_itself_and_nothing_is_missing(played: Played) -> None:
    assert "Nothing is missing" in played.output
    assert played.code == 0


def test_the_summary_counts_what_came_in_and_what_went_out(played: Played) -> None:
    assert re.search(r"^Events +62 accepted, 1 duplicate$", played.output, re.MULTILINE)
    assert re.search(r"^Deliveries +111 delivered$", played.output, re.MULTILINE)
    assert re.search(r"^Delays +accepted to delivered, all +p50 .*, p95 ", played.output, re.MULTILINE)


def test_the_summary_lists_what_was_retried_and_why(played: Played) -> None:
    for line in (
        # Not all seven: while the breaker is open, the others wait without an attempt.
        r"Retried +[1-7] to late: nothing listens on its port for 8 s",
        r" +no connection to .*: Connection refused \(\d+ times\)",
        r" +RUNNING +\d+ +[2-9] attempts at [\d., ]+ s",
        r"Retried +3 to busy: .*",
        r" +answered 503 Service Unavailable \(3 times\)",
        r" +FAILED +\d+ +2 attempts at [\d., ]+ s",
    ):
        assert re.search(f"^{line}$", played.output, re.MULTILINE), line


def test_the_summary_names_the_subscription_that_nothing_matched(
    played: Played,
) -> None:
    assert re.search(r"^Unmatched +never: ", played.output, re.MULTILINE)


def test_an_e_mail_is_shown_as_its_text(played: Played) -> None:
    assert re.search(r"^a person +2 +0 +2 +2 +mail", played.output, re.MULTILINE)
    assert re.search(r"^E-mail +Subject: \[.*\] FAILED blastp-swissprot-014$", played.output, re.MULTILINE)
    for line in (
        r'The status of job 2451\S+, "blastp-swissprot-014," has changed to FAILED\.',
        r"Cause: .* CANCELLED DUE TO TIME LIMIT .*",
        r"Name: blastp-swissprot-014",
    ):
        assert re.search(rf"^ +\| {line}$", played.output, re.MULTILINE), line


def test_the_output_is_plain_text_when_it_is_no_terminal(played: Played) -> None:
    assert "\x1b" not in played.output


def test_nothing_is_left_behind(played: Played) -> None:
    assert played.left == []


def test_on_a_terminal_the_service_goes_on_after_the_summary_until_ctrl_c(whole: _Terminal) -> None:
    whole.shows("Ctrl-C ends it")
    url = re.search(r"API +(http://127\.0\.0\.1:\d+)/docs", whole.output)
    key = re.search(r"Bearer ([\w-]+)", whole.output)
    assert url is not None
    assert key is not None
    request = urllib.request.Request(f"{url[1]}/v1/jobs", headers={"Authorization": f"Bearer {key[1]}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    assert whole.end(signal.SIGINT) == 0
    assert "Traceback" not in whole.output
