"""A consent service over a real store, for a relay of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import open_store
from dispatcher.store.store import Store
from dispatcher.targets.email.consent import ConsentService, MailPolicy
from dispatcher.targets.email.links import Links
from dispatcher.targets.email.mailer import Mailer
from dispatcher.targets.email.message import sender_of
from dispatcher.targets.email.smtp import Timeouts, relay_at
from dispatcher.targets.email.smtp_pool import Pool
from dispatcher.targets.email.templates import Templates
from tests.factories import make_subscription

KEY = "a key of thirty-two characters or more"
BASE = "https://dispatcher.example.org"
TRUSTED = MailPolicy(trusted_domains=frozenset({"example.org"}))


class Clock:
    """The time by which messages to an address are counted: one second before the end of an hour, until it is set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, 59, 59, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


@asynccontextmanager
async def open_file(path: Path) -> AsyncIterator[Store]:
    """A store in a file."""
    store = open_store(f"sqlite:///{path}", Sealer([KEY]))
    await store.open()
    yield store
    await store.close()


def make_consent_service(
    store: Store,
    url: str,
    rules: MailPolicy = TRUSTED,
    *,
    base: str | None = BASE,
    timeout: float | Timeouts = 5,
    templates: Path | None = None,
    connections: int = 2,
    hello: str = "",
) -> ConsentService:
    """A consent service that sends to the relay at a URL."""
    times = timeout if isinstance(timeout, Timeouts) else every(timeout)
    mailer = Mailer(
        pool=Pool(relay_at(url, times, connections, hello)),
        sender=sender_of("Dispatcher <noreply@example.org>"),
        templates=Templates(templates),
        links=Links(base, [KEY]),
    )
    return ConsentService(mailer, store.recipients, rules)


def email_subscription(*to: str, **target: Any) -> Subscription:
    """A subscription of alice that sends e-mail."""
    return make_subscription(target={"kind": "email", "to": to, **target}, destination="smtp://relay:25")


def every(seconds: float) -> Timeouts:
    """The same time for each step."""
    return Timeouts(connect=seconds, command=seconds, data=seconds, block=seconds, answer=seconds)
