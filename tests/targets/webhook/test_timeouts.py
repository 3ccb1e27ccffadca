"""How long an attempt may take: the operator's time, or the target's own within bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web

from dispatcher.app import running
from dispatcher.config.loading import load
from dispatcher.delivery.limits import Limits
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.ids import new_id
from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.config import MAX_TIMEOUT
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from tests.factories import make_event, make_subscription
from tests.http.requests import LOOPBACK
from tests.http.servers import answering, hang, raw_server
from tests.receiver import Arrived, Receiver


@pytest.fixture
async def kind() -> AsyncIterator[WebhookKind]:
    """Yield a kind that gives up after 0.2 s, or 5 s where a target asks for that."""
    kind = WebhookKind(Egress(Guard(LOOPBACK), timeout=0.2, max_timeout=5))
    yield kind
    await kind.close()


async def attempt(kind: WebhookKind, url: str, **fields: object) -> AttemptResult:
    target = {"kind": "webhook", "url": url} | fields
    return await kind.sender(make_subscription(target=target)).send(make_event(), new_id("dlv"), 1)


async def test_a_slow_receiver_is_waited_for_where_the_target_asks_for_it(
    kind: WebhookKind, receiver: Receiver
) -> None:
    async def slow(_: Arrived) -> web.Response:
        await asyncio.sleep(0.5)  # longer than the operator's time
        return web.Response(status=204)

    receiver.answer = slow
    assert (await attempt(kind, receiver.url)).error == "no answer within 0.2 s"
    assert (await attempt(kind, receiver.url, timeout=5)).error is None


async def test_a_target_may_ask_for_less_time() -> None:
    kind = WebhookKind(Egress(Guard(LOOPBACK), timeout=15))
    async with raw_server(answering(then=hang)) as url:
        began = time.monotonic()
        result = await attempt(kind, url, timeout=1)
    await kind.close()

    assert result.error == "no answer within 1 s"
    assert time.monotonic() - began < 5


async def test_a_time_of_the_targets_choice_says_nothing_of_the_receiver_to_others(kind: WebhookKind) -> None:
    async with raw_server(answering(then=hang)) as url:
        assert (await attempt(kind, url, timeout=1)).concerns_subscription
        assert not (await attempt(kind, url)).concerns_subscription
    # Nothing listens there now. With a second to connect it could be too slow as well.
    short, usual = await attempt(kind, url, timeout=1), await attempt(kind, url)
    assert (short.concerns_subscription, short.destination_down) == (True, False)
    assert (usual.concerns_subscription, usual.destination_down) == (False, True)


async def test_more_than_the_operator_allows_by_now_is_cut() -> None:
    """As when the lease was shortened after the target was made."""
    kind = WebhookKind(Egress(Guard(LOOPBACK), timeout=0.2, max_timeout=0.4))
    async with raw_server(answering(then=hang)) as url:
        result = await attempt(kind, url, timeout=30)
    await kind.close()

    assert result.error == "no answer within 0.4 s"


def test_targets_with_the_same_time_share_their_connections() -> None:
    egress = Egress(Guard())

    assert egress.within(None) is egress.exchange
    assert egress.within(7) is egress.within(7)
    assert egress.within(7) is not egress.within(8)


def check(seconds: object) -> None:
    target = msgspec.convert(
        {"kind": "webhook", "url": "https://example.org/", "timeout": seconds}, WebhookTarget
    )
    WebhookKind(Egress(Guard(), timeout=15, max_timeout=30)).check(target)


@pytest.mark.parametrize("seconds", [None, 1, 15, 30])
def test_times_within_the_bounds_are_accepted(seconds: int | None) -> None:
    check(seconds)


def test_more_than_half_of_the_lease_is_refused_with_the_setting() -> None:
    with pytest.raises(InvalidInput) as caught:
        check(31)

    assert (caught.value.field, caught.value.problem) == (
        "target.timeout",
        "expected at most 30 s, half of delivery.lease",
    )


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 1.5, MAX_TIMEOUT + 1, "5"])
def test_what_is_no_such_time_is_refused(seconds: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        check(seconds)


async def test_a_process_allows_half_of_its_lease(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So an attempt ends before others may take its delivery over."""
    made: list[Egress] = []

    def noted(*args: object) -> Egress:
        made.append(Egress(*args))  # type: ignore[arg-type]  # they are those of the application
        return made[-1]

    monkeypatch.setattr("dispatcher.app.Egress", noted)
    environ = {"DISPATCHER_DATABASE_URL": sqlite_url, "DISPATCHER_HTTP_PORT": "0"}
    async with running(load(environ | {"DISPATCHER_DELIVERY_LEASE": "90"})):
        [egress] = made

    assert (egress.timeout, egress.max_timeout) == (15, 45)
    assert Limits(lease=90).max_timeout == egress.max_timeout
