"""Metrics: what an operator watches and is paged for, in the text format of Prometheus.

Labels have few values: never a URL, a job or an owner. What is counted for each delivery is one of `loop_metrics`.
"""

from __future__ import annotations

import asyncio
import platform

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

import dispatcher
from dispatcher.telemetry.loop_metrics import LoopCounter, LoopHistogram

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The media type of what `render` returns."""

REGISTRY = CollectorRegistry()

# A time of creation beside each number would double the page, and tell no more than the start of the process.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library does not annotate it

EVENTS = Counter(
    "dispatcher_events",
    "Events received. source: amqp or http; result: accepted, duplicate or refused.",
    ["source", "result"],
    registry=REGISTRY,
)
EVENTS_UNMATCHED = Counter(
    "dispatcher_events_unmatched",
    "Accepted events that matched no subscription. source: amqp or http.",
    ["source"],
    registry=REGISTRY,
)
DELIVERIES = LoopCounter(
    "dispatcher_deliveries",
    "Outcomes of delivery attempts. kind: kind of the target; outcome: delivered, "
    "failed (will be retried), exhausted or superseded. Cancelled deliveries are not counted.",
    ["kind", "outcome"],
    registry=REGISTRY,
)
MAILS = Counter(
    "dispatcher_mails",
    "Messages submitted to the mail relay, confirmation requests included. result: accepted, deferred (refused for "
    "now), refused (for good), or unreachable (the relay).",
    ["result"],
    registry=REGISTRY,
)
ATTEMPT_SECONDS = LoopHistogram(
    "dispatcher_attempt_seconds",
    "Duration of an attempt. kind: kind of the target.",
    (0.005, 0.025, 0.1, 0.5, 1, 5, 15),
    label="kind",
    registry=REGISTRY,
)
DELIVERY_DELAY = LoopHistogram(
    "dispatcher_delivery_delay_seconds",
    "From the acceptance of an event to its successful delivery.",
    (0.01, 0.05, 0.25, 1, 5, 30, 300, 3600, 86400),
    registry=REGISTRY,
)
BACKLOG = Gauge(
    "dispatcher_backlog",
    "Deliveries in the store that are not delivered. state: pending, delivering or exhausted.",
    ["state"],
    registry=REGISTRY,
)
BREAKERS_OPEN = Gauge(
    "dispatcher_breakers_open",
    "Destinations whose circuit breaker is not closed, over all processes.",
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "dispatcher_dead_letters",
    "Messages sent to the dead-letter queue. reason: what could not be decoded, in one word.",
    ["reason"],
    registry=REGISTRY,
)
LOOPS = Counter(
    "dispatcher_event_loops_total",
    "Events and messages refused because they passed through this service too often. source: amqp or http.",
    ["source"],
    registry=REGISTRY,
)
STORE_UP = Gauge(
    "dispatcher_store_up", "1 while the database can be written to, 0 while not.", registry=REGISTRY
)
AMQP_CONNECTED = Gauge(
    "dispatcher_amqp_connected",
    "1 while events are consumed from the broker, 0 while not.",
    registry=REGISTRY,
)
INFLIGHT = Gauge("dispatcher_inflight", "Deliveries that this process holds in memory.", registry=REGISTRY)
WAITERS = Gauge("dispatcher_waiters", "Requests that wait for a job in this process.", registry=REGISTRY)
BATCH_SECONDS = Histogram(
    "dispatcher_batch_seconds",
    "Duration of a batch of events from matching to commit.",
    buckets=(0.002, 0.005, 0.02, 0.1, 0.5, 2, 10),
    registry=REGISTRY,
)
BATCH_EVENTS = Histogram(
    "dispatcher_batch_events",
    "Number of events in a batch.",
    buckets=(1, 5, 25, 100, 500),
    registry=REGISTRY,
)
DELIVERIES_OVER_QUOTA = Counter(
    "dispatcher_deliveries_over_quota",
    "Deliveries that were made due later because their owner was over the quota of deliveries a minute.",
    registry=REGISTRY,
)
EXPANDED = Counter(
    "dispatcher_expanded_deliveries",
    "Deliveries that were made after their event was accepted, because it caused many.",
    registry=REGISTRY,
)
LEASES_LOST = Counter(
    "dispatcher_leases_lost",
    "How often the lease of this process expired and other processes took over its claims.",
    registry=REGISTRY,
)
INTERNAL_ERRORS = Counter(
    "dispatcher_internal_errors",
    "Unexpected errors; the log has the traceback. where: the step that raised.",
    ["where"],
    registry=REGISTRY,
)
RETENTION_DELETED = Counter(
    "dispatcher_retention_deleted",
    "Rows deleted by retention, apart from those in dropped partitions. table: of which.",
    ["table"],
    registry=REGISTRY,
)
RETENTION_DROPPED = Counter(
    "dispatcher_retention_dropped_partitions",
    "Partitions dropped by retention. table: of which.",
    ["table"],
    registry=REGISTRY,
)
RETENTION_FAILURES = Counter(
    "dispatcher_retention_failures", "Failed runs of retention; each is repeated.", registry=REGISTRY
)
RETENTION_LAST_RUN = Gauge(
    "dispatcher_retention_last_run_timestamp_seconds",
    "When this process last ran retention successfully, or saw that another process does. Unix time.",
    registry=REGISTRY,
)
OLDEST_EVENT = Gauge(
    "dispatcher_oldest_event_timestamp_seconds",
    "When the oldest stored event was accepted. Unix time; 0 when there is none.",
    registry=REGISTRY,
)
PARTITIONS_AHEAD = Gauge(
    "dispatcher_partitions_ahead",
    "Partitions (PostgreSQL) for times to come. At 0, intake stops when the current one ends. table: of which.",
    ["table"],
    registry=REGISTRY,
)
PARTITIONS_PENDING_DROP = Gauge(
    "dispatcher_partitions_pending_drop",
    "Partitions (PostgreSQL) past their retention that still hold needed rows. table: of which.",
    ["table"],
    registry=REGISTRY,
)
PARTITIONS_STANDING = Gauge(
    "dispatcher_partitions_standing",
    "The old name of dispatcher_partitions_pending_drop, until version 1.0.",
    ["table"],
    registry=REGISTRY,
)
LOG_LINES_DROPPED = Counter(
    "dispatcher_log_lines_dropped",
    "Log lines dropped because the log queue was full or the stream failed.",
    registry=REGISTRY,
)
LOOP_LAG = Histogram(
    "dispatcher_loop_lag_seconds",
    "Delay of a timer in the event loop, measured four times a second.",
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10),
    registry=REGISTRY,
)
TASKS = Gauge(
    "dispatcher_tasks", "Tasks of this process's event loop, also those that wait.", registry=REGISTRY
)
BUILD = Info("dispatcher_build", "Version of Dispatcher and Python.", registry=REGISTRY)

BUILD.info({"version": dispatcher.__version__, "python": platform.python_version()})
ProcessCollector(registry=REGISTRY)


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no loop runs where this is asked
        return 0


TASKS.set_function(_tasks)


def render() -> bytes:
    """All metrics of this process as `/metrics` answers them, of the media type CONTENT_TYPE."""
    return generate_latest(REGISTRY)
