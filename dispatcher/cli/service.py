"""`dispatcher serve` and `dispatcher migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.cli.output import say


def serve(
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=64,
            help="Number of worker processes; more than one needs PostgreSQL.",
        ),
    ] = 1,
) -> None:
    """Run the service until SIGTERM or SIGINT.

    It takes events in, delivers them, and serves the API. With several workers each has its own connections to the
    broker and the database; one that dies is started again.

    \b
    Examples:
      DISPATCHER_AMQP_URL=amqp://guest:guest@localhost/ dispatcher serve
      dispatcher serve --workers 4
    """
    from dispatcher.process import allow_connections, run, warn_of_old_names

    allow_connections()
    if workers > 1:
        from dispatcher.supervisor import serve_workers

        return serve_workers(workers)
    from dispatcher import app
    from dispatcher.config.loading import load
    from dispatcher.telemetry import logs

    settings = load()
    flush = logs.configure(settings.log.level, settings.log.format)
    warn_of_old_names()
    run(app.serve(settings), flush)


def migrate(
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Change nothing; list pending migrations and exit with 1 if there are any."
        ),
    ] = False,
) -> None:
    """Migrate the database schema to the current version.

    `serve` does the same at its start.

    \b
    Example:
      DISPATCHER_DATABASE_URL=postgresql://dispatcher:…@localhost/dispatcher dispatcher migrate
    """
    from dispatcher.config.loading import load
    from dispatcher.process import allow_connections
    from dispatcher.store.factory import migrate as run
    from dispatcher.store.factory import pending

    allow_connections()
    settings = load()
    url = settings.database.url
    if check:
        revisions = pending(url.reveal())
        say(f"{url}: " + (f"pending: {', '.join(revisions)}." if revisions else "is up to date."))
        raise typer.Exit(1 if revisions else 0)
    applied = run(url.reveal(), settings.retention.keep)
    say(f"{url}: " + (f"applied {', '.join(applied)}." if applied else "was up to date."))
