"""What docs/architecture.md and docs/glossary.md name exists, and the walk of an event is as the page counts it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest
from aiohttp import ClientSession

from dispatcher.app import running
from dispatcher.client import Publisher
from dispatcher.compat.tapis_v3.tables import tapis_subscriptions
from dispatcher.config.loading import load
from dispatcher.config.settings import SECTIONS
from dispatcher.intake.amqp.connection import connect
from dispatcher.intake.amqp.topology import prepare
from dispatcher.intake.sources.amqp import make_topology
from tests.docs.code_blocks import ROOT
from tests.receiver import Receiver

ARCHITECTURE, GLOSSARY = ROOT / "docs/architecture.md", ROOT / "docs/glossary.md"
PAGES = pytest.mark.parametrize("page", [ARCHITECTURE, GLOSSARY], ids=lambda page: page.name)
ADMIN_KEY = "an-admin-key-for-the-tests-of-32-characters"

_HOP = re.compile(r"^\| \d+ \| `(.+?)\.py` \| `(.+?)\.py` \| `(\w+)` \| (.*)\|$", re.MULTILINE)

Hop = tuple[str, str, str]


def names(text: str) -> list[str]:
    """What stands in code quotes, outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_modules_that_are_named_exist() -> None:
    named = [name for name in names(ARCHITECTURE.read_text()) if name.endswith((".py", "/"))]
    assert len(named) > 50
    places = (ROOT / "dispatcher", ROOT)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


@PAGES
def test_settings_that_are_named_exist(page: Path) -> None:
    dotted = [name.split(".") for name in names(page.read_text()) if not name.endswith(".py")]
    named = [name for name in dotted if len(name) == 2 and name[0] in SECTIONS]
    assert [name for name in named if name[1] not in SECTIONS[name[0]].__struct_fields__] == []


def test_the_settings_that_are_named_were_found() -> None:
    assert {"delivery.grace", "amqp.prefetch", "network.proxy"} <= set(names(ARCHITECTURE.read_text()))


@PAGES
def test_classes_that_are_named_exist(page: Path) -> None:
    code = "\n".join(module.read_text() for module in (ROOT / "dispatcher").rglob("*.py"))
    named = {name for name in names(page.read_text()) if re.fullmatch(r"_?[A-Z][a-z]+[A-Za-z]*", name)}
    assert {
        name for name in named if not re.search(rf"^(class {name}\b|{name}\b.*=)", code, re.MULTILINE)
    } == set()


def test_every_table_is_on_the_page_and_every_one_that_is_named_exists() -> None:
    section = ARCHITECTURE.read_text().partition("## Tables")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert {name for row in rows for name in names(row)} == set(tapis_subscriptions.metadata.tables)


def test_hops_and_shapes_are_as_many_as_the_page_says() -> None:
    text = ARCHITECTURE.read_text()
    hops = _HOP.findall(text)
    shapes = [name for *_, cell in hops for name in names(cell)]
    assert f"**{len(hops)} hops** and **{len(shapes)} shapes**" in text
    assert len(set(shapes)) == len(shapes)


@contextmanager
def recorded() -> Iterator[set[Hop]]:
    """The calls from one module of Dispatcher to another while this is entered."""
    seen: set[Hop] = set()

    def note(frame: FrameType, what: str, _: object) -> None:
        if what == "call" and frame.f_back is not None:
            caller, called = (_module(one) for one in (frame.f_back, frame))
            if caller and called and caller != called:
                seen.add((caller, called, frame.f_code.co_name))

    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)


def _module(frame: FrameType) -> str:
    package, _, name = str(frame.f_globals.get("__name__")).partition(".")
    return name.replace(".", "/") if package == "dispatcher" else ""


async def test_the_hops_of_the_page_happen(tmp_path: Path, amqp_url: str, postgres_url: str) -> None:
    wanted = {hop[:3] for hop in _HOP.findall(ARCHITECTURE.read_text())}
    (tmp_path / "none.toml").touch()
    settings = load(
        {
            "DISPATCHER_AMQP_URL": amqp_url,
            "DISPATCHER_AUTH_ADMIN_KEY": ADMIN_KEY,
            "DISPATCHER_DATABASE_URL": postgres_url,
            "DISPATCHER_HTTP_PORT": "0",
            "DISPATCHER_NETWORK_ALLOW": "127.0.0.0/8",
            "DISPATCHER_SECRETS_KEY": "a-key-of-the-tests-with-32-characters",
        },
        tmp_path / "none.toml",
    )
    async with await connect(amqp_url, "tests") as connection:
        # The service makes them while it starts, and would be published to before.
        await prepare(connection, make_topology(settings.amqp))
    async with (
        Receiver() as receiver,
        running(settings) as app,
        ClientSession(app.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as session,
        Publisher.amqp(amqp_url) as publisher,
    ):
        subscription = {"events": ["FINISHED"], "target": {"kind": "webhook", "url": receiver.url}}
        async with session.post("/v1/subscriptions", json=subscription) as response:
            assert response.status == 201
        with recorded() as hops:
            await publisher.publish({"event": "FINISHED", "job_id": "1", "owner": "anna"})
            with suppress(TimeoutError):
                async with asyncio.timeout(20):
                    while not wanted <= hops:  # noqa: ASYNC110 - a profiler wakes no task
                        await asyncio.sleep(0.05)
    assert wanted - hops == set()
