"""Sources of events beside the HTTP API: each module of this package is one, with a section of the settings.

A further broker is one module here and its section in `dispatcher.config`. The HTTP API needs no source: its callers
bring their events themselves, to the same queue.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any, Protocol, cast

from dispatcher.intake.decode_context import IntakeAdapter
from dispatcher.intake.ingest_queue import IngestQueue


class Source(Protocol):
    """Takes events from one broker: decodes what comes, submits it, and acknowledges what was stored or refused.

    It submits with `submit_nowait`, and bounds by itself how much is not finished. `name` is its part in readiness.
    """

    name: str

    @property
    def error(self) -> str | None:
        """Why events do not come in, or may not; None when they do."""
        ...

    async def run(self) -> None:
        """Take events in until `stop`, whatever befalls the broker. SettingsError ends the process at its start."""
        ...

    async def stop(self, grace: float) -> None:
        """Take nothing more, and wait at most `grace` seconds to acknowledge what was received."""
        ...


class SourceModule(Protocol):
    """A module of this package."""

    SECTION: str
    """The section of the settings that is its own."""

    # Any: each section has its own type, which only its module knows.
    def make_source(
        self, settings: Any, intake: IngestQueue, adapters: Sequence[IntakeAdapter]
    ) -> Source | None:
        """The source; None when its settings name no broker."""
        ...


def load_sources(
    settings: object, intake: IngestQueue, adapters: Sequence[IntakeAdapter] = ()
) -> list[Source]:
    """The sources for which there are settings; `settings` has each section as an attribute."""
    names = [found.name for found in pkgutil.iter_modules(__path__, f"{__name__}.")]
    modules = [cast("SourceModule", importlib.import_module(name)) for name in names]
    made = [one.make_source(getattr(settings, one.SECTION), intake, adapters) for one in modules]
    return [source for source in made if source is not None]
