"""Questions for consent that wait in memory until the limits of the relay let them go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from dispatcher.domain.errors import Conflict, RateLimited, StoreUnavailable
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptLimits, AttemptResult
from dispatcher.telemetry.background import InternalErrors

log = structlog.get_logger("dispatcher.mail")

MOST = 1000
"""Subscriptions whose recipients wait to be asked; those of others are asked by their first delivery."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
"""Seconds until it is tried again what the limits held back; each time in vain doubles them."""


class Unlimited:
    """Where nothing is delivered."""

    async def send(
        self, subscription: Subscription, send: Callable[[], Awaitable[AttemptResult]], *, returns: bool
    ) -> AttemptResult:
        """What `send` answers."""
        return await send()


class Invitations:
    """The tasks that ask."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self._errors = InternalErrors("consent")

    def begin(self, subscription_id: str, ask: Callable[[], Coroutine[None, None, None]]) -> None:
        """Ask the recipients of a subscription soon; what fails for good is left to its first delivery."""
        if len(self.running) >= MOST:
            log.warning(
                "too many confirmation requests wait, the first delivery sends these",
                subscription=subscription_id,
            )
            return
        task = asyncio.get_running_loop().create_task(self._ask(subscription_id, ask))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def close(self) -> None:
        """Stop asking."""
        for task in self.running:
            task.cancel()
        if self.running:
            await asyncio.wait(self.running)

    async def _ask(self, subscription_id: str, ask: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await ask()
        except StoreUnavailable as error:
            log.warning("confirmation requests postponed", subscription=subscription_id, error=str(error))
        except Exception as error:  # noqa: BLE001 - reported; the first delivery asks
            self._errors.report(error, subscription=subscription_id)


async def when_let(
    limits: AttemptLimits, subscription: Subscription, send: Callable[[], Awaitable[AttemptResult]]
) -> None:
    """Send as soon as the limits let it, and again while the relay cannot be reached."""
    wait, said = 0.0, False
    while True:
        limited = None
        try:
            answer = await limits.send(subscription, send, returns=True)
            if not (answer.destination_down and answer.status is None):
                return
            reason = answer.error
        except RateLimited as error:
            reason, limited = str(error), error.seconds
        except Conflict as error:
            reason = str(error)
        if not said:
            said = True
            log.info("confirmation requests postponed", subscription=subscription.id, reason=reason)
        # Not before its time: who asks a rate limit earlier takes times from those who wait for theirs.
        wait = min(2 * wait or FIRST_WAIT, LONGEST_WAIT) if limited is None else 0.0
        await asyncio.sleep(wait if limited is None else limited)
