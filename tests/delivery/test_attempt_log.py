"""What is logged of deliveries: those that arrive at debug, those that do not once in an interval for a destination."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from dispatcher.delivery import attempt_log
from dispatcher.domain.deliveries import State
from dispatcher.domain.events import utc_now
from dispatcher.telemetry import logs
from dispatcher.telemetry.log_limit import LogLimit
from tests.factories import make_claimed, make_subscription
from tests.store.helpers import attempt, outcome


def logged(destination: str, state: State) -> list[tuple[str, int]]:
    delivery = make_claimed(subscription=make_subscription(destination=destination))
    due = utc_now() if state is State.PENDING else None
    with capture_logs() as lines:
        attempt_log.report(delivery, outcome(delivery.id, state, attempt=attempt(), due_at=due))
    return [(line["log_level"], line["more"]) for line in lines]


def test_a_success_is_logged_at_debug_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "debug_is_on", lambda: True)
    assert logged("https://a:443", State.DELIVERED) == [("debug", 0)]
    assert logged("https://a:443", State.DELIVERED) == [("debug", 0)]
    monkeypatch.setattr(logs, "debug_is_on", lambda: False)
    assert logged("https://a:443", State.DELIVERED) == []


def test_a_failure_is_logged_once_in_an_interval_for_a_destination_and_an_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempt_log, "_failures", LogLimit(3600))
    assert logged("https://b:443", State.PENDING) == [("info", 0)]
    assert [logged("https://b:443", State.PENDING) for _ in range(5)] == [[]] * 5
    assert logged("https://b:443", State.EXHAUSTED) == [("info", 0)]
    assert logged("https://c:443", State.PENDING) == [("info", 0)]


def test_the_next_line_says_how_many_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 0.5, 0.9, 1.1))
    monkeypatch.setattr("dispatcher.telemetry.log_limit.time.monotonic", lambda: next(times))
    limit = LogLimit(1.0)
    assert [limit.allows("x") for _ in range(4)] == [0, None, None, 2]
