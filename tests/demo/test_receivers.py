from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientConnectorError, ClientSession

from dispatcher.demo.plans import Plan
from dispatcher.demo.receivers import Receiver, open_inboxes
from dispatcher.targets.signing import Signer
from tests.factories import SECRET


def plan(**trouble: float) -> Plan:
    fields = {"name": "a test", "path": "/", "events": ("*",), "wants": lambda event: True}
    return Plan(**fields | trouble)  # type: ignore[arg-type]  # each test names real fields


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def _post(
    session: ClientSession, receiver: Receiver, secret: str = SECRET, id: str = "dlv_1"
) -> tuple[int, str]:
    headers = Signer([secret]).headers(id, int(time.time()), b"{}")
    async with session.post(receiver.url, data=b"{}", headers=headers) as answer:
        return answer.status, answer.headers.get("Retry-After", "")


async def test_a_receiver_takes_what_is_signed_with_its_secret(session: ClientSession) -> None:
    async with open_inboxes([plan()], Receiver) as (receiver,):
        receiver.secret = SECRET
        assert await _post(session, receiver) == (204, "")
        assert receiver.received == {"dlv_1"}


async def test_a_receiver_counts_what_it_got_twice(session: ClientSession) -> None:
    async with open_inboxes([plan()], Receiver) as (receiver,):
        receiver.secret = SECRET
        for id in ("dlv_1", "dlv_2", "dlv_1"):
            await _post(session, receiver, id=id)
        assert receiver.repeats == 1


async def test_a_receiver_refuses_another_signature_and_remembers_it(session: ClientSession) -> None:
    async with open_inboxes([plan()], Receiver) as (receiver,):
        receiver.secret = SECRET
        other = "whsec_" + "A" * 32
        assert await _post(session, receiver, other) == (401, "")
        assert receiver.received == set()
        assert len(receiver.forged) == 1


async def test_a_busy_receiver_asks_for_patience_a_few_times(session: ClientSession) -> None:
    async with open_inboxes([plan(busy=2)], Receiver) as (receiver,):
        receiver.secret = SECRET
        assert [await _post(session, receiver) for _ in range(3)] == [(503, "2"), (503, "2"), (204, "")]


async def test_a_late_receivers_port_is_closed_until_it_is_opened(session: ClientSession) -> None:
    async with open_inboxes([plan(opens_after=1.0)], Receiver) as (receiver,):
        receiver.secret = SECRET
        with pytest.raises(ClientConnectorError):
            await _post(session, receiver)
        await receiver.open()
        assert await _post(session, receiver) == (204, "")
