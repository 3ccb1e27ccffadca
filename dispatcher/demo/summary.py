"""The closing summary: what came in, what went out, how long it took, and what was tried again and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from rich.text import Text

from dispatcher.demo.client import DeliveryDetail, Event
from dispatcher.demo.picture import Picture
from dispatcher.demo.plans import Plan
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
        retried = [delivery for delivery in deliveries if delivery.attempts > 1]
        if retried:
            yield Text()
            yield _line("Retried").append(f"{len(retried)} to {plan.name}: {plan.trouble}")
            yield from (_retried(delivery, picture.events[delivery.event_id]) for delivery in retried)
        if not deliveries:
            yield Text()
            wanted = ", ".join(plan.events)
            yield _line("Unmatched").append(f"{plan.name}: it wants {wanted}, and no such event came")


def _totals(picture: Picture, counts: Counts) -> Iterator[Text]:
    deliveries = picture.deliveries.values()
    states = Counter(delivery.state for delivery in deliveries)
    attempts = sum(delivery.attempts for delivery in deliveries)
    yield _line("Events").append(
        f"{counts.events['accepted']} accepted, {counts.events['duplicate']} duplicate"
    )
    yield _line("Deliveries").append(
        ", ".join(f"{states[state]} {state}" for state in State if states[state])
    )
    yield _line("Attempts").append(
        f"{attempts}, of which {counts.attempts['failed']} failed and were repeated"
    )


def _delays(picture: Picture) -> Iterator[Text]:
    arrived = [delivery for delivery in picture.deliveries.values() if delivery.state is State.DELIVERED]
    groups = {
        "accepted to delivered, all": arrived,
        "at the first attempt": [delivery for delivery in arrived if delivery.attempts == 1],
        "after retries": [delivery for delivery in arrived if delivery.attempts > 1],
    }
    for heading, (what, deliveries) in zip(("Delays", "", ""), groups.items(), strict=True):
        delays = [delay for delivery in deliveries if (delay := picture.delay(delivery)) is not None]
        if delays:
            p50, p95 = percentile(delays, 0.5), percentile(delays, 0.95)
            yield _line(heading).append(f"{what:<27} p50 {_seconds(p50)}, p95 {_seconds(p95)}")


def _retried(delivery: DeliveryDetail, event: Event) -> Text:
    """One delivery with all its attempts: equal answers in a row together, each with its time from the acceptance."""
    line = _line("").append(f"{delivery.event} {delivery.job_id}, {delivery.attempts} attempts: ")
    for answer, attempts in groupby(delivery.latest_attempts, key=lambda attempt: attempt.error):
        times = [f"{(attempt.ended_at - event.accepted_at).total_seconds():.1f}" for attempt in attempts]
        if answer is None:
            line.append("delivered", "green").append(f" at {', '.join(times)} s")
        else:
            line.append(answer, "red").append(f" at {', '.join(times)} s; ")
    return line


def _line(heading: str) -> Text:
    return Text(f"{heading:<11} ", style="bold").append("", style="default")


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
