"""The kind `email` against a real SMTP server: what it sends, and what it makes of the relay's answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dispatcher.targets.email import EmailKind
from dispatcher.targets.mail.links import Links
from dispatcher.targets.mail.mailer import Mailer
from dispatcher.targets.mail.message import sender_of
from dispatcher.targets.mail.pool import Pool
from dispatcher.targets.mail.relay import relay_at
from dispatcher.targets.mail.templates import Templates
from tests.factories import make_event, make_subscription
from tests.mail.relay import Relay, relay

DELIVERY = "dlv_0192f0c1a2b37c4d8e5f60718293a4b5"


@pytest.fixture
async def server() -> AsyncIterator[Relay]:
    """Yield a relay that takes everything unless told otherwise."""
    async with relay() as server:
        yield server


def mailer(url: str, timeout: float = 5) -> Mailer:
    return Mailer(
        pool=Pool(relay_at(url, timeout=timeout, connections=2)),
        sender=sender_of("Dispatcher <noreply@example.org>"),
        templates=Templates(),
        links=Links("https://dispatcher.example.org", ["a key of thirty-two characters or more"]),
    )


def subscription(*to: str, **target: Any) -> Any:
    return make_subscription(target={"kind": "email", "to": to, **target})


async def test_an_event_becomes_a_message_to_each_recipient(server: Relay) -> None:
    kind = EmailKind(mailer(f"smtp://{server.url}"))
    sender = kind.sender(subscription("ann@example.org", "bob@example.org"))
    answer = await sender.send(make_event(), DELIVERY, 1)
    await kind.close()
    assert answer.error is None
    assert answer.status == 250
    assert [mail.to for mail in server.mails] == ["ann@example.org", "bob@example.org"]
    assert server.mails[0].message["Subject"] == "FINISHED job-1"
    assert "The status of job job-1 has changed to FINISHED." in server.mails[0].text
    assert server.connections == 1
