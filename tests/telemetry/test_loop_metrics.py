from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from dispatcher.telemetry.loop_metrics import LoopCounter, LoopHistogram

BOUNDS = (0.005, 0.5, 1, 15)
VALUES = (0.001, 0.005, 0.3, 1.0, 14.9, 15.1, 1e9)


def page(registry: CollectorRegistry) -> bytes:
    return generate_latest(registry)


def test_a_histogram_shows_what_that_of_the_library_shows() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = LoopHistogram("seconds", "How long.", BOUNDS, ours, label="kind")
    other = Histogram("seconds", "How long.", ["kind"], buckets=BOUNDS, registry=theirs)
    for kind in ("webhook", "email"):
        for value in VALUES:
            mine.observe(value, kind)
            other.labels(kind).observe(value)
    assert page(ours) == page(theirs)


def test_a_histogram_without_a_label_is_there_from_the_start() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    LoopHistogram("seconds", "How long.", BOUNDS, ours)
    Histogram("seconds", "How long.", buckets=BOUNDS, registry=theirs)
    assert page(ours) == page(theirs)


def test_a_counter_shows_what_that_of_the_library_shows() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = LoopCounter("sent", "How many.", ["kind", "outcome"], ours)
    other = Counter("sent", "How many.", ["kind", "outcome"], registry=theirs)
    mine.add("webhook", "delivered")
    mine.add("webhook", "delivered", count=2)
    mine.add("email", "failed")
    other.labels("webhook", "delivered").inc(3)
    other.labels("email", "failed").inc()
    assert page(ours) == page(theirs)
