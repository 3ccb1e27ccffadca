"""What callers of Tapis v3 send, as its JSON schemas say it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from dispatcher.api.request_fields import ONE_LINE
from dispatcher.compat.tapis_v3.event_model import check_type_filter
from dispatcher.domain.errors import InvalidInput

EVERY = "*"
API_USER = "${apiUserId}"
DEFAULT_TTL = 7 * 24 * 60
"""Minutes: a week."""

MAX_TTL = 100 * 366 * 24 * 60
MAX_TARGETS = 20
MAX_SUBJECT = 150

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._~-]*")
_NO_CONTROLS = {"expected": "expected a text without control characters, and not too long"}

Name = Annotated[str, Meta(min_length=1, max_length=188)]
Description = Annotated[str, Meta(max_length=2048)]
TypeFilter = Annotated[str, Meta(min_length=5, max_length=128)]
SubjectFilter = Annotated[
    str, Meta(min_length=1, max_length=MAX_SUBJECT, pattern=ONE_LINE, extra=_NO_CONTROLS)
]
User = Annotated[str, Meta(min_length=1, max_length=60, pattern=ONE_LINE, extra=_NO_CONTROLS)]
Text = Annotated[str, Meta(min_length=1)]
EventCategory = Literal[
    "JOB_NEW_STATUS",
    "JOB_INPUT_TRANSACTION_ID",
    "JOB_ARCHIVE_TRANSACTION_ID",
    "JOB_SUBSCRIPTION",
    "JOB_SHARE_EVENT",
    "JOB_ERROR_MESSAGE",
    "JOB_USER_EVENT",
    "ALL",
]


class DeliveryTarget(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Where notifications go. `domain` is allowed and means nothing, as in Tapis."""

    delivery_method: Literal["WEBHOOK", "EMAIL"]
    delivery_address: Annotated[str, Meta(min_length=3, max_length=4096)]
    domain: str | None = None


Targets = Annotated[tuple[DeliveryTarget, ...], Meta(min_length=1, max_length=MAX_TARGETS)]


class PostSubscription(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A new subscription."""

    type_filter: TypeFilter
    subject_filter: SubjectFilter
    delivery_targets: Targets
    name: Name | None = None
    description: Description | None = None
    owner: User = API_USER
    enabled: bool = True
    ttl_minutes: int = DEFAULT_TTL


class PutSubscription(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What takes the place of everything but name, owner, TTL and whether it is enabled."""

    type_filter: TypeFilter
    subject_filter: SubjectFilter
    delivery_targets: Targets
    description: Description | None = None


class PatchSubscription(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is to be different."""

    description: Description | UnsetType = UNSET
    type_filter: TypeFilter | UnsetType = UNSET
    subject_filter: SubjectFilter | UnsetType = UNSET
    delivery_targets: Targets | UnsetType = UNSET


class Search(Struct, frozen=True, forbid_unknown_fields=True):
    """A condition as in SQL; its parts are put together."""

    search: Annotated[list[str], Meta(min_length=1, max_length=100)]


class JobSubscribe(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A subscription to one job. Its specification calls the TTL `ttlminutes`, its server `ttlMinutes`."""

    event_category_filter: EventCategory
    delivery_targets: Targets
    description: Description | None = None
    enabled: bool = True
    ttl_minutes: int | None = None
    ttlminutes: int | None = None


class UserEvent(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An event of a user's own; its detail is what subscriptions can ask for."""

    event_data: Annotated[str, Meta(min_length=1, max_length=16_384)]
    event_detail: Annotated[str, Meta(max_length=64, pattern="^[a-zA-Z][a-zA-Z0-9_]*$")] = "DEFAULT"


class PostEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """An event to be published. What the service adds itself may be given, and is not looked at."""

    source: Text
    type: Annotated[str, Meta(min_length=5, max_length=128)]
    timestamp: Text
    subject: str | None = None
    data: str | None = None
    series_id: str | None = None
    end_series: bool = False
    delete_subscriptions_matching_subject: bool = False


class EndSeries(Struct, frozen=True, rename="camel"):
    """The series that ends."""

    source: Text
    subject: Text
    series_id: Text


def check_name(name: str) -> str:
    """The name itself. Raises InvalidInput unless a subscription may be called so."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "name", f"expected a letter or digit, then letters, digits and . _ ~ -, got {name[:80]!r}"
        )
    return name


def check_filters(type_filter: str | UnsetType, targets: Targets | UnsetType) -> None:
    """Raise InvalidInput when the type filter is none, or a target stands there twice."""
    if type_filter is not UNSET:
        check_type_filter("typeFilter", type_filter)
    if targets is not UNSET and len(set(targets)) < len(targets):
        raise InvalidInput("deliveryTargets", "expected each target once")


def check_ttl(minutes: int) -> int:
    """The TTL itself. Raises InvalidInput when it is longer than any calendar."""
    if minutes > MAX_TTL:
        raise InvalidInput("ttlMinutes", f"expected at most {MAX_TTL}, or 0 for no end; got {minutes}")
    return minutes
