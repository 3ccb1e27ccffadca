"""The API over both databases, and three who call it: alice, whose jobs they are, mallory and eve."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import Api, Caller, opened, serving
from tests.plugins import plugins_of


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database, of each kind in turn."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def api(url: str) -> AsyncIterator[Api]:
    """Yield the API over it, with the shapes of Tapis and Tethys."""
    async with opened(url) as store, serving(store, plugins_of(store)) as running:
        yield running


@pytest.fixture
def admin(api: Api) -> Caller:
    """Return a trusted publisher."""
    return api.admin


@pytest.fixture
async def alice(api: Api) -> Caller:
    """Return somebody who may publish and subscribe as alice."""
    return await api.caller("alice", "publish", "subscribe")


@pytest.fixture
async def mallory(api: Api) -> Caller:
    """Return somebody who may publish and subscribe as mallory."""
    return await api.caller("mallory", "publish", "subscribe")


@pytest.fixture
async def eve(api: Api) -> Caller:
    """Return somebody who may publish and subscribe as eve."""
    return await api.caller("eve", "publish", "subscribe")
