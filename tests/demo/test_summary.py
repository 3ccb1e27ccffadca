from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from dispatcher.client.models import Attempt
from dispatcher.demo.plans import PLANS
from dispatcher.demo.story import planned_events
from dispatcher.demo.summary import Counts, isolation, percentile, read_counts, summary
from dispatcher.domain.deliveries import State
from tests.demo.seen import REFUSED, attempt, delivery, job, picture

STORY = planned_events()[:4]
BUSY = next(plan for plan in PLANS if plan.busy)
COUNTS = Counts(Counter(accepted=4, duplicate=1), Counter(delivered=3, failed=2))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([4.0, 3.0, 2.0, 1.0], 0.5, 2.0),
        ([1.0, 2.0], 0.95, 2.0),
    ],
)
def test_a_percentile_is_the_nearest_rank(values: Sequence[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_the_95th_of_a_hundred_values_is_the_95th() -> None:
    assert percentile([float(value) for value in range(1, 101)], 0.95) == 95.0


def test_counts_are_read_from_a_page_of_metrics_over_all_sources_and_kinds() -> None:
    counts = read_counts(
        "# TYPE dispatcher_events_total counter\n"
        'dispatcher_events_total{source="http",result="accepted"} 61.0\n'
        'dispatcher_events_total{source="amqp",result="accepted"} 1.0\n'
        'dispatcher_events_total{source="http",result="duplicate"} 1.0\n'
        "# TYPE dispatcher_deliveries_total counter\n"
        'dispatcher_deliveries_total{kind="webhook",outcome="failed"} 5.0\n'
        'dispatcher_deliveries_total{kind="webhook",outcome="delivered"} 107.0\n'
    )
    assert counts == Counts(Counter(accepted=62, duplicate=1), Counter(failed=5, delivered=107))


def _lines(*attempts: Sequence[Attempt]) -> list[str]:
    deliveries = [delivery(event, "sub_1", each) for event, each in zip(STORY, attempts, strict=False)]
    seen = picture(STORY, deliveries)
    return [line.plain for line in summary(seen, COUNTS, {"sub_1": BUSY})]


def test_the_summary_counts_events_deliveries_and_attempts() -> None:
    lines = _lines([attempt(1, 0.01)], [attempt(1, 0.01)], [attempt(1, 0.1, REFUSED), attempt(2, 1.0)])
    assert [" ".join(line.split()) for line in lines[:3]] == [
        "Events 4 accepted, 1 duplicate",
        "Deliveries 3 delivered",
        "Attempts 4, of which 2 failed and were repeated",
    ]


def test_the_summary_tells_the_delays_with_and_without_retries() -> None:
    lines = _lines([attempt(1, 0.01)], [attempt(1, 0.02)], [attempt(1, 0.1, REFUSED), attempt(2, 1.5)])
    assert lines[3].endswith("p50 20 ms, p95 1.50 s")
    assert lines[4].endswith("p50 10 ms, p95 20 ms")
    assert lines[5].endswith("p50 1.50 s, p95 1.50 s")


def test_the_summary_shows_why_and_when_a_delivery_was_tried_again() -> None:
    lines = _lines([attempt(1, 0.1, REFUSED), attempt(2, 1.1, REFUSED), attempt(3, 2.2)])
    retried = next(index for index, line in enumerate(lines) if line.startswith("Retried"))
    assert lines[retried].endswith(f"1 to {BUSY.name}: {BUSY.trouble}")
    assert [line.strip() for line in lines[retried + 1 :]] == [
        f"{REFUSED} (2 times)",
        "PENDING  0001414144065563    3 attempts at 0.1, 1.1, 2.2 s",
    ]


def test_the_summary_says_of_a_repeated_delivery_when_it_has_not_arrived() -> None:
    attempts = [attempt(1, 0.1, REFUSED), attempt(2, 1.1, REFUSED)]
    deliveries = [delivery(STORY[0], "sub_1", attempts, State.EXHAUSTED)]
    lines = [line.plain for line in summary(picture(STORY, deliveries), COUNTS, {"sub_1": BUSY})]
    assert lines[-1].endswith("2 attempts at 0.1, 1.1 s: exhausted")


def test_the_summary_names_a_subscription_that_nothing_matched() -> None:
    assert _lines()[-1].split(maxsplit=1)[1] == "busy: it wants @terminal, and no such event came"


def test_the_summary_counts_what_has_not_arrived_by_its_state() -> None:
    deliveries = [delivery(STORY[0], "sub_1", [attempt(1, 0.1, REFUSED)], State.PENDING)]
    lines = [line.plain for line in summary(picture(STORY, deliveries), COUNTS, {"sub_1": BUSY})]
    assert lines[1].split() == ["Deliveries", "1", "pending"]


def test_the_summary_tells_how_many_jobs_an_owner_sees() -> None:
    own, granted, other = (job(f"job-{owner}", owner) for owner in ("demo", "rcurie", "tokafor"))
    assert isolation([own, granted, other], [own, granted]).plain.endswith("2 of 3 jobs: 1 own, 1 granted")
