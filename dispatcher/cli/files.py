"""Files that are named on the command line; `-` is stdin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import typer


def open_file(name: str, hint: str) -> IO[bytes]:
    """The file, to be read and closed. Raises typer.BadParameter, which names the option `hint`."""
    if name == "-":
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise typer.BadParameter(f"{name} cannot be read ({error.strerror})", param_hint=hint) from None


def read_file(name: str, hint: str) -> bytes:
    """All of the file. Raises as `open_file` does."""
    with open_file(name, hint) as file:
        return file.read()
