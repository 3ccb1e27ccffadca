"""Selections: which events a subscription means, and for one that it does not mean, why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from msgspec import Struct

from dispatcher.domain.event_names import event_matcher
from dispatcher.domain.events import Event
from dispatcher.domain.filter_conditions import Condition, Failure
from dispatcher.domain.filters import parse_filters
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription


class Selection(Struct, frozen=True, kw_only=True, dict=True):
    """The fields of a subscription that say which events it means."""

    tenant: str
    events: tuple[str, ...]
    job_id: str | None
    owner: str
    filters: tuple[Mapping[str, object], ...]

    @classmethod
    def of(cls, subscription: Subscription) -> Selection:
        """That of a subscription."""
        return cls(**{name: getattr(subscription, name) for name in cls.__struct_fields__})

    @cached_property
    def condition(self) -> Condition | None:
        """What all its filters say together; None without any. Raises InvalidInput."""
        return parse_filters(self.filters)

    def failures(self, event: Event) -> list[Failure]:
        """What keeps an event from being meant; empty when it is. Who may see the job, is not looked at."""
        found: list[Failure] = []
        if self.job_id is not None and event.job_id != self.job_id:
            found.append(Failure("job_id", f"the job is {event.job_id}, expected {self.job_id}"))
        if self.job_id is None and not self.is_owners(event):
            found.append(
                Failure("owner", f"the owner is {event.owner or 'not known'}, expected {self.owner}")
            )
        if not self._wants_event(event.event):
            found.append(Failure("events", f"{event.event} is not in {', '.join(self.events)}"))
        if self.condition is not None:
            found += self.condition.failures(event.with_cached_document())
        return found

    def is_owners(self, event: Event) -> bool:
        """Whether the event is of the owner whose jobs are meant."""
        return self.owner in (EVERY_OWNER, event.owner)

    @cached_property
    def _wants_event(self) -> Callable[[str], bool]:
        return event_matcher(self.events)
