"""The target kind `email`: an event as a message to each of its recipients, through the mail relay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct
from msgspec.structs import asdict

from dispatcher.domain.digests import DigestPolicy, Gathered
from dispatcher.domain.errors import Conflict, InvalidInput, NotFound
from dispatcher.domain.events import LONG_DOCUMENT, Event
from dispatcher.domain.recipients import ShownRecipient
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptLimits, AttemptResult
from dispatcher.domain.templates import HeaderTemplate, RenderError, TextTemplate
from dispatcher.domain.variable_values import EventValues
from dispatcher.domain.variables import TemplateError
from dispatcher.targets.email.addresses import checked_addresses
from dispatcher.targets.email.consent import ConsentService
from dispatcher.targets.email.digest import DIGEST, digest_context
from dispatcher.targets.email.dispatch import LINK, OutgoingMail, send_all
from dispatcher.targets.email.factory import make_consent_service
from dispatcher.targets.email.pages import pages
from dispatcher.targets.email.recipient_results import RecipientResults, read_progress
from dispatcher.targets.email.recipients import resolved_recipients
from dispatcher.targets.email.template_context import build_context, one_line
from dispatcher.targets.email.templates import Content, TemplateFault, Templates, subject_line
from dispatcher.targets.registry import Resources

MAX_RECIPIENTS = 20

_Contents = Callable[[Event, Templates, str], Mapping[str, Content]]
"""Renders the messages about an event, by the recipients' keys, with a link to unsubscribe or none (empty)."""


class EmailTarget(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="email"):
    """Who gets an event as an e-mail, and in which words.

    `subject` and `text` may hold variables; without them templates make the message, as text and as HTML. `template` is
    the name of one of the operator's variants of them, such as a language. Each recipient gets a separate message.
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

    def __init__(self, consent: ConsentService | None) -> None:
        self._consent = consent

    def check(self, target: Struct) -> str:
        """The destination (`smtp://relay.example.org:25`); InvalidInput when the target cannot work."""
        email = _email(target)
        if self._consent is None:
            raise InvalidInput(
                "target.kind", "no e-mail is sent here: smtp.url (DISPATCHER_SMTP_URL) is not set"
            )
        checked_addresses("target.to", email.to, self._consent.trusted_domains)
        _compiled(email)
        mailer = self._consent.mailer
        if email.template is not None and email.template not in mailer.templates.variants:
            known = ", ".join(sorted(mailer.templates.variants)) or "none"
            raise InvalidInput("target.template", f"unknown: {email.template[:64]!r}; there are {known}")
        return mailer.pool.relay.destination

    def check_digest(self, target: Struct) -> None:
        """InvalidInput when the target has a `subject` or `text`: they are about one event."""
        email = _email(target)
        if email.subject is not None or email.text is not None:
            raise InvalidInput(
                "digest", "a digest has its own words: expected a target without `subject` and `text`"
            )

    def redact(self, target: Struct) -> dict[str, object]:
        """The target as it is: nothing in it is secret."""
        shown: dict[str, object] = msgspec.to_builtins(_email(target))
        return shown

    def sender(self, subscription: Subscription) -> EmailSender:
        """The sender of a subscription whose target was checked."""
        return EmailSender(self._consent, msgspec.convert(subscription.target, EmailTarget), subscription)

    def check_recipients(self, subscription: Subscription) -> None:
        """InvalidInput when a recipient would have to confirm, and there can be no link for it."""
        consent = self._consent
        if consent is None or consent.mailer.links.available:
            return
        for index, addressee in enumerate(resolved_recipients(subscription)):
            if not consent.is_own(addressee):
                raise InvalidInput(
                    f"target.to[{index}]",
                    f"{addressee.address.key} would have to confirm first, and there is no link for it: expected an "
                    "address of a domain in smtp.trusted_domains, or http.public_url to be set",
                )

    def invite(self, subscription: Subscription) -> None:
        """Ask the recipients who have to confirm; it goes on after this returns."""
        if self._consent is not None:
            self._consent.invite(subscription)

    async def recipients(self, subscriptions: Sequence[Subscription]) -> Mapping[str, list[ShownRecipient]]:
        """How it stands with the recipients, by subscription."""
        return {} if self._consent is None else await self._consent.shown(subscriptions)

    async def restore(self, subscription: Subscription, address: str) -> ShownRecipient:
        """Let a recipient have mails again; one who has to agree is asked for it once more."""
        if self._consent is None:
            raise Conflict(f"{subscription.id} sends no e-mail")
        wanted = address.lower()
        for addressee in resolved_recipients(subscription):
            if addressee.address.key == wanted:
                return await self._consent.restore(addressee)
        raise NotFound(f"{subscription.id} has no recipient {address[:80]!r}")

    def limit_to(self, limits: AttemptLimits) -> None:
        """Keep requests to confirm to the limits of the relay."""
        if self._consent is not None:
            self._consent.limits = limits

    def pages(self, wake: Callable[[], None]) -> Sequence[web.RouteDef]:
        """The pages that links in mails lead to."""
        return pages(self._consent, wake)

    async def close(self) -> None:
        """Close connections."""
        if self._consent is not None:
            await self._consent.close()


def make_kind(resources: Resources) -> EmailKind:
    """Called by the registry."""
    settings, store = resources.settings, resources.store
    if settings is None or store is None:
        return EmailKind(None)
    return EmailKind(make_consent_service(settings, store.recipients))


class EmailSender:
    """One subscription's messages."""

    overflows = True

    def __init__(
        self, consent: ConsentService | None, target: EmailTarget, subscription: Subscription
    ) -> None:
        self._consent = consent
        self._id = subscription.id
        self._name = subscription.name
        self._max_age = timedelta(seconds=subscription.retry.max_age)
        self._policy = subscription.digest or DigestPolicy()
        self._addressees = resolved_recipients(subscription)
        self._subject, self._text = _compiled(target)
        self._template = target.template

    async def send(
        self, event: Event, delivery_id: str, number: int, attempt_state: str | None = None
    ) -> AttemptResult:
        """Make one attempt. Raises for nothing that a relay does."""
        attempt, thread = (
            RecipientResults(read_progress(attempt_state).alone(delivery_id)),
            f"{event.tenant}\x1f{event.job_id}",
        )
        # A long event takes a while: webhooks do not wait for it.
        slow = len(event.document) > LONG_DOCUMENT
        return await self._send(attempt, event, (delivery_id, thread), slow, self._contents)

    async def send_digest(self, gathered: Sequence[Gathered], number: int) -> AttemptResult:
        """The same with one message for all these events."""
        first, *others = gathered
        progress = read_progress(first.memo).leading(first.delivery_id)
        had = {one.delivery_id: read_progress(one.memo).had(one.delivery_id) for one in others}
        had[first.delivery_id] = set(progress.before)
        thread = await asyncio.to_thread(self._thread, gathered)

        def contents(_: Event, templates: Templates, link: str) -> Mapping[str, Content]:
            return self._digests(gathered, had, templates, link)

        return await self._send(
            RecipientResults(progress), first.event, (first.delivery_id, thread), True, contents
        )

    def _thread(self, gathered: Sequence[Gathered]) -> str:
        """What the digests of a group have in common; one of several groups is the subscription's."""
        groups = {self._policy.values(one.event) for one in gathered}
        return "\x1f".join(("digests", self._id, *(groups.pop() if len(groups) == 1 else ())))

    async def _send(
        self, attempt: RecipientResults, event: Event, names: tuple[str, str], slow: bool, contents: _Contents
    ) -> AttemptResult:
        consent = self._consent
        if consent is None:
            return AttemptResult(request_line="MAIL", error="no e-mail is sent here: smtp.url is not set")
        keys = ", ".join(addressee.address.key for addressee in self._addressees)
        request = f"MAIL {keys} via {consent.mailer.pool.relay.destination}"[:1000]
        parts = (event, consent.mailer.templates, LINK if consent.mailer.links.available else "")
        try:
            made = await asyncio.to_thread(contents, *parts) if slow else contents(*parts)
        except (RenderError, TemplateFault) as error:
            return AttemptResult(
                request_line=request, error=str(error), permanent=isinstance(error, RenderError)
            )
        mail = OutgoingMail(
            id=names[0],
            thread=names[1],
            list_id=self._id,
            until=event.accepted_at + self._max_age,
            contents=made,
        )
        await send_all(attempt, mail, self._addressees, consent)
        return attempt.answer(request)

    def _contents(self, event: Event, templates: Templates, link: str) -> Mapping[str, Content]:
        """The message about an event, which is the same for all. Raises RenderError and TemplateFault."""
        content = self._content(event, templates, link)
        return {addressee.address.key: content for addressee in self._addressees}

    def _content(self, event: Event, templates: Templates, link: str) -> Content:
        named = EventValues(event)
        subject = None if self._subject is None else subject_line(self._subject.render(named))
        text = None if self._text is None else _with_foot(self._text.render(named), link)
        if text is not None and subject is not None:
            return Content(subject, text, None)
        values = asdict(build_context(event)) | {"subscription": one_line(self._name), "unsubscribe": link}
        made = templates.render(event.event, self._template, values)
        if text is not None:
            return Content(made.subject, text, None)
        return Content(subject or made.subject, made.text, made.html)

    def _digests(
        self, gathered: Sequence[Gathered], had: Mapping[str, set[str]], templates: Templates, link: str
    ) -> Mapping[str, Content]:
        """The message about all events that a recipient has not `had`, by the deliveries' ids. Raises TemplateFault."""
        made: dict[tuple[str, ...], Content] = {}
        found: dict[str, Content] = {}
        for key in (addressee.address.key for addressee in self._addressees):
            new = [one for one in gathered if key not in had[one.delivery_id]]
            ids = tuple(one.delivery_id for one in new)
            if new and ids not in made:
                facts = asdict(digest_context([one.event for one in new], self._policy, self._name))
                made[ids] = templates.render(DIGEST, self._template, {**facts, "unsubscribe": link})
            if new:
                found[key] = made[ids]
        return found


def _with_foot(text: str, link: str) -> str:
    return f"{text}\n\n-- \nNo more mails like this: {link}\n" if link else text


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
