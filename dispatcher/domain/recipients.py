"""Recipients of e-mail: who gets a subscription's mails, and whether they want them and can have them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from dispatcher.domain.subscriptions import Subscription

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


RecipientState: TypeAlias = Literal["active", "unconfirmed", "unsubscribed", "refused"]


class ShownRecipient(Struct, frozen=True):
    """A recipient as its owner sees it: since when it is in this state, and for a refused one the relay's reason."""

    address: str
    state: RecipientState
    since: datetime | None
    reason: str | None


class RecipientRepository(Protocol):
    """What is stored of recipients; see `dispatcher.store.recipients.RecipientRepository`."""

    async def standings(self, recipients: Sequence[Recipient]) -> list[Standing]: ...

    async def take(self, quotas: Sequence[Quota], at: datetime) -> tuple[Quota, float] | None: ...

    async def give_back(self, quotas: Sequence[Quota], at: datetime) -> None: ...

    async def begin_asking(self, recipient: Recipient, until: datetime) -> bool: ...

    async def end_asking(self, recipient: Recipient, *, asked: bool) -> None: ...

    async def confirm(self, recipient: Recipient) -> None: ...

    async def unsubscribe(self, recipient: Recipient) -> None: ...

    async def refuse(self, recipient: Recipient, refusal: str) -> None: ...

    async def lift_refusals(self, recipients: Sequence[Recipient]) -> None: ...

    async def restore(self, recipient: Recipient, *, own: bool) -> None: ...

    async def subscription(self, subscription_id: str) -> Subscription | None: ...
