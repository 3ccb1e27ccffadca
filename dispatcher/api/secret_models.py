"""The responses that hold a secret, which is shown this once; their `repr` leaves it out of tracebacks and logs."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from dispatcher.api.response_models import KeyView, SubscriptionView


class SubscriptionWithSecret(SubscriptionView, frozen=True, kw_only=True):
    """A subscription with its new signing secret, which cannot be shown again."""

    secret: Annotated[str, Meta(examples=["whsec_…"])]

    def __repr__(self) -> str:
        return f"SubscriptionWithSecret({self.id}, secret ***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class KeyWithText(KeyView, frozen=True, kw_only=True):
    """A new API key, which cannot be shown again."""

    key: Annotated[str, Meta(examples=["dspk_…"])]

    def __repr__(self) -> str:
        return f"KeyWithText({self.id}, key ***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]
