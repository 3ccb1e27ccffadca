"""A client that may reach this host, and servers that answer in every wrong way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network

import pytest
import uvloop

from dispatcher.targets.http import HttpClient
from dispatcher.targets.network import Guard
from tests.receiver import Receiver

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]

_ON_BOTH_LOOPS = {"test_http", "test_http_wire", "test_http_pool", "test_connections"}


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
    """Yield a receiver that answers 204 unless told otherwise."""
    async with Receiver() as receiver:
        yield receiver
