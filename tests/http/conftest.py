"""Clients that may reach this host, and a receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from dispatcher.http import HttpClient
from dispatcher.targets.ssrf_guard import Guard
from tests.http.requests import LOOPBACK
from tests.receiver import Receiver

_ON_BOTH_LOOPS = {
    "test_bounded_protocol",
    "test_connector",
    "test_exchange",
    "test_hostile_answers",
    "test_pool",
    "test_wire",
}


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what tests the client itself also on the loop that the service has."""
    usual: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return usual | {"uvloop": uvloop.new_event_loop} if item.path.stem in _ON_BOTH_LOOPS else usual


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """Yield a client that may reach loopback addresses."""
    client = HttpClient(Guard(LOOPBACK))
    yield client
    await client.close()


@pytest.fixture
async def hasty() -> AsyncIterator[HttpClient]:
    """Yield a client that gives up after 0.3 s."""
    client = HttpClient(Guard(LOOPBACK), timeout=0.3)
    yield client
    await client.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield a receiver that answers 204 unless a test sets another answer."""
    async with Receiver() as receiver:
        yield receiver
