"""The way of one message to each recipient who does not have it yet, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from dispatcher.domain.events import utc_now
from dispatcher.targets.mail.admission import Counted, Out
from dispatcher.targets.mail.desk import Desk, Seat
from dispatcher.targets.mail.message import Stamp
from dispatcher.targets.mail.progress import Round
from dispatcher.targets.mail.replies import Refused
from dispatcher.targets.mail.session import NotReached, Unsure
from dispatcher.targets.mail.templates import Content

LINK = "https://unsubscribe.invalid/"
"""What stands for a recipient's link while a message is rendered, which is done once for all recipients."""


class Parcel(Struct, frozen=True, kw_only=True):
    """What goes out for a delivery: the message for each recipient, by key; who is not among them has it already.

    `id` makes the Message-ID, `thread` says what belongs together. `until` is the end of the delivery's age.
    """

    id: str
    thread: str
    list_id: str
    until: datetime
    contents: Mapping[str, Content]


async def send_all(attempt: Round, parcel: Parcel, seats: Sequence[Seat], desk: Desk) -> None:
    """Send to everybody who is open in this attempt, which notes what came of it."""
    broken: str | None = None
    left = [seat for seat in seats if not attempt.settled(seat.address.key)]
    standings = await desk.book.standings([seat.recipient for seat in left])
    # An attempt ends in its time: who is left then is tried at the next one.
    deadline = time.monotonic() + desk.mailer.pool.relay.timeouts.connect
    for seat, standing in zip(left, standings, strict=True):
        key = seat.address.key
        if key not in parcel.contents:
            attempt.had(key)
        elif broken is not None:
            attempt.broke_off(key, broken)
        elif time.monotonic() > deadline:
            attempt.waits(key, "the time of an attempt was used up by the recipients before", 1.0)
        elif isinstance(verdict := await desk.admit(seat, standing), Counted):
            broken = await _send_one(attempt, parcel, seat, desk, verdict)
        elif isinstance(verdict, Out):
            attempt.asked(verdict.answer)
            attempt.left_out(key, verdict.reason)
        else:
            attempt.asked(verdict.answer)
            seconds = _within(verdict.seconds, parcel.until)
            attempt.waits(key, verdict.reason, seconds, together=verdict.together)


async def _send_one(attempt: Round, parcel: Parcel, seat: Seat, desk: Desk, counted: Counted) -> str | None:
    """Send one message. What is wrong with the relay, if it cannot be spoken to."""
    key = seat.address.key
    stamp = Stamp(
        to=seat.address,
        id=parcel.id,
        thread=parcel.thread,
        list_id=parcel.list_id,
        unsubscribe=desk.mailer.links.link("unsubscribe", seat.recipient.subscription_id, key),
        date=utc_now(),
    )
    try:
        attempt.got(key, await desk.mailer.send(stamp, _linked(parcel.contents[key], stamp.unsubscribe)))
        await desk.taken(seat)
    except Refused as error:
        await desk.take_back(seat, counted)
        attempt.refused(key, await desk.refused(seat, error))
    except Unsure as error:
        attempt.unsure(key, str(error))
        return str(error)
    except NotReached as error:
        await desk.take_back(seat, counted)
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
