"""The demo as a person runs it: a process of its own."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DEMO = (sys.executable, "-m", "dispatcher", "demo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def _environment(folder: Path) -> dict[str, str]:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    return settings | {"TMPDIR": str(folder), "TERM": "xterm-256color"}


@pytest.fixture(scope="module")
def played(folder: Path) -> subprocess.CompletedProcess[str]:
    """Return the demo after it ended by itself, its output being no terminal."""
    return subprocess.run(
        DEMO, env=_environment(folder), capture_output=True, text=True, check=False, timeout=90
    )


def test_without_a_terminal_the_demo_ends_by_itself_and_nothing_is_missing(
    played: subprocess.CompletedProcess[str],
) -> None:
    assert (played.returncode, played.stderr) == (0, "")
    assert "Nothing is missing" in played.stdout


def test_the_summary_counts_what_came_in_and_what_went_out(played: subprocess.CompletedProcess[str]) -> None:
    assert re.search(r"^Events +62 accepted, 1 duplicate$", played.stdout, re.MULTILINE)
    assert re.search(r"^Deliveries +109 delivered$", played.stdout, re.MULTILINE)
    assert re.search(r"^Delays +accepted to delivered, all +p50 .*, p95 ", played.stdout, re.MULTILINE)


def test_the_summary_lists_what_was_retried_and_why(played: subprocess.CompletedProcess[str]) -> None:
    assert re.search(
        r"^Retried +\d to opens late: nobody listens on its port for 5 s$", played.stdout, re.MULTILINE
    )
    assert re.search(
        r"attempts: no connection to .*: Connection refused at .* s; delivered at ", played.stdout
    )
    assert re.search(r"^Retried +3 to busy: ", played.stdout, re.MULTILINE)
    assert re.search(r"2 attempts: answered 503 Service Unavailable at .* s; delivered at ", played.stdout)


def test_the_summary_names_the_subscription_that_nothing_matched(
    played: subprocess.CompletedProcess[str],
) -> None:
    assert re.search(r"^Unmatched +never: ", played.stdout, re.MULTILINE)


def test_the_output_is_plain_text_when_it_is_no_terminal(played: subprocess.CompletedProcess[str]) -> None:
    assert "\x1b" not in played.stdout


def test_nothing_is_left_behind(played: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert played.returncode == 0
    assert list(folder.iterdir()) == []


class _Terminal:
    """The demo on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            DEMO, env=_environment(folder), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.output = ""

    def read_until(self, text: str) -> None:
        """Read until this is shown. AssertionError when the demo ends before."""
        while text not in self.output:
            assert self._read(), f"{text!r} was not shown: {self.output[-2000:]}"

    def read_all(self) -> None:
        """Read until the demo ends."""
        while self._read():
            pass

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self) -> bool:
        try:
            found = os.read(self._ours, 65536)
        except OSError:  # Linux: the other side was closed
            return False
        self.output += found.decode(errors="replace")
        return bool(found)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[_Terminal]:
    terminal = _Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_ctrl_c_in_the_middle_ends_the_demo_with_0_and_leaves_nothing(
    terminal: _Terminal, tmp_path: Path
) -> None:
    terminal.read_until("STAGING_INPUTS")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_all()
    assert terminal.process.wait(30) == 0
    assert "Traceback" not in terminal.output
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_the_service_goes_on_after_the_summary_until_ctrl_c(terminal: _Terminal) -> None:
    import urllib.request

    terminal.read_until("Ctrl-C ends it")
    url = re.search(r"API +(http://127\.0\.0\.1:\d+)/docs", terminal.output)
    key = re.search(r"Bearer ([\w-]+)", terminal.output)
    assert url and key
    request = urllib.request.Request(f"{url[1]}/v1/jobs", headers={"Authorization": f"Bearer {key[1]}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_all()
    assert terminal.process.wait(30) == 0
