"""What a quota of deliveries gives, and when that which is too much is due."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.delivery_quota import HORIZON, grant
from tests.factories import NOW


def due(per_minute: int, full_at: float, now: float, needed: int) -> list[float]:
    """Return in how many seconds each of these deliveries goes."""
    given_, _ = grant(per_minute, full_at, now, needed)
    granted = min(needed, given_.granted)
    late = [(given_.due_at(number, NOW) - NOW).total_seconds() for number in range(needed - granted)]
    return [0.0] * granted + late


def test_a_minutes_deliveries_go_at_once_and_further_ones_at_the_rate_of_the_quota() -> None:
    assert due(60, 0, 1000, 63) == [0.0] * 60 + [1.0, 2.0, 3.0]
    assert due(1, 0, 1000, 3) == [0.0, 60.0, 120.0]


def test_a_process_takes_a_share_and_what_it_needs_at_least() -> None:
    assert grant(6000, 0, 1000, 1)[0].granted == 100
    assert grant(6000, 0, 1000, 250)[0].granted == 250
    assert grant(59, 0, 1000, 1)[0].granted == 1


def test_what_is_due_later_is_owed_so_that_the_next_ones_come_after_it() -> None:
    _, owed = grant(60, 0, 1000, 63)
    assert due(60, owed, 1000, 2) == [4.0, 5.0]
    assert due(60, owed, 1004, 2) == [0.0, 1.0]
    assert due(60, owed, 1063, 60) == [0.0] * 60


def test_nothing_is_due_later_than_the_horizon_and_no_more_is_owed() -> None:
    times = due(60, 0, 1000, 10_000)
    assert max(times) == HORIZON
    assert times.count(HORIZON) == 10_000 - 60 - 3599
    _, owed = grant(60, 0, 1000, 10_000)
    assert due(60, owed, 1000, 2) == [HORIZON, HORIZON]
    assert grant(60, owed, 1000, 500)[1] == owed


@given(
    per_minute=st.integers(1, 1_000_000_000),
    full_at=st.floats(0, 4e9),
    now=st.floats(1e9, 4e9),
    needed=st.integers(1, 1_000_000),
)
def test_any_numbers_give_times_that_do_not_run_back(
    per_minute: int, full_at: float, now: float, needed: int
) -> None:
    found, owed = grant(per_minute, full_at, now, needed)
    assert owed >= full_at
    assert 0 <= found.granted <= max(needed, per_minute)
    if found.granted < needed:
        times = [found.due_at(number, NOW) for number in (0, 1, needed)]
        assert NOW <= times[0] <= times[1] <= times[2] <= NOW + timedelta(seconds=HORIZON)
