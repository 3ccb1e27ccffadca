"""Sources: those for which there are settings are made, and a further one is one module with one section."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dispatcher.config.settings import Amqp
from dispatcher.config.types import Url
from dispatcher.intake import sources
from dispatcher.intake.amqp.consumer import Consumer
from dispatcher.intake.sources import load_sources
from dispatcher.telemetry.metrics import EVENTS
from tests.intake.doubles import Running

SPOOL = '''
from dispatcher.domain.events import DEFAULT_TENANT, utc_now
from dispatcher.intake.decode import Message, decode

SECTION = "spool"


class Spool:
    """Reads one event from each line of a file."""

    name = "spool"
    error = None

    def __init__(self, path, intake, adapters):
        self._lines = path.read_bytes().splitlines()
        self._intake = intake
        self._adapters = adapters
        self.finished = []

    async def run(self):
        for line in self._lines:
            message = Message(origin="spool", body=line)
            events = decode(
                message, default_tenant=DEFAULT_TENANT, tenant_fixed=False, now=utc_now(), adapters=self._adapters
            )
            self._intake.submit_nowait(events, "spool", self.finished.append)

    async def stop(self, grace):
        pass


def make_source(settings, intake, adapters):
    return None if settings.path is None else Spool(settings.path, intake, adapters)
'''


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a module `spool` stand among the sources."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "spool.py").write_text(SPOOL)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(folder)])
    yield
    sys.modules.pop("dispatcher.intake.sources.spool", None)


async def test_a_broker_without_a_url_is_no_source() -> None:
    async with Running() as running:
        assert load_sources(SimpleNamespace(amqp=Amqp()), running.intake) == []


async def test_the_section_amqp_is_a_consumer_that_readiness_calls_broker() -> None:
    settings = SimpleNamespace(amqp=Amqp(url=Url("amqp://localhost:1/")))
    async with Running() as running:
        [source] = load_sources(settings, running.intake)
    assert isinstance(source, Consumer)
    assert (source.name, source.error) == ("broker", "not connected yet")


@pytest.mark.usefixtures("spool")
async def test_a_further_source_is_one_module_and_one_section(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "QUEUED", "job_id": "1"}\n{"event": "FINISHED", "job_id": "1"}\n')
    settings = SimpleNamespace(amqp=Amqp(), spool=SimpleNamespace(path=path))
    counted = EVENTS.labels("spool", "accepted")
    before = counted._value.get()
    async with Running() as running:
        [source] = load_sources(settings, running.intake)
        await source.run()
        await running.store.holds(2)
    assert cast("Any", source).finished == [{}, {}]
    assert [event.event for event in running.store.events.values()] == ["QUEUED", "FINISHED"]
    assert counted._value.get() == before + 2
