"""Requests to confirm that the limits of the relay postpone: when they are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dispatcher.domain.errors import Conflict, RateLimited
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.email.invitations import FIRST_WAIT, when_let
from tests.targets.email.offices import email_subscription

SENT = AttemptResult(request_line="MAIL", status=250)


class Refusing:
    """Limits that refuse so often before they let something go."""

    def __init__(self, *refusals: Conflict) -> None:
        self._refusals = list(refusals)

    async def send(
        self, subscription: Subscription, send: Callable[[], Awaitable[AttemptResult]], *, returns: bool
    ) -> AttemptResult:
        assert returns
        if self._refusals:
            raise self._refusals.pop(0)
        return await send()


async def test_a_rate_limit_is_asked_at_the_time_that_it_named(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sends: list[str] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def send() -> AttemptResult:
        sends.append("sent")
        return SENT

    monkeypatch.setattr(asyncio, "sleep", sleep)
    paused, limited = Conflict("it is paused"), RateLimited("a rate limit has nothing left", 4711.0)
    await when_let(Refusing(paused, paused, limited, paused), email_subscription(), send)
    assert slept == [FIRST_WAIT, 2 * FIRST_WAIT, 4711.0, FIRST_WAIT]
    assert sends == ["sent"]
