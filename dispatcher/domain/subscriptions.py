"""Subscriptions: who wants what, where to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Literal

from msgspec import Struct

from dispatcher.domain.destinations import RateLimit, Scopes, owner_key
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.event_names import event_matcher
from dispatcher.domain.events import Event
from dispatcher.domain.filter_conditions import Predicate
from dispatcher.domain.filters import compile_filters
from dispatcher.domain.retry import RetryPolicy

EVERY_OWNER = "*"

SubscriptionStatus = Literal["active", "paused", "disabled", "completed"]
"""`paused`: its deliveries wait. `disabled`: by the receiver's 410. `completed`: not persistent, and delivered."""


class Subscription(Struct, frozen=True, kw_only=True, dict=True):
    """Events and filters on one side, a target and a retry policy on the other.

    `subscriber` is the owner of the key that made it, `*` when only admins may see it; `owner` is whose jobs it means,
    `*` for every job.
    `target` is the kind's own JSON object; `destination` is what it shares a fate with. `secrets` sign its requests:
    the newest first, during a rotation the one before it too. `revision` grows with every change.
    """

    id: str
    revision: int
    tenant: str
    subscriber: str
    name: str
    events: tuple[str, ...]
    job_id: str | None
    owner: str
    filters: tuple[Mapping[str, object], ...]
    target: Mapping[str, object]
    destination: str
    retry: RetryPolicy
    ordered: bool
    persistent: bool
    expires_at: datetime | None
    metadata: Mapping[str, object]
    status: SubscriptionStatus
    status_reason: str | None
    secrets: tuple[str, ...]
    previous_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime
    rate_limit: RateLimit | None = None
    digest: DigestPolicy | None = None

    def __repr__(self) -> str:
        # Its target and secrets have no place in a traceback or a log.
        return f"Subscription({self.id}, revision {self.revision})"

    @cached_property
    def kind(self) -> str:
        """The target's kind."""
        return str(self.target["kind"])

    @cached_property
    def match_key(self) -> str:
        """The most selective thing that it names, as one text that an event's match keys are compared with."""
        if self.job_id is not None:
            return match_key(self.tenant, f"job:{self.job_id}")
        if self.owner != EVERY_OWNER:
            return match_key(self.tenant, f"owner:{self.owner}")
        return match_key(self.tenant, "*")

    @cached_property
    def scopes(self) -> Scopes:
        """The breakers of its deliveries."""
        owner = owner_key(self.destination, self.tenant, self.subscriber)
        return Scopes(self.id, owner, self.destination)

    @cached_property
    def wants_event(self) -> Callable[[str], bool]:
        """A test of event names."""
        return event_matcher(self.events)

    @cached_property
    def passes_filters(self) -> Predicate | None:
        """A test of events, None when there are no filters."""
        return compile_filters(self.filters)

    @cached_property
    def counted_for(self) -> tuple[str, str] | None:
        """The tenant and owner whose quota its deliveries count for.

        None for those of admins, those that are held, and what goes into one message with others.
        """
        if self.subscriber == EVERY_OWNER or self.status == "paused" or self.digest is not None:
            return None
        return self.tenant, self.subscriber

    def believes(self, event: Event) -> bool:
        """Whether something may be done on the word of this event.

        Not when it is for every owner and the event's publisher may speak for one only: anybody can name a job so.
        """
        return event.published_by is None or self.owner != EVERY_OWNER

    def wants(self, event: Event) -> bool:
        """Whether its event names and filters select this event; whose job it is, is not looked at."""
        if not self.wants_event(event.event):
            return False
        return self.passes_filters is None or self.passes_filters(event)


def match_key(tenant: str, selector: str) -> str:
    """A match key: `job:<id>`, `owner:<name>` or `*` within a tenant."""
    return f"{tenant}\x1f{selector}"


def event_match_keys(event: Event) -> tuple[str, ...]:
    """The match keys of the subscriptions that may want this event."""
    keys = (match_key(event.tenant, f"job:{event.job_id}"), match_key(event.tenant, "*"))
    return keys if event.owner is None else (*keys, match_key(event.tenant, f"owner:{event.owner}"))
