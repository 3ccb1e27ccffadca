"""The way of one message to each recipient who does not have it yet, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from dispatcher.domain.events import utc_now
from dispatcher.targets.email.admission import Counted, Rejected
from dispatcher.targets.email.consent import ConsentService
from dispatcher.targets.email.message import MessageHeaders
from dispatcher.targets.email.recipient_results import RecipientResults
from dispatcher.targets.email.recipients import ResolvedRecipient
from dispatcher.targets.email.replies import Refused
from dispatcher.targets.email.session import NotReached, Unsure
from dispatcher.targets.email.templates import Content

LINK = "https://unsubscribe.invalid/"
"""What stands for a recipient's link while a message is rendered, which is done once for all recipients."""


class OutgoingMail(Struct, frozen=True, kw_only=True):
    """What goes out for a delivery: the message for each recipient, by key; who is not among them has it already.

    `id` makes the Message-ID, `thread` says what belongs together. `until` is the end of the delivery's age.
    """

    id: str
    thread: str
    list_id: str
    until: datetime
    contents: Mapping[str, Content]


async def send_all(
    attempt: RecipientResults,
    mail: OutgoingMail,
    addressees: Sequence[ResolvedRecipient],
    consent: ConsentService,
) -> None:
    """Send to everybody who is open in this attempt, which notes what came of it."""
    broken: str | None = None
    left = [addressee for addressee in addressees if not attempt.settled(addressee.address.key)]
    standings = await consent.repository.standings([addressee.recipient for addressee in left])
    # An attempt ends in its time: who is left then is tried at the next one.
    deadline = time.monotonic() + consent.mailer.pool.relay.timeouts.connect
    for addressee, standing in zip(left, standings, strict=True):
        key = addressee.address.key
        if key not in mail.contents:
            attempt.had(key)
        elif broken is not None:
            attempt.broke_off(key, broken)
        elif time.monotonic() > deadline:
            attempt.waits(key, "the time of an attempt was used up by the recipients before", 1.0)
        elif isinstance(verdict := await consent.authorize(addressee, standing), Counted):
            broken = await _send_one(attempt, mail, addressee, consent, verdict)
        elif isinstance(verdict, Rejected):
            attempt.asked(verdict.answer)
            attempt.left_out(key, verdict.reason)
        else:
            attempt.asked(verdict.answer)
            seconds = _within(verdict.seconds, mail.until)
            attempt.waits(key, verdict.reason, seconds, coalesce=verdict.coalesce)


async def _send_one(
    attempt: RecipientResults,
    mail: OutgoingMail,
    addressee: ResolvedRecipient,
    consent: ConsentService,
    counted: Counted,
) -> str | None:
    """Send one message. What is wrong with the relay, if it cannot be spoken to."""
    key = addressee.address.key
    headers = MessageHeaders(
        to=addressee.address,
        id=mail.id,
        thread=mail.thread,
        list_id=mail.list_id,
        unsubscribe=consent.mailer.links.link("unsubscribe", addressee.recipient.subscription_id, key),
        date=utc_now(),
    )
    try:
        attempt.got(key, await consent.mailer.send(headers, _linked(mail.contents[key], headers.unsubscribe)))
        await consent.taken(addressee)
    except Refused as error:
        await consent.take_back(addressee, counted)
        attempt.refused(key, await consent.refused(addressee, error))
    except Unsure as error:
        attempt.unsure(key, str(error))
        return str(error)
    except NotReached as error:
        await consent.take_back(addressee, counted)
        if error.busy:
            attempt.waits(key, str(error), 1.0)
            return None
        attempt.broke_off(key, str(error))
        return str(error)
    return None


def _within(seconds: float, until: datetime) -> float:
    """Not past the end of the delivery's age, so that it is looked at once more before that."""
    left = (until - utc_now()).total_seconds()
    return min(seconds, max(left - 1, 60.0))


def _linked(content: Content, link: str | None) -> Content:
    """The content with a recipient's own link, if there are links."""
    if link is None:
        return content
    html = None if content.html is None else content.html.replace(LINK, link)
    return Content(content.subject, content.text.replace(LINK, link), html)
