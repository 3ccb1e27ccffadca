"""Retry policies of Tapis v2 as policies of Dispatcher."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.compat.tapis_v2.policy import STRATEGIES, Policy, policy_of, retry_policy
from dispatcher.domain.retry import RetryPolicy

POLICIES = st.builds(
    Policy,
    retry_limit=st.integers(0, 1440),
    retry_rate=st.integers(0, 86_400),
    retry_delay=st.integers(0, 86_400),
    save_on_failure=st.booleans(),
    retry_strategy=st.sampled_from(STRATEGIES),
)


def waits(policy: Policy) -> list[float]:
    """Seconds before each retry."""
    retry = retry_policy(policy)
    delays = [retry.delay_after(attempts, 0.5) for attempts in range(1, 1442)]
    assert retry.first_delay == 0
    return [delay for delay in delays if delay is not None]


def test_none_is_tried_once() -> None:
    assert waits(Policy(retry_strategy="NONE", retry_limit=5)) == []


def test_immediate_does_not_wait() -> None:
    assert waits(Policy(retry_limit=5)) == [0] * 5


def test_delayed_waits_the_delay_once_and_then_the_rate() -> None:
    assert waits(Policy(retry_strategy="DELAYED", retry_limit=4, retry_delay=60, retry_rate=5)) == [
        60,
        5,
        5,
        5,
    ]
    assert waits(Policy(retry_strategy="DELAYED", retry_limit=3, retry_delay=7, retry_rate=7)) == [7, 7, 7]
    assert len(waits(Policy(retry_strategy="DELAYED", retry_limit=1440, retry_delay=1, retry_rate=2))) == 1440


def test_exponential_waits_as_the_table_of_tapis_says() -> None:
    assert waits(Policy(retry_strategy="EXPONENTIAL", retry_limit=20)) == [
        *[5] * 4,
        *[15] * 4,
        *[60] * 5,
        *[900] * 4,
        *[3600] * 3,
    ]


@given(POLICIES)
def test_a_policy_comes_back_as_it_was(policy: Policy) -> None:
    assert policy_of(retry_policy(policy), policy) == policy


@given(POLICIES)
def test_a_policy_has_as_many_retries_as_it_says(policy: Policy) -> None:
    expected = 0 if policy.retry_strategy == "NONE" else policy.retry_limit
    assert len(waits(policy)) == expected


def test_one_that_was_changed_since_is_shown_as_it_is_now() -> None:
    kept = Policy(retry_strategy="EXPONENTIAL", save_on_failure=True)

    changed = policy_of(RetryPolicy(strategy="delayed", limit=3, delay=9), kept)

    assert changed == Policy(
        retry_strategy="DELAYED", retry_limit=3, retry_rate=9, retry_delay=9, save_on_failure=True
    )
    assert policy_of(RetryPolicy(limit=12), kept).retry_strategy == "EXPONENTIAL"
