"""The command `dispatcher`, the same as `python -m dispatcher`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from dispatcher.extras import advice, missing


def main() -> None:
    """Run the command line. Without what the extra `server` brings, exit with 2 and say so."""
    if names := missing():
        _end(names)
    _command()()


def _command() -> Callable[[], None]:
    try:
        from dispatcher.cli import main as command  # noqa: PLC0415 - it cannot be imported without the extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "dispatcher":
            raise
        _end([error.name])
    return command


def _end(names: list[str]) -> NoReturn:
    sys.stderr.write(f"dispatcher: {advice(names)}\n")
    sys.exit(2)


# Workers import this module again.
if __name__ == "__main__":
    main()
