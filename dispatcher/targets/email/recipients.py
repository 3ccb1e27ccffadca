"""The recipients of a subscription, and how it stands with each."""

from __future__ import annotations

from msgspec import Struct

from dispatcher.domain.recipients import Recipient, ShownRecipient, Standing
from dispatcher.domain.subscriptions import Subscription
from dispatcher.targets.email.addresses import ANY_DOMAIN, Address, checked_addresses
from dispatcher.targets.email.replies import is_of_address


class ResolvedRecipient(Struct, frozen=True):
    """One recipient of a subscription: the address, and the name under which it is stored."""

    address: Address
    recipient: Recipient


def is_refused(standing: Standing) -> bool:
    """Whether the relay has said that there is no such address.

    What it said is read again: versions before 0.2.0 took each refusal for that.
    """
    return standing.refused_at is not None and is_of_address(standing.refusal or "")


def resolved_recipients(subscription: Subscription) -> list[ResolvedRecipient]:
    """The recipients of a subscription of the kind `email`."""
    texts = subscription.target["to"]
    addresses = checked_addresses("target.to", texts if isinstance(texts, list | tuple) else (), ANY_DOMAIN)
    whose = (subscription.tenant, subscription.subscriber, subscription.id)
    return [ResolvedRecipient(address, Recipient(*whose, address.key)) for address in addresses]


def shown(addressee: ResolvedRecipient, standing: Standing, *, own: bool) -> ShownRecipient:
    """What the owner of the subscription sees; `own` addresses need no consent."""
    address = addressee.address.key
    if standing.unsubscribed_at is not None:
        return ShownRecipient(address, "unsubscribed", standing.unsubscribed_at, None)
    if is_refused(standing):
        return ShownRecipient(address, "refused", standing.refused_at, standing.refusal)
    if standing.confirmed_at is None and not own:
        return ShownRecipient(address, "unconfirmed", standing.asked_at, None)
    return ShownRecipient(address, "active", standing.confirmed_at, None)
