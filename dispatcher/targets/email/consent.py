"""Who may get mails: consent, refusals, caps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog
from msgspec import Struct

from dispatcher.domain.event_names import EVENTS
from dispatcher.domain.events import utc_now
from dispatcher.domain.recipients import (
    WAITS_FOR_CONSENT,
    Quota,
    RecipientRepository,
    ShownRecipient,
    Standing,
)
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription
from dispatcher.domain.targets import AttemptLimits, AttemptResult
from dispatcher.targets.email.addresses import Address
from dispatcher.targets.email.admission import Counted, Deferred, Rejected
from dispatcher.targets.email.invitations import Invitations, Unlimited, when_let
from dispatcher.targets.email.links import Purpose
from dispatcher.targets.email.mailer import Mailer
from dispatcher.targets.email.message import MessageHeaders
from dispatcher.targets.email.recipient_results import Progress, RecipientResults
from dispatcher.targets.email.recipients import ResolvedRecipient, is_refused, resolved_recipients, shown
from dispatcher.targets.email.repeats import Repeats
from dispatcher.targets.email.replies import Refused
from dispatcher.targets.email.session import NotReached, Unsure
from dispatcher.targets.email.templates import TemplateFault

log = structlog.get_logger("dispatcher.mail")

CONSENT_WAIT = 900.0
"""Seconds until a delivery looks again whether a recipient has confirmed; a confirmation makes it due at once."""

ASKING = timedelta(minutes=45)
"""How long sending a request to confirm may take before others may send it: a relay has ten minutes to answer."""

HOUR, MINUTE = 3600, 60


class MailPolicy(Struct, frozen=True, kw_only=True):
    """Whom the operator trusts, and how many messages there may be: an hour to an address, a minute to a domain."""

    trusted_domains: frozenset[str] = frozenset()
    max_per_hour: int = 60
    max_per_domain: int = 600
    confirmations_per_key: int = 20
    confirmations_per_address: int = 2


class ConsentService:
    """Decides who gets mails, and asks those who were not asked yet."""

    def __init__(self, mailer: Mailer, repository: RecipientRepository, rules: MailPolicy) -> None:
        self.mailer = mailer
        self.repository = repository
        self._rules = rules
        self._repeats = Repeats()
        self.invitations = Invitations()
        self.limits: AttemptLimits = Unlimited()
        """The limits that questions for consent keep to which no delivery asks."""

    async def close(self) -> None:
        """Stop asking, and close the connections."""
        await self.invitations.close()
        await self.mailer.pool.close()

    @property
    def trusted_domains(self) -> frozenset[str]:
        """Domains whose addresses need no consent."""
        return self._rules.trusted_domains

    def is_own(self, addressee: ResolvedRecipient) -> bool:
        """Whether no consent is needed: the address is the subscriber's own, or of a domain that is trusted."""
        address = addressee.address
        return (
            address.domain in self._rules.trusted_domains
            or address.key == addressee.recipient.subscriber.lower()
        )

    async def authorize(
        self, addressee: ResolvedRecipient, standing: Standing
    ) -> Rejected | Deferred | Counted:
        """Whether a message may go to a recipient now; it is counted when it may."""
        if standing.unsubscribed_at is not None:
            return Rejected(f"unsubscribed at {standing.unsubscribed_at:%Y-%m-%d %H:%M} UTC")
        if standing.refused_at is not None and is_refused(standing):
            return Rejected(
                f"not tried: refused at {standing.refused_at:%Y-%m-%d %H:%M} UTC with {standing.refusal}"
            )
        if standing.confirmed_at is None and not self.is_own(addressee):
            return await self.ask(addressee, standing)
        now = utc_now()
        full = await self.repository.take(self._quotas(addressee.address), now)
        if full is None:
            return Counted(now)
        quota, seconds = full
        period = "hour" if quota.period == HOUR else "minute"
        return Deferred(
            f"{quota.name.partition(' ')[2]} got {quota.limit} mails in this {period}",
            seconds + 0.1,
            quota.period == HOUR,
        )

    async def take_back(self, addressee: ResolvedRecipient, counted: Counted) -> None:
        """Do not count a message that was not sent."""
        await self.repository.give_back(self._quotas(addressee.address), counted.at)

    async def refused(self, addressee: ResolvedRecipient, error: Refused) -> Refused:
        """Remember an address that does not exist, as the relay says. What its refusal is about in the end."""
        judged = self._repeats.judge(addressee.recipient, error)
        if judged.gone:
            self._repeats.marked(addressee.recipient)
            await self.repository.refuse(addressee.recipient, str(judged))
        return judged

    async def taken(self, addressee: ResolvedRecipient) -> None:
        """Note that the relay took a message for an address."""
        if lifted := self._repeats.taken(addressee.address.key):
            log.warning("restored recipients: the relay was at fault", recipients=len(lifted))
            await self.repository.lift_refusals(lifted)

    async def ask(self, addressee: ResolvedRecipient, standing: Standing) -> Rejected | Deferred:
        """Ask for consent unless that was done, and let what is for this recipient wait."""
        key = addressee.address.key
        waits = f"{WAITS_FOR_CONSENT}{key} to confirm"
        if not self.mailer.links.available:
            return Deferred(f"{waits}, and there is no link for it: http.public_url is not set", CONSENT_WAIT)
        if standing.asked_at is not None or not await self.repository.begin_asking(
            addressee.recipient, utc_now() + ASKING
        ):
            return Deferred(waits, CONSENT_WAIT)
        asked = False
        try:
            found = await self._send_question(addressee)
            asked = isinstance(found, AttemptResult)
        finally:
            await self.repository.end_asking(addressee.recipient, asked=asked)
        return Deferred(waits, CONSENT_WAIT, answer=found) if isinstance(found, AttemptResult) else found

    def invite(self, subscription: Subscription) -> None:
        """Ask the recipients of a new or changed subscription, as soon as the relay's limits let it."""
        self._ask_beside(
            subscription,
            [addressee for addressee in resolved_recipients(subscription) if not self.is_own(addressee)],
        )

    def _ask_beside(self, subscription: Subscription, addressees: Sequence[ResolvedRecipient]) -> None:
        async def ask() -> None:
            standings = await self.repository.standings([addressee.recipient for addressee in addressees])
            for addressee, standing in zip(addressees, standings, strict=True):
                if _is_to_be_asked(standing):
                    await when_let(self.limits, subscription, partial(self._ask_now, addressee))

        if addressees:
            self.invitations.begin(subscription.id, ask)

    async def _ask_now(self, addressee: ResolvedRecipient) -> AttemptResult:
        """Ask one for whom the limits have a place, if that is still wanted."""
        subscription = await self.repository.subscription(addressee.recipient.subscription_id)
        [standing] = await self.repository.standings([addressee.recipient])
        if (
            subscription is None
            or addressee not in resolved_recipients(subscription)
            or not _is_to_be_asked(standing)
        ):
            return AttemptResult(
                request_line="MAIL", error="no recipient has to be asked any more", retry_at_delay=0.0
            )
        verdict = await self.ask(addressee, standing)
        return verdict.answer or AttemptResult(request_line="MAIL", error=verdict.reason, retry_at_delay=0.0)

    async def _send_question(self, addressee: ResolvedRecipient) -> Rejected | Deferred | AttemptResult:
        """Send a request to confirm: what came of it when it is sent."""
        key, links, recipient = addressee.address.key, self.mailer.links, addressee.recipient
        waits = f"{WAITS_FOR_CONSENT}{key} to confirm"
        quotas = [
            Quota(
                f"asked by {recipient.tenant} {recipient.subscriber}", self._rules.confirmations_per_key, HOUR
            ),
            Quota(f"asked {key}", self._rules.confirmations_per_address, HOUR),
        ]
        now = utc_now()
        if (full := await self.repository.take(quotas, now)) is not None:
            return Deferred(
                f"{waits}, and is asked in the next hour: there were {full[0].limit} requests", full[1] + 0.1
            )
        subscription = await self.repository.subscription(recipient.subscription_id)
        values = {
            "owner": "An administrator" if recipient.subscriber == EVERY_OWNER else recipient.subscriber,
            "address": key,
            "confirm": links.link("confirm", recipient.subscription_id, key),
            "service": links.base,
            "events": known_events(subscription.events if subscription else ()),
        }
        headers = MessageHeaders(
            to=addressee.address,
            id=f"confirm.{recipient.subscription_id}.{now:%Y%m%d%H%M%S}",
            thread=None,
            list_id=None,
            unsubscribe=None,
            date=now,
        )
        tried = RecipientResults(Progress())
        request = f"MAIL {key} via {self.mailer.pool.relay.destination}"
        try:
            tried.got(
                key, await self.mailer.send(headers, self.mailer.templates.render("_confirm", None, values))
            )
        except Unsure as error:
            # Asked, as far as anybody knows: a second question would be one too many.
            log.warning("cannot tell whether a confirmation request was sent", error=str(error))
            tried.unsure(key, str(error))
            return tried.answer(request)
        except (NotReached, TemplateFault) as error:
            await self.repository.give_back(quotas, now)
            if isinstance(error, NotReached) and not error.busy:
                tried.broke_off(key, str(error))
            answer = tried.answer(request) if tried.tried else None
            return Deferred(f"{waits}, and could not be asked: {error}", 60.0, answer=answer)
        except Refused as refused:
            await self.repository.give_back(quotas, now)
            judged = await self.refused(addressee, refused)
            tried.refused(key, judged)
            answer = tried.answer(request)
            again = Deferred(f"{waits}, and could not be asked: {judged}", 300.0, answer=answer)
            return Rejected(str(judged), answer) if judged.permanent else again
        await self.taken(addressee)
        return tried.answer(request)

    def _quotas(self, address: Address) -> list[Quota]:
        return [
            Quota(f"to {address.key}", self._rules.max_per_hour, HOUR),
            Quota(f"domain {address.domain}", self._rules.max_per_domain, MINUTE),
        ]

    # What recipients and owners do

    async def named(self, purpose: Purpose, token: str) -> tuple[Subscription, ResolvedRecipient] | None:
        """The subscription and the recipient that a link means; None when it means none, or none that is left."""
        whom = self.mailer.links.read(purpose, token)
        subscription = None if whom is None else await self.repository.subscription(whom.subscription_id)
        if whom is None or subscription is None or subscription.kind != "email":
            return None
        found = [
            addressee for addressee in resolved_recipients(subscription) if whom.means(addressee.address.key)
        ]
        return (subscription, found[0]) if found else None

    async def shown(self, subscriptions: Sequence[Subscription]) -> dict[str, list[ShownRecipient]]:
        """How it stands with the recipients of these, by subscription."""
        addressees = [addressee for one in subscriptions for addressee in resolved_recipients(one)]
        if not addressees:
            return {}
        standings = await self.repository.standings([addressee.recipient for addressee in addressees])
        found: dict[str, list[ShownRecipient]] = {}
        for addressee, standing in zip(addressees, standings, strict=True):
            one = shown(addressee, standing, own=self.is_own(addressee))
            found.setdefault(addressee.recipient.subscription_id, []).append(one)
        return found

    async def restore(self, addressee: ResolvedRecipient) -> ShownRecipient:
        """Let a recipient have mails again; one who did not agree is asked first."""
        own = self.is_own(addressee)
        await self.repository.restore(addressee.recipient, own=own)
        [standing] = await self.repository.standings([addressee.recipient])
        if not own and (standing.confirmed_at is None or standing.unsubscribed_at is not None):
            subscription = await self.repository.subscription(addressee.recipient.subscription_id)
            if subscription is not None:
                self._ask_beside(subscription, [addressee])
        return shown(addressee, standing, own=own)


def known_events(names: Sequence[str]) -> str:
    """The events of a subscription for somebody who was not asked yet: only names that everybody knows.

    A subscriber chooses the others, and could write to strangers in them.
    """
    known = [name for name in names if name in EVENTS]
    return ", ".join(known) if known and len(known) == len(names) else ""


def _is_to_be_asked(standing: Standing) -> bool:
    agreed = standing.confirmed_at is not None and standing.unsubscribed_at is None
    return standing.asked_at is None and not agreed and not is_refused(standing)
