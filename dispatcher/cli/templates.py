"""`dispatcher templates`: look at the messages that e-mail templates make, and check the operator's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.output import say

if TYPE_CHECKING:
    from dispatcher.targets.email.templates import Templates

app = typer.Typer(no_args_is_help=True, help="Preview and check e-mail templates.")


@app.command()
def check() -> None:
    """Render all templates with sample events and report errors.

    \b
    Example:
      DISPATCHER_SMTP_TEMPLATES=mails dispatcher templates check
    """
    from dispatcher.targets.email.preview import faults

    templates = _templates()
    found = list(faults(templates))
    for fault in found:
        say(fault)
    if found:
        sys.exit(1)
    variants = ", ".join(sorted(templates.variants)) or "none"
    typer.echo(f"{len(templates.names)} templates are well; variants: {variants}.")


@app.command()
def preview(
    event: Annotated[
        str, typer.Option("--event", metavar="NAME", help="The name of the sample event.")
    ] = "FINISHED",
    digest: Annotated[bool, typer.Option("--digest", help="Show a digest of many events instead.")] = False,
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="NAME", help="Variant of the templates, such as a language."),
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Print the HTML instead of the text.")] = False,
    browser: Annotated[bool, typer.Option("--open", help="Open the HTML in a browser.")] = False,
) -> None:
    """Print the e-mail for a sample event.

    \b
    Example:
      dispatcher templates preview --event FAILED --open
    """
    from dispatcher.domain.errors import InvalidInput
    from dispatcher.targets.email.digest import DIGEST
    from dispatcher.targets.email.preview import files_of, preview_digest
    from dispatcher.targets.email.preview import preview as rehearse
    from dispatcher.targets.email.templates import TemplateFault

    templates = _templates()
    if template is not None and template not in templates.variants:
        known = ", ".join(sorted(templates.variants)) or "none"
        raise InvalidInput("--template", f"unknown: {template!r}; there are {known}")
    try:
        content = preview_digest(templates, template) if digest else rehearse(templates, event, template)
    except TemplateFault as error:
        raise InvalidInput("", str(error)) from None
    say(f"From {', '.join(files_of(templates, DIGEST if digest else event, template))}")
    if browser:
        _open(content.html or "")
    elif html:
        typer.echo(content.html)
    else:
        typer.echo(f"Subject: {content.subject}\n\n{content.text}")


def _open(html: str) -> None:
    import webbrowser
    from pathlib import Path
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile("w", prefix="dispatcher-mail-", suffix=".html", delete=False) as file:
        file.write(html)
    if not webbrowser.open(Path(file.name).as_uri()):
        say(f"There is no browser here; the page is in {file.name}")


def _templates() -> Templates:
    from dispatcher.config.loading import load
    from dispatcher.targets.email.templates import Templates

    return Templates(load().smtp.templates)
