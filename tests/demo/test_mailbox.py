from __future__ import annotations

import asyncio
from email.message import EmailMessage
from urllib.parse import urlsplit

import aiosmtplib

from dispatcher.demo.mailbox import Mailbox
from dispatcher.demo.plans import MAIL
from dispatcher.demo.receivers import open_inboxes


def message(text: str) -> EmailMessage:
    made = EmailMessage()
    made["Message-ID"] = "<dlv_1.abc@example.org>"
    made["To"] = "ann@example.org"
    made["Subject"] = "hello"
    made.set_content(text)
    return made


async def test_the_mailbox_keeps_what_it_gets_and_notices_what_comes_twice() -> None:
    async with open_inboxes([MAIL], Mailbox) as [mailbox]:
        port = urlsplit(mailbox.url).port
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        async with client:
            for _ in range(2):
                await client.send_message(message("one\n.two\n"), sender="x@example.org")
    assert mailbox.received == {"dlv_1"}
    assert mailbox.repeats == 1
    assert mailbox.last == "ann@example.org: hello"
    assert mailbox.newest is not None
    assert mailbox.newest.get_content().splitlines() == ["one", ".two"]


async def test_a_client_that_goes_away_leaves_nothing() -> None:
    async with open_inboxes([MAIL], Mailbox) as [mailbox]:
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(mailbox.url).port)
        writer.write(b"DATA\r\nhalf a message")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert mailbox.received == set()
