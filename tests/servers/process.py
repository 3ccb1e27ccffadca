"""A private server process: on free ports, with its data in a private directory, gone when we are."""

import asyncio
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 45.0
STOP_SECONDS = 30.0


class ServerError(Exception):
    """A server is not installed, did not start, or did not do as it was asked."""


class ServerProcess(ABC):
    """One server process. It can be stopped, killed and started again with the same ports and data.

    Use it as a context manager, or call `start` and `close`. Call `launch` from a thread that outlives the
    server, best the main one: the kernel ends the server when the thread that launched it ends. So nothing is
    left when the test session is killed.
    """

    #: The signal that asks this server to stop in good order and at once.
    stop_signal = signal.SIGTERM
    #: The user to run as when we are root, for a server that refuses to run as root.
    unprivileged_user: str | None = None

    def __init__(self, name: str, log: Path | None = None, parent: Path | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"dispatcher-{name}-", dir=parent))
        self.log = log or self.directory / "server.log"
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        if user := self._run_as():
            shutil.chown(self.directory, user)

    @abstractmethod
    def prepare(self) -> None:
        """Get ready for a launch: called before each."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether the server takes connections. `OSError` means no."""

    def environment(self) -> Mapping[str, str]:
        """Return what the server's environment has besides ours."""
        return {}

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `ServerError` with the end of its log."""
        self.launch()
        self.wait()

    async def start_async(self) -> None:
        """Do as `start` does, and let the event loop run meanwhile."""
        self.launch()
        await asyncio.to_thread(self.wait)

    def launch(self) -> None:
        """Start the process and return at once."""
        if self.running:
            raise ServerError(f"{self._name} runs already")
        self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._wrapper(), *self.command()],
                cwd=self.directory,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we stop the servers ourselves
            )

    def wait(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if not self.running:
                raise ServerError(f"{self._name} ended while it started:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self._name} gave no answer in {START_SECONDS:g} s:\n{self._log_tail()}")
            time.sleep(0.02)

    @property
    def running(self) -> bool:
        """Whether the process exists."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerError(f"{self._name} does not run")
        return self._process.pid

    def stop(self) -> None:
        """Stop the server in good order and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End the server and what it started with SIGKILL, as a power cut would."""
        if self._process is not None:
            for pid in (self._process.pid, *_descendants(self._process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def restart(self) -> None:
        """Stop the server in good order and start it again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the server and remove its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a helper of the server to its end, as the server's user."""
        done = subprocess.run(
            [*self._wrapper(), *command], cwd=self.directory, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ServerError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def _run_as(self) -> str | None:
        return self.unprivileged_user if os.getuid() == 0 else None

    def _wrapper(self) -> list[str]:
        wrapper = ["setpriv", "--pdeathsig=KILL"]
        if user := self._run_as():
            wrapper += [f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"]
        return wrapper

    def _is_ready(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def _log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def find_program(name: str, *places: str) -> Path:
    """Return the newest of the programs that match the glob patterns, else the one on the path."""
    root = Path("/")
    found = sorted(path for place in places for path in root.glob(place.lstrip("/")))
    if found:
        return found[-1]
    if on_path := shutil.which(name):
        return Path(on_path)
    raise ServerError(f"{name} is not installed: `make test` and `make bench` install it, or say how")


def free_port() -> int:
    """Return a free port on 127.0.0.1.

    It lies below the range from which the kernel takes the ports of outgoing connections, so that it is still
    free when a killed server wants it back.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerError("found no free port between 20000 and 32000")


def accepts(port: int) -> bool:
    """Tell whether something listens on the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (task / "children").read_text().split()]
    return children + [grandchild for child in children for grandchild in _descendants(child)]
