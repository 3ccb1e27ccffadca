"""`dispatcher demo`: see the service at work."""

from __future__ import annotations

import signal

import typer


def demo() -> None:
    """Run the service on sample job events with local receivers.

    It needs nothing and leaves nothing behind. On a terminal the service goes on afterwards, until Ctrl-C.

    \b
    Example:
      dispatcher demo
    """
    try:
        from dispatcher.demo.run import run

        code = run()
    except KeyboardInterrupt:  # before the demo itself looks after signals
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = 0
    raise typer.Exit(code)
