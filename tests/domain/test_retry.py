"""Retry policies."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.retry import RetryPolicy, Schedule

chances = st.floats(0, 1, exclude_max=True)
policies = st.builds(
    RetryPolicy,
    strategy=st.sampled_from(["none", "immediate", "delayed", "exponential"])
    | st.builds(Schedule, st.lists(st.floats(0, 1e6), min_size=1, max_size=20).map(tuple)),
    limit=st.integers(0, 1440),
    delay=st.floats(0, 2_592_000),
    factor=st.floats(1, 100),
    max_delay=st.floats(0, 2_592_000),
    jitter=st.floats(0, 1),
)


@given(policies, chances)
def test_a_policy_ends_after_its_retries(policy: RetryPolicy, chance: float) -> None:
    if policy.retries:
        assert policy.delay_after(policy.retries, chance) is not None
    assert policy.delay_after(policy.retries + 1, chance) is None


@given(policies, st.integers(1, 1440), chances)
def test_a_delay_is_never_negative_and_stays_within_its_jitter(
    policy: RetryPolicy, attempts: int, chance: float
) -> None:
    delay, middle = policy.delay_after(attempts, chance), policy.delay_after(attempts, 0.5)
    if delay is None or middle is None:
        assert attempts > policy.retries
        return
    assert delay >= 0
    assert abs(delay - middle) <= middle * policy.jitter * 1.0001


@given(st.integers(1, 1440), st.floats(1, 100), st.floats(0.1, 100))
def test_an_exponential_delay_never_shrinks_and_never_passes_max_delay(
    attempts: int, factor: float, delay: float
) -> None:
    policy = RetryPolicy(limit=1440, delay=delay, factor=factor, max_delay=3600, jitter=0)
    first, second = policy.delay_after(attempts, 0), policy.delay_after(min(attempts + 1, 1440), 0)
    assert first is not None
    assert second is not None
    assert first <= second <= 3600


def test_the_default_policy_waits_five_seconds_and_five_times_longer_each_time() -> None:
    policy = RetryPolicy(jitter=0)
    delays = [policy.delay_after(n, 0) for n in range(1, 14)]
    assert delays == [5, 25, 125, 625, 3125, 15625, 78125, 86400, 86400, 86400, 86400, 86400, None]


def test_none_makes_one_attempt_and_immediate_does_not_wait() -> None:
    assert RetryPolicy(strategy="none").delay_after(1, 0) is None
    assert RetryPolicy(strategy="immediate").delay_after(3, 0.9) == 0


def test_a_schedule_says_the_wait_before_each_attempt() -> None:
    policy = RetryPolicy(strategy=Schedule((7, 5, 300)), jitter=0)
    assert policy.first_delay == 7
    assert [policy.delay_after(n, 0) for n in (1, 2, 3)] == [5, 300, None]


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ('{"strategy": "sometimes"}', "$.strategy"),
        ('{"limit": -1}', "$.limit"),
        ('{"limit": 1441}', "$.limit"),
        ('{"jitter": 1.5}', "$.jitter"),
        ('{"strategy": {"schedule": []}}', "$.strategy"),
        (f'{{"strategy": {{"schedule": [{"1," * 1441}1]}}}}', "$.strategy"),
        ('{"delays": 1}', "delays"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_its_place(document: str, where: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=where.replace("$", r"\$")):
        msgspec.json.decode(document, type=RetryPolicy)
