"""Egress to this host, and a receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from tests.http.requests import LOOPBACK
from tests.receiver import Receiver


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    """Yield egress to loopback addresses."""
    egress = Egress(Guard(LOOPBACK))
    yield egress
    await egress.close()


@pytest.fixture
async def hasty() -> AsyncIterator[Egress]:
    """Yield egress that gives up after 0.3 s."""
    egress = Egress(Guard(LOOPBACK), timeout=0.3)
    yield egress
    await egress.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield a receiver that answers 204 unless a test changes it."""
    async with Receiver() as receiver:
        yield receiver
