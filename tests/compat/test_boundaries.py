"""Plugins keep to themselves: nothing else names their systems, and none of their code runs for other messages."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType

import msgspec
import pytest

import dispatcher
from dispatcher import compat
from dispatcher.cli.publish import _adapters
from dispatcher.domain.events import Event, utc_now
from dispatcher.intake.decode import Message, decode
from dispatcher.parts import make_adapters, make_hooks
from dispatcher.store.store import Store
from tests.api.conftest import opened
from tests.compat.tapis_v3.conftest import event as tapis_event
from tests.intake.doubles import Running
from tests.intake.messages import cloudevent, plain
from tests.plugins import plugins_of

ROOT = Path(dispatcher.__file__).parent
SYSTEMS = re.compile(r"tapis|tethys|agave", re.IGNORECASE)
# The settings and their old names, the catalogue of events' names, and what was released of the schema.
MAY_NAME_THEM = {
    "config/loading.py",
    "config/settings.py",
    "domain/event_names.py",
    "store/migrations/versions/0001_initial.py",
    "store/migrations/versions/0009_series_age.py",
}


def test_nothing_but_plugins_names_their_systems() -> None:
    files = {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.rglob("*.py")}
    named = {name for name, text in files.items() if SYSTEMS.search(text) and not name.startswith("compat/")}
    assert named == MAY_NAME_THEM


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """Yield a store that is new and empty."""
    async with opened(sqlite_url) as store:
        yield store


async def run_by(document: dict[str, object], store: Store) -> set[str]:
    """The modules of plugins whose code runs while a message with this document comes in and is stored."""
    plugins = plugins_of(store)
    adapters = make_adapters()
    found: set[str] = set()

    def called(frame: FrameType, _: str, __: object) -> None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT / "compat"):
            found.add(file.stem)

    hooks = make_hooks(plugins)
    assert hooks
    async with Running(hooks=hooks) as running:
        sys.setprofile(called)
        try:
            message = Message(origin="amqp", body=msgspec.json.encode(document))
            events: list[Event] = decode(
                message, default_tenant="default", tenant_fixed=False, now=utc_now(), adapters=adapters
            )
            running.intake.submit_nowait(events, "amqp", lambda result: None)
            await running.store.holds(1)
        finally:
            sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    "document",
    [
        plain(),
        plain(job={"id": "1", "notifications": "http://a"}),
        cloudevent(),
        cloudevent(type="a.b.FINISHED"),
    ],
)
async def test_no_code_of_a_plugin_runs_for_a_message_in_one_of_our_forms(
    document: dict[str, object], store: Store
) -> None:
    assert await run_by(document, store) == set()


async def test_a_message_in_the_form_of_a_plugin_is_read_by_it(store: Store) -> None:
    whole = tapis_event() | {"deleteSubscriptionsMatchingSubject": False}
    assert "decoder" in await run_by(whole, store)


def test_intake_adapters_of_plugins_are_found_without_the_plugins() -> None:
    program = (
        "import sys\n"
        "from dispatcher import compat\n"
        "print([one.__name__ for one in compat.adapters()])\n"
        "print([name for name in sys.modules if name.startswith('dispatcher.compat.') and name.endswith('.plugin')])"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout.splitlines() == ["['dispatcher.compat.tapis_v3.decoder']", "[]"]


def test_the_service_and_the_command_line_have_the_same_intake_adapters() -> None:
    assert set(compat.adapters()) <= set(make_adapters())
    assert make_adapters() == list(_adapters())
