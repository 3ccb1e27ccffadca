"""Recipients of e-mail subscriptions: how it stands with each, and letting one have mails again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dispatcher.api.access import subscription_for
from dispatcher.api.answers import RecipientState, RecipientView
from dispatcher.api.requests import NamedRecipient
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.services import Services
from dispatcher.domain.errors import Conflict, InvalidInput, NotFound
from dispatcher.domain.recipients import Standing
from dispatcher.domain.subscriptions import Subscription
from dispatcher.targets.email.consent import (
    ConsentService,
    ResolvedRecipient,
    is_refused,
    resolved_recipients,
)

EMAIL = "email"


async def recipients_of(
    subscriptions: Sequence[Subscription], services: Services
) -> Mapping[str, list[RecipientView]]:
    """How it stands with the recipients of those subscriptions that send e-mail, by subscription."""
    consent = services.consent
    if consent is None:
        return {}
    addressees = [
        addressee for one in subscriptions if one.kind == EMAIL for addressee in resolved_recipients(one)
    ]
    if not addressees:
        return {}
    standings = await consent.repository.standings([addressee.recipient for addressee in addressees])
    found: dict[str, list[RecipientView]] = {}
    for addressee, standing in zip(addressees, standings, strict=True):
        found.setdefault(addressee.recipient.subscription_id, []).append(_view(addressee, standing, consent))
    return found


def check_recipients(subscription: Subscription, services: Services) -> None:
    """Raise InvalidInput when a recipient would have to confirm, and there can be no link for it."""
    consent = services.consent
    if consent is None or subscription.kind != EMAIL or consent.mailer.links.available:
        return
    for index, addressee in enumerate(resolved_recipients(subscription)):
        if not consent.is_own(addressee):
            raise InvalidInput(
                f"target.to[{index}]",
                f"{addressee.address.key} would have to confirm first, and there is no link for it: expected an "
                "address of a domain in smtp.trusted_domains, or http.public_url to be set",
            )


def invite(subscription: Subscription, services: Services) -> None:
    """Ask the recipients who have to confirm; it goes on after this returns."""
    if services.consent is not None and subscription.kind == EMAIL:
        services.consent.invite(subscription)


async def restore_recipient(call: Call[NoQuery, NamedRecipient]) -> RecipientView:
    """Let a recipient have mails again.

    For one whom the relay refused, who unsubscribed, or who did not confirm. An address that needs a consent is asked
    for it once more.
    """
    services = call.services
    subscription = await subscription_for(call.caller, call.path["id"], services)
    consent = services.consent
    if consent is None or subscription.kind != EMAIL:
        raise Conflict(f"{subscription.id} sends no e-mail")
    wanted = call.body.address.lower()
    addressee = next(
        (addressee for addressee in resolved_recipients(subscription) if addressee.address.key == wanted),
        None,
    )
    if addressee is None:
        raise NotFound(f"{subscription.id} has no recipient {call.body.address[:80]!r}")
    await consent.restore(addressee)
    [standing] = await consent.repository.standings([addressee.recipient])
    return _view(addressee, standing, consent)


def _view(addressee: ResolvedRecipient, standing: Standing, consent: ConsentService) -> RecipientView:
    state, since = _state(addressee, standing, consent)
    return RecipientView(
        address=addressee.address.key,
        state=state,
        since=since,
        reason=standing.refusal if state == "refused" else None,
    )


def _state(
    addressee: ResolvedRecipient, standing: Standing, consent: ConsentService
) -> tuple[RecipientState, Any]:
    if standing.unsubscribed_at is not None:
        return "unsubscribed", standing.unsubscribed_at
    if is_refused(standing):
        return "refused", standing.refused_at
    if standing.confirmed_at is None and not consent.is_own(addressee):
        return "unconfirmed", standing.asked_at
    return "active", standing.confirmed_at
