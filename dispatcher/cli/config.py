"""`dispatcher config`: the settings that commands and the service use, and where each comes from."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from dispatcher.cli.output import print_json, print_table
from dispatcher.config.loading import load, sources

app = typer.Typer(no_args_is_help=True, help="Show the settings.")


@app.callback()
def config() -> None:
    """Show the settings."""


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print the settings as JSON.")] = False,
) -> None:
    """Show each setting, its value and where it comes from. Secrets are hidden.

    \b
    Example:
      dispatcher config show
    """
    given = sources()
    settings = {
        f"{section}.{key}": (_shown(value), given.get(f"{section}.{key}", "default"))
        for section, values in msgspec.structs.asdict(load()).items()
        for key, value in msgspec.structs.asdict(values).items()
    }
    if as_json:
        return print_json(
            {name: {"value": value, "source": source} for name, (value, source) in settings.items()}
        )
    print_table(["setting", "value", "source"], ((name, *rest) for name, rest in settings.items()))


def _shown(value: object) -> object:
    """As JSON has it; whatever is more than a number or a text is shown as its text, so a secret as `***`."""
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
