"""A relay that takes everything, a store, and a consent service between them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dispatcher.store.store import Store
from dispatcher.targets.email import consent as consents
from dispatcher.targets.email.kind import EmailKind
from tests.targets.email.offices import Clock, make_consent_service, open_file
from tests.targets.email.relay import Relay, relay


@pytest.fixture
async def store(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Store]:
    """Yield an open store with nothing in it."""
    async with open_file(Path(shutil.copy(migrated_file, tmp_path / "mail.db"))) as store:
        yield store


@pytest.fixture
async def server() -> AsyncIterator[Relay]:
    """Yield a relay that takes everything unless a test changes it."""
    async with relay() as server:
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the time by which messages are counted. It stands still, so that no test sees two hours."""
    clock = Clock()
    monkeypatch.setattr(consents, "utc_now", clock)
    return clock


@pytest.fixture
async def kind(store: Store, server: Relay) -> AsyncIterator[EmailKind]:
    """Yield the kind that sends to the relay; addresses of example.org need no consent."""
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}"))
    yield kind
    await kind.close()
