"""Recipients of subscriptions whose kind names people: how it stands with each, and restoring one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.api.access import subscription_for
from dispatcher.api.request_models import NamedRecipient
from dispatcher.api.response_models import RecipientView
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.services import Services
from dispatcher.domain.errors import Conflict
from dispatcher.domain.recipients import ShownRecipient
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import RecipientKind


async def recipients_of(
    subscriptions: Sequence[Subscription], services: Services
) -> Mapping[str, list[RecipientView]]:
    """How it stands with the recipients of those subscriptions that have some, by subscription."""
    found: dict[str, list[RecipientView]] = {}
    for name in {one.kind for one in subscriptions}:
        kind = services.kinds.get(name)
        if isinstance(kind, RecipientKind):
            of_kind = await kind.recipients([one for one in subscriptions if one.kind == name])
            found |= {key: [_view(one) for one in recipients] for key, recipients in of_kind.items()}
    return found


def check_recipients(subscription: Subscription, services: Services) -> None:
    """Raise InvalidInput when a recipient would have to agree, and cannot be asked."""
    kind = services.kinds.get(subscription.kind)
    if isinstance(kind, RecipientKind):
        kind.check_recipients(subscription)


def invite(subscription: Subscription, services: Services) -> None:
    """Ask the recipients who have to agree; it goes on after this returns."""
    kind = services.kinds.get(subscription.kind)
    if isinstance(kind, RecipientKind):
        kind.invite(subscription)


async def restore_recipient(call: Call[NoQuery, NamedRecipient]) -> RecipientView:
    """Resume e-mail to a recipient.

    For one whom the relay refused, who unsubscribed, or who did not confirm. An address that needs a consent is asked
    for it once more.
    """
    subscription = await subscription_for(call.caller, call.path["id"], call.services)
    kind = call.services.kinds.get(subscription.kind)
    if not isinstance(kind, RecipientKind):
        raise Conflict(f"{subscription.id} sends no e-mail")
    return _view(await kind.restore(subscription, call.body.address))


def _view(recipient: ShownRecipient) -> RecipientView:
    return RecipientView(
        address=recipient.address, state=recipient.state, since=recipient.since, reason=recipient.reason
    )
