"""Quotas: how much of the service an owner, a key and a tenant may use, so that none takes it from the others."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import asdict

from dispatcher.domain.errors import QuotaExceeded

MAX_ALIKE = 1000
"""Subscriptions that an owner may have for the same job, and for all jobs of an owner."""

Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Quotas(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of an owner; 0 is none.

    `subscriptions` and `destinations` count what is there, `events_per_minute` what each of the owner's keys publishes
    over HTTP, `deliveries_per_minute` what the owner's subscriptions get, `stored_mib` the MiB of events that the
    owner's keys published and that are kept, `waiters` the requests that wait for a job, in each process.
    """

    subscriptions: Count = 10_000
    destinations: Count = 1_000
    events_per_minute: Count = 600_000
    deliveries_per_minute: Count = 3_000_000
    stored_mib: Count = 50_000
    waiters: Count = 1_000


class QuotaOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admin set for one owner in place of the defaults; null stands for the default, 0 for no limit."""

    subscriptions: Annotated[Count | None, Meta(description="How many there may be.")] = None
    destinations: Annotated[Count | None, Meta(description="How many different ones they may have.")] = None
    events_per_minute: Annotated[Count | None, Meta(description="What each key may publish over HTTP.")] = (
        None
    )
    deliveries_per_minute: Annotated[
        Count | None, Meta(description="What their subscriptions get; more is due later.")
    ] = None
    stored_mib: Annotated[Count | None, Meta(description="MiB of events that are kept.")] = None
    waiters: Annotated[Count | None, Meta(description="Requests that wait for a job, in each process.")] = (
        None
    )

    def over(self, defaults: Quotas) -> Quotas:
        """The quotas of the owner."""
        own = {name: value for name, value in asdict(self).items() if value is not None}
        return Quotas(**(asdict(defaults) | own))


class Caps(Struct, frozen=True, kw_only=True):
    """How many subscriptions and destinations there may be when one is stored; 0 is no limit."""

    alike: int = MAX_ALIKE
    subscriptions: int = 0
    destinations: int = 0
    in_tenant: int = 0

    def for_change(self) -> Caps:
        """The same for a subscription that is there already, and changes."""
        return Caps(alike=self.alike, destinations=self.destinations)


def exceeded(name: str, limit: int, whose: str, advice: str) -> QuotaExceeded:
    """The refusal of what would be one more than a quota allows."""
    return QuotaExceeded(name, f"the quota {name} of {whose} is {limit}: {advice}")
