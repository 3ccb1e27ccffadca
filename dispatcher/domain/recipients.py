"""Recipients of e-mail: who gets a subscription's mails, and whether they want them and can have them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

WAITS_FOR_CONSENT = "waits for "
"""How the reason of a delivery begins that a recipient has to confirm first: these are due at once then."""


class Recipient(Struct, frozen=True):
    """An address of a subscription. `key` is the address as it is known: in small letters.

    Consent, and what a relay says of an address, hold for all subscriptions of a subscriber; to unsubscribe is for one.
    """

    tenant: str
    subscriber: str
    subscription_id: str
    key: str


class Standing(Struct, frozen=True, kw_only=True):
    """How it stands with a recipient. `refusal` is what the relay said when it refused the address for good."""

    asked_at: datetime | None = None
    confirmed_at: datetime | None = None
    refused_at: datetime | None = None
    refusal: str | None = None
    unsubscribed_at: datetime | None = None


class Quota(Struct, frozen=True):
    """So many of something named in each period of so many seconds; periods are counted from 1970."""

    name: str
    limit: int
    period: int
