"""Events and deliveries as the demo sees them through the API, and a picture of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dispatcher.client.models import Attempt, DeliveryDetail, Event, Job
from dispatcher.demo.picture import Picture
from dispatcher.demo.story import PlannedEvent
from dispatcher.domain.deliveries import State

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
REFUSED = "no connection to 127.0.0.1:9: Connection refused"


def attempt(number: int, ended: float, error: str | None = None) -> Attempt:
    """An attempt that ended so many seconds after NOW, when all events are accepted."""
    started = NOW + timedelta(seconds=ended)
    return Attempt(
        number=number, started_at=started, duration=0.0, status=None if error else 204, error=error
    )


def delivery(
    planned: PlannedEvent, subscription_id: str, attempts: Sequence[Attempt], state: State = State.DELIVERED
) -> DeliveryDetail:
    """A delivery of this event after these attempts."""
    return DeliveryDetail(
        id=f"dlv_{subscription_id}_{planned.id}",
        event_id=f"evt_{planned.id}",
        event=planned.event,
        job_id=planned.job_id,
        subscription_id=subscription_id,
        state=state,
        attempts=len(attempts),
        created_at=NOW,
        due_at=None,
        ended_at=attempts[-1].ended_at if state.final and attempts else None,
        reason=attempts[-1].error if attempts else None,
        latest_attempts=list(attempts),
    )


def picture(story: Sequence[PlannedEvent], deliveries: Sequence[DeliveryDetail]) -> Picture:
    """All of this as it was seen."""
    seen = Picture()
    seen.add(map(event, story), deliveries)
    return seen


def event(planned: PlannedEvent) -> Event:
    """It as it was accepted."""
    return Event(
        id=f"evt_{planned.id}",
        event=planned.event,
        job_id=planned.job_id,
        owner=planned.owner,
        tenant="default",
        source="/jobs",
        source_id=planned.id,
        type=f"job.{planned.event}",
        time=NOW,
        accepted_at=NOW,
    )


def job(id: str, owner: str | None = None) -> Job:
    """A job of which nothing else is known."""
    return Job(id=id, tenant="default", owner=owner, updated_at=NOW)
