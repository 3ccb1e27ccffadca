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
from dispatcher.targets.mail.desk import Desk, Seat, is_refused, seats_of

EMAIL = "email"


async def recipients_of(
    subscriptions: Sequence[Subscription], services: Services
) -> Mapping[str, list[RecipientView]]:
    """How it stands with the recipients of those subscriptions that send e-mail, by subscription."""
    desk = services.desk
    if desk is None:
        return {}
    seats = [seat for one in subscriptions if one.kind == EMAIL for seat in seats_of(one)]
    if not seats:
        return {}
    standings = await desk.book.standings([seat.recipient for seat in seats])
    found: dict[str, list[RecipientView]] = {}
    for seat, standing in zip(seats, standings, strict=True):
        found.setdefault(seat.recipient.subscription_id, []).append(_view(seat, standing, desk))
    return found


def check_recipients(subscription: Subscription, services: Services) -> None:
    """Raise InvalidInput when a recipient would have to confirm, and there can be no link for it."""
    desk = services.desk
    if desk is None or subscription.kind != EMAIL or desk.mailer.links.available:
        return
    for index, seat in enumerate(seats_of(subscription)):
        if not desk.is_own(seat):
            raise InvalidInput(
                f"target.to[{index}]",
                f"{seat.address.key} would have to confirm first, and there is no link for it: expected an address of "
                "a domain in smtp.trusted_domains, or http.public_url to be set",
            )


def invite(subscription: Subscription, services: Services) -> None:
    """Ask the recipients who have to confirm; it goes on after this returns."""
    if services.desk is not None and subscription.kind == EMAIL:
        services.desk.invite(subscription)


async def restore_recipient(call: Call[NoQuery, NamedRecipient]) -> RecipientView:
    """Let a recipient have mails again.

    For one whom the relay refused, who unsubscribed, or who did not confirm. An address that needs a consent is asked
    for it once more.
    """
    services = call.services
    subscription = await subscription_for(call.caller, call.path["id"], services)
    desk = services.desk
    if desk is None or subscription.kind != EMAIL:
        raise Conflict(f"{subscription.id} sends no e-mail")
    wanted = call.body.address.lower()
    seat = next((seat for seat in seats_of(subscription) if seat.address.key == wanted), None)
    if seat is None:
        raise NotFound(f"{subscription.id} has no recipient {call.body.address[:80]!r}")
    await desk.restore(seat)
    [standing] = await desk.book.standings([seat.recipient])
    return _view(seat, standing, desk)


def _view(seat: Seat, standing: Standing, desk: Desk) -> RecipientView:
    state, since = _state(seat, standing, desk)
    return RecipientView(
        address=seat.address.key,
        state=state,
        since=since,
        reason=standing.refusal if state == "refused" else None,
    )


def _state(seat: Seat, standing: Standing, desk: Desk) -> tuple[RecipientState, Any]:
    if standing.unsubscribed_at is not None:
        return "unsubscribed", standing.unsubscribed_at
    if is_refused(standing):
        return "refused", standing.refused_at
    if standing.confirmed_at is None and not desk.is_own(seat):
        return "unconfirmed", standing.asked_at
    return "active", standing.confirmed_at
