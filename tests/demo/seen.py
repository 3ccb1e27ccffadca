"""Events and deliveries as the demo sees them through the API, and a picture of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dispatcher.demo.client import Attempt, DeliveryDetail, Event
from dispatcher.demo.picture import Picture
from dispatcher.demo.story import PlannedEvent
from dispatcher.domain.deliveries import State

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
REFUSED = "no connection to 127.0.0.1:9: Connection refused"


def attempt(number: int, ended: float, error: str | None = None) -> Attempt:
    """An attempt that ended so many seconds after NOW, when all events are accepted."""
    return Attempt(number, NOW + timedelta(seconds=ended), 0.0, None if error else 204, error)


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
        due_at=None,
        ended_at=attempts[-1].ended_at if state.final and attempts else None,
        reason=attempts[-1].error if attempts else None,
        latest_attempts=list(attempts),
    )


def picture(story: Sequence[PlannedEvent], deliveries: Sequence[DeliveryDetail]) -> Picture:
    """All of this as it was seen."""
    seen = Picture()
    seen.add([Event(f"evt_{one.id}", one.event, one.job_id, one.owner, NOW) for one in story], deliveries)
    return seen
