"""The target kind `email`: an event as a message to each of its recipients, through the mail relay."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_values import EventValues
from dispatcher.domain.events import LONG_DOCUMENT, Event, utc_now
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import Answer
from dispatcher.domain.templates import HeaderTemplate, RenderError, TextTemplate
from dispatcher.domain.variables import TemplateError
from dispatcher.targets.mail.addresses import Address, checked_addresses
from dispatcher.targets.mail.desk import Desk, Out, Seat, seats_of
from dispatcher.targets.mail.facts import facts_of
from dispatcher.targets.mail.mailer import Mailer
from dispatcher.targets.mail.message import Stamp
from dispatcher.targets.mail.pool import NotReached, Refused
from dispatcher.targets.mail.progress import Round
from dispatcher.targets.mail.templates import Content, TemplateFault, subject_line
from dispatcher.targets.registry import Resources

MAX_RECIPIENTS = 20

LINK = "https://unsubscribe.invalid/"
"""What stands for a recipient's link while a message is rendered, which is done once for all recipients."""


class EmailTarget(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="email"):
    """Who gets an event as an e-mail, and in which words.

    `subject` and `text` may hold variables; without them templates make the message, as text and as HTML. `template` is
    the name of one of the operator's variants of them, such as a language. Each recipient gets a message of their own.
    """

    to: Annotated[
        tuple[Annotated[str, Meta(min_length=3, max_length=320)], ...],
        Meta(min_length=1, max_length=MAX_RECIPIENTS, examples=[["ann@example.org"]]),
    ]
    subject: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    text: Annotated[str, Meta(min_length=1, max_length=65536)] | None = None
    template: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class EmailKind:
    """Checks e-mail targets and makes their senders, which share one pool of connections."""

    name = "email"
    spec = EmailTarget

    def __init__(self, desk: Desk | None) -> None:
        self._desk = desk

    def check(self, target: Struct) -> str:
        """The destination (`smtp://relay.example.org:25`); InvalidInput when the target cannot work."""
        email = _email(target)
        if self._desk is None:
            raise InvalidInput(
                "target.kind", "no e-mail is sent here: smtp.url (DISPATCHER_SMTP_URL) is not set"
            )
        checked_addresses("target.to", email.to)
        _compiled(email)
        mailer = self._desk.mailer
        if email.template is not None and email.template not in mailer.templates.variants:
            known = ", ".join(sorted(mailer.templates.variants)) or "none"
            raise InvalidInput("target.template", f"unknown: {email.template[:64]!r}; there are {known}")
        return mailer.pool.relay.destination

    def redact(self, target: Struct) -> dict[str, object]:
        """The target as it is: nothing in it is secret."""
        shown: dict[str, object] = msgspec.to_builtins(_email(target))
        return shown

    def sender(self, subscription: Subscription) -> EmailSender:
        """The sender of a subscription whose target was checked."""
        return EmailSender(self._desk, msgspec.convert(subscription.target, EmailTarget), subscription)

    async def close(self) -> None:
        """Let go of connections."""
        if self._desk is not None:
            await self._desk.close()


def make_kind(resources: Resources) -> EmailKind:
    """Called by the registry."""
    return EmailKind(resources.desk)


class EmailSender:
    """One subscription's messages."""

    def __init__(self, desk: Desk | None, target: EmailTarget, subscription: Subscription) -> None:
        self._desk = desk
        self._list_id = subscription.id
        self._max_age = subscription.retry.max_age
        self._seats = seats_of(subscription)
        self._subject, self._text = _compiled(target)
        self._template = target.template

    async def send(self, event: Event, delivery_id: str, number: int, memo: str | None = None) -> Answer:
        """Make one attempt. Raises for nothing that a relay does."""
        if self._desk is None:
            return Answer(request="MAIL", error="no e-mail is sent here: smtp.url is not set")
        request = self._request(self._desk.mailer)
        try:
            content = await self._content(event, self._desk.mailer)
        except (RenderError, TemplateFault) as error:
            return Answer(request=request, error=str(error), final=isinstance(error, RenderError))
        attempt = Round(memo)
        await self._send_all(attempt, event, delivery_id, content, self._desk)
        return attempt.answer(request)

    async def _send_all(
        self, attempt: Round, event: Event, delivery_id: str, content: Content, desk: Desk
    ) -> None:
        # An attempt ends in its time: who is left then is tried at the next one.
        deadline = time.monotonic() + desk.mailer.pool.relay.timeout
        broken: str | None = None
        seats = [seat for seat in self._seats if not attempt.settled(seat.address.key)]
        standings = await desk.book.standings([seat.recipient for seat in seats])
        for seat, standing in zip(seats, standings, strict=True):
            key = seat.address.key
            if broken is not None:
                attempt.broke_off(key, broken)
            elif time.monotonic() > deadline:
                attempt.waits(key, "the time of an attempt was used up by the recipients before", 1.0)
            elif (verdict := await desk.admit(seat, standing)) is None:
                broken = await self._send_one(
                    attempt, seat, self._stamp(seat.address, event, delivery_id), content
                )
            elif isinstance(verdict, Out):
                attempt.left_out(key, verdict.reason)
            else:
                attempt.waits(key, verdict.reason, self._wait(verdict.seconds, event))

    async def _send_one(self, attempt: Round, seat: Seat, stamp: Stamp, content: Content) -> str | None:
        """Send one message. What is wrong with the relay, if it cannot be spoken to."""
        desk, key = self._desk, seat.address.key
        assert desk is not None  # noqa: S101 - `send` has looked
        try:
            attempt.got(key, await desk.mailer.send(stamp, _linked(content, stamp.unsubscribe)))
        except Refused as error:
            await desk.take_back(seat)
            await desk.refused(seat, error)
            attempt.refused(key, str(error), error.code, final=error.final)
        except NotReached as error:
            await desk.take_back(seat)
            if error.busy:
                attempt.waits(key, str(error), 1.0)
                return None
            attempt.broke_off(key, str(error))
            return str(error)
        return None

    def _wait(self, seconds: float, event: Event) -> float:
        """Not past the end of the delivery's age, so that it is looked at once more before that."""
        left = (event.accepted_at - utc_now()).total_seconds() + self._max_age
        return min(seconds, max(left - 1, 60.0))

    def _stamp(self, to: Address, event: Event, delivery_id: str) -> Stamp:
        links = None if self._desk is None else self._desk.mailer.links
        return Stamp(
            to=to,
            id=delivery_id,
            thread=f"{event.tenant}\x1f{event.job_id}",
            list_id=self._list_id,
            unsubscribe=None if links is None else links.link("unsubscribe", self._list_id, to.key),
            date=utc_now(),
        )

    async def _content(self, event: Event, mailer: Mailer) -> Content:
        """The message for all recipients. Raises RenderError and TemplateFault."""
        if len(event.document) <= LONG_DOCUMENT:
            return self._rendered(event, mailer)
        # A long one takes a while: webhooks do not wait for it.
        return await asyncio.to_thread(self._rendered, event, mailer)

    def _rendered(self, event: Event, mailer: Mailer) -> Content:
        values = EventValues(event)
        link = LINK if mailer.links.available else ""
        subject = None if self._subject is None else subject_line(self._subject.render(values))
        if self._text is not None and subject is not None:
            return Content(subject, _with_foot(self._text.render(values), link), None)
        facts = {**asdict(facts_of(event)), "unsubscribe": link}
        made = mailer.templates.render(event.event, self._template, facts)
        if self._text is not None:
            return Content(made.subject, _with_foot(self._text.render(values), link), None)
        return Content(subject or made.subject, made.text, made.html)

    def _request(self, mailer: Mailer) -> str:
        keys = ", ".join(seat.address.key for seat in self._seats)
        return f"MAIL {keys} via {mailer.pool.relay.destination}"[:1000]


def _with_foot(text: str, link: str) -> str:
    return f"{text}\n\n-- \nNo more mails like this: {link}\n" if link else text


def _linked(content: Content, link: str | None) -> Content:
    """The content with a recipient's own link, if there are links."""
    if link is None:
        return content
    html = None if content.html is None else content.html.replace(LINK, link)
    return Content(content.subject, content.text.replace(LINK, link), html)


def _email(target: Struct) -> EmailTarget:
    if not isinstance(target, EmailTarget):
        raise TypeError(f"expected an EmailTarget, got a {type(target).__name__}")
    return target


def _compiled(target: EmailTarget) -> tuple[TextTemplate | None, TextTemplate | None]:
    """Subject and text. InvalidInput when a variable is unknown, or the subject has a line break."""
    try:
        if target.subject is not None:
            HeaderTemplate.compile(target.subject)
        subject = None if target.subject is None else TextTemplate.compile(target.subject)
    except TemplateError as error:
        raise InvalidInput("target.subject", str(error)) from None
    try:
        text = None if target.text is None else TextTemplate.compile(target.text)
    except TemplateError as error:
        raise InvalidInput("target.text", str(error)) from None
    return subject, text
