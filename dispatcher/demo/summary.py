"""The closing summary: what came in, what went out, how long it took, and what was tried again and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from rich.text import Text

from dispatcher.client.models import DeliveryDetail, Event, Job
from dispatcher.demo.picture import Picture
from dispatcher.demo.plans import OWNER, Plan
from dispatcher.demo.view import line, short
from dispatcher.domain.deliveries import State


class Counts(Struct, frozen=True):
    """What `/metrics` counts: events by result, attempts by outcome."""

    events: Counter[str]
    attempts: Counter[str]


def read_counts(metrics: str) -> Counts:
    """The counts in a page of metrics."""
    counts = Counts(Counter(), Counter())
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "dispatcher_events_total":
                counts.events[sample.labels["result"]] += int(sample.value)
            elif sample.name == "dispatcher_deliveries_total":
                counts.attempts[sample.labels["outcome"]] += int(sample.value)
    return counts


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that is not below `share` of them (the nearest rank); there must be one."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summary(picture: Picture, counts: Counts, plans: Mapping[str, Plan]) -> Iterator[Text]:
    """The lines of the summary; the plans are by the ids of their subscriptions."""
    yield from _totals(picture, counts)
    yield from _delays(picture)
    for subscription_id, plan in plans.items():
        deliveries = picture.of(subscription_id)
        if not deliveries:
            yield line("Unmatched", f"{plan.name}: it wants {', '.join(plan.events)}, and no such event came")
        elif retried := [delivery for delivery in deliveries if delivery.attempts > 1]:
            yield line("Retried", f"{len(retried)} to {plan.name}: {plan.trouble}")
            yield from _reasons(retried)
            yield from (_attempts(delivery, picture.events[delivery.event_id]) for delivery in retried)


def isolation(jobs: Sequence[Job], shown: Sequence[Job]) -> Text:
    """How many of all jobs the key of OWNER shows."""
    own = sum(job.owner == OWNER for job in shown)
    text = f"the key of {OWNER} shows {len(shown)} of {len(jobs)} jobs: {own} own, {len(shown) - own} granted"
    return line("Owners", text)


def _totals(picture: Picture, counts: Counts) -> Iterator[Text]:
    deliveries = picture.deliveries.values()
    states = Counter(delivery.state for delivery in deliveries)
    attempts = sum(delivery.attempts for delivery in deliveries)
    yield line("Events", f"{counts.events['accepted']} accepted, {counts.events['duplicate']} duplicate")
    yield line("Deliveries", ", ".join(f"{states[state]} {state}" for state in State if states[state]))
    yield line("Attempts", f"{attempts}, of which {counts.attempts['failed']} failed and were repeated")


def _delays(picture: Picture) -> Iterator[Text]:
    arrived = [delivery for delivery in picture.deliveries.values() if delivery.state == State.DELIVERED]
    groups = {
        "accepted to delivered, all": arrived,
        "at the first attempt": [delivery for delivery in arrived if delivery.attempts == 1],
        "after retries": [delivery for delivery in arrived if delivery.attempts > 1],
    }
    for heading, (what, deliveries) in zip(("Delays", "", ""), groups.items(), strict=True):
        delays = [delay for delivery in deliveries if (delay := picture.delay(delivery)) is not None]
        if delays:
            p50, p95 = percentile(delays, 0.5), percentile(delays, 0.95)
            yield line(heading, f"{what:<27} p50 {_seconds(p50)}, p95 {_seconds(p95)}")


def _reasons(deliveries: Iterable[DeliveryDetail]) -> Iterator[Text]:
    errors = Counter(attempt.error for delivery in deliveries for attempt in delivery.latest_attempts)
    for error, count in errors.items():
        if error is not None:
            yield line("", "").append(error, "red").append(f" ({count} times)")


def _attempts(delivery: DeliveryDetail, event: Event) -> Text:
    """One delivery and when its attempts ended, counted from the acceptance of the event."""
    waits = [(attempt.ended_at - event.accepted_at).total_seconds() for attempt in delivery.latest_attempts]
    times = ", ".join(f"{wait:.1f}" for wait in waits)
    what = f"{delivery.event:<8} {short(delivery.job_id):<19} {delivery.attempts} attempts at {times} s"
    return line("", what if delivery.state == State.DELIVERED else f"{what}: {delivery.state}")


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
