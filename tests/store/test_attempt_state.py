"""What a target kind notes of a delivery: kept as long as the delivery may be sent again, gone when it arrived."""

from __future__ import annotations

import pytest

from dispatcher.domain.deliveries import Attempt, Outcome, State
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import NOW, make_delivery, make_event, make_subscription


@pytest.mark.parametrize(("state", "kept"), [(State.EXHAUSTED, "ann has it"), (State.DELIVERED, None)])
async def test_a_memo_outlives_giving_up_and_not_the_arrival(
    store: Store, process: int, state: State, kept: str | None
) -> None:
    subscription, event = make_subscription(), make_event()
    await store.subscriptions.add(subscription)
    new = make_delivery(event, subscription)
    await store.events.accept(process, [event], [new])
    attempt = Attempt(
        number=1, started_at=NOW, duration=0.1, request="MAIL", status=450, error="later", answer=None
    )
    ended = Outcome(
        delivery_id=new.id,
        state=state,
        attempts=1,
        due_at=None,
        ended_at=NOW,
        reason="later",
        attempt=attempt,
        attempt_state="ann has it",
    )
    await store.queue.finish(process, [ended])
    await store.purge_orphans()
    assert await store.deliveries.retry("default", new.id)
    [claimed] = await claim(store, process, 10)
    assert claimed.attempt_state == kept
