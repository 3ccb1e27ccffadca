"""What follows from an attempt's answer."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from dispatcher.delivery.outcomes import decide
from dispatcher.domain.deliveries import Attempt, Outcome, State
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.targets import AttemptResult
from tests.factories import NOW, make_claimed, make_subscription


def settle(
    answer: AttemptResult, *, number: int = 1, restarted_after: int = 0, age: float = 0, **policy: object
) -> Outcome:
    retry = RetryPolicy(**{"jitter": 0} | policy)  # type: ignore[arg-type]  # each test names real fields
    claimed = make_claimed(
        subscription=make_subscription(retry=retry), attempts=number - 1, restarted_after=restarted_after
    )
    attempt = Attempt(
        number=number,
        started_at=NOW,
        duration=0.1,
        request=answer.request_line,
        status=answer.status,
        error=answer.error,
        answer=None,
    )
    return decide(claimed, attempt, answer, NOW + timedelta(seconds=age), 0.5)


FAILED = AttemptResult(request_line="POST https://example.org/", status=500, error="answered 500")


def test_an_answer_without_an_error_is_delivered() -> None:
    outcome = settle(AttemptResult(request_line="POST https://example.org/", status=204))
    assert (outcome.state, outcome.due_at, outcome.reason) == (State.DELIVERED, None, None)


def test_a_failure_is_due_again_after_the_policy() -> None:
    outcome = settle(FAILED, number=2)
    assert (outcome.state, outcome.attempts) == (State.PENDING, 2)
    assert outcome.due_at == NOW + timedelta(seconds=25)
    assert outcome.reason == "answered 500"


def test_the_last_retry_exhausts_with_the_reason() -> None:
    outcome = settle(FAILED, number=13)
    assert outcome.state is State.EXHAUSTED
    assert outcome.reason == "no retries left after 13 attempts: answered 500"


def test_what_is_postponed_waits_for_its_time_whatever_the_policy_has_left() -> None:
    for_one = AttemptResult(
        request_line="MAIL x", status=250, error="x got 60 mails", retry_at_delay=600, coalesce=True
    )
    outcome = settle(for_one, strategy="none")
    assert (outcome.state, outcome.attempts) == (State.PENDING, 1)
    assert outcome.due_at == NOW + timedelta(seconds=600)
    assert outcome.joins is not None
    alone = AttemptResult(
        request_line="MAIL x", status=250, error="waits for x to confirm", retry_at_delay=600
    )
    assert settle(alone).joins is None


def test_a_delivery_sent_again_by_a_person_starts_its_policy_from_the_beginning() -> None:
    outcome = settle(FAILED, number=14, restarted_after=13)
    assert outcome.state is State.PENDING
    assert outcome.due_at == NOW + timedelta(seconds=5)


def test_no_attempt_is_planned_later_than_max_age() -> None:
    outcome = settle(FAILED, age=100, max_age=104)
    assert outcome.state is State.EXHAUSTED
    assert outcome.reason is not None
    assert "max_age (104 s)" in outcome.reason
    assert settle(FAILED, age=100, max_age=105).state is State.PENDING


@pytest.mark.parametrize(("asked", "waits"), [(2, 2), (600, 600), (200_000, 86_400)])
def test_retry_after_moves_the_next_attempt_a_day_at_most(asked: float, waits: float) -> None:
    answer = AttemptResult(request_line="POST x", status=503, error="answered 503", retry_after=asked)
    assert settle(answer).due_at == NOW + timedelta(seconds=waits)


def test_retry_after_gives_no_attempt_that_the_policy_has_not() -> None:
    answer = AttemptResult(request_line="POST x", status=503, error="answered 503", retry_after=1)
    assert settle(answer, strategy="none").state is State.EXHAUSTED


def test_a_connection_that_was_gone_is_tried_early_once() -> None:
    answer = AttemptResult(request_line="POST x", error="the connection was closed", retry_early=True)
    assert settle(answer, delay=60).due_at == NOW + timedelta(seconds=1)
    assert settle(answer, number=2, delay=60, factor=1).due_at == NOW + timedelta(seconds=60)
    assert settle(answer, strategy="immediate").due_at == NOW


@pytest.mark.parametrize("flag", ["permanent", "disable_subscription"])
def test_what_cannot_help_is_not_tried_again(flag: str) -> None:
    answer = AttemptResult(request_line="POST x", status=410, error="answered 410 Gone", **{flag: True})  # type: ignore[arg-type]  # a flag
    outcome = settle(answer)
    assert (outcome.state, outcome.reason, outcome.due_at) == (State.EXHAUSTED, "answered 410 Gone", None)


def test_what_is_given_up_keeps_what_its_target_noted() -> None:
    noted = msgspec.structs.replace(FAILED, attempt_state="ann has it")
    for outcome in (settle(noted, strategy="none"), settle(noted, age=10**9)):
        assert (outcome.state, outcome.attempt_state) == (State.EXHAUSTED, "ann has it")
