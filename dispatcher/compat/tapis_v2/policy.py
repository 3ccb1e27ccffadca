"""Retry policies of Tapis v2 (Agave), and what they are here: the same waits, without its second first attempt."""

from __future__ import annotations

from itertools import islice
from typing import Literal

from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.retry import RetryPolicy, Schedule

Strategy = Literal["NONE", "IMMEDIATE", "DELAYED", "EXPONENTIAL"]
STRATEGIES: tuple[Strategy, ...] = ("NONE", "IMMEDIATE", "DELAYED", "EXPONENTIAL")

MAX_RETRIES = 1440
MAX_WAIT = 86_400
"""Seconds: the longest `retryRate` and `retryDelay`."""

_MAX_AGE = 2_592_000.0
# Tapis knows no age at which it gives up. This is the highest there is here: thirty days.

_EXPONENTIAL = ((4, 5.0), (4, 15.0), (5, 60.0), (4, 900.0), (MAX_RETRIES, 3600.0))
"""How many retries wait how many seconds."""


class Policy(Struct, frozen=True, kw_only=True, rename="camel"):
    """A policy with its defaults; `retry_rate` and `retry_delay` are seconds."""

    retry_limit: int = 5
    retry_rate: int = 5
    retry_delay: int = 0
    save_on_failure: bool = False
    retry_strategy: Strategy = "IMMEDIATE"


def check_policy(policy: Policy) -> Policy:
    """The policy itself. InvalidInput names the first field that cannot be."""
    for name, value, most in (
        ("retryLimit", policy.retry_limit, MAX_RETRIES),
        ("retryRate", policy.retry_rate, MAX_WAIT),
        ("retryDelay", policy.retry_delay, MAX_WAIT),
    ):
        if not 0 <= value <= most:
            raise InvalidInput(f"policy.{name}", f"expected 0 to {most}, got {value}")
    if policy.retry_strategy == "DELAYED" and policy.retry_delay < 1:
        raise InvalidInput("policy.retryDelay", "expected 1 or more with the retryStrategy DELAYED")
    if policy.retry_strategy in ("NONE", "IMMEDIATE") and policy.retry_delay:
        raise InvalidInput(
            "policy.retryDelay",
            f"expected 0 with the retryStrategy {policy.retry_strategy}, got {policy.retry_delay}",
        )
    return policy


def retry_policy(policy: Policy) -> RetryPolicy:
    """What a policy is here: the same number of retries, after the same waits."""
    strategy: Literal["none", "immediate", "delayed"] | Schedule
    if policy.retry_strategy == "NONE":
        strategy = "none"
    elif policy.retry_strategy == "IMMEDIATE":
        strategy = "immediate"
    elif policy.retry_strategy == "DELAYED" and policy.retry_delay == policy.retry_rate:
        strategy = "delayed"
    else:
        strategy = Schedule((0.0, *_waits(policy)))
    return RetryPolicy(
        strategy=strategy,
        limit=policy.retry_limit,
        delay=float(policy.retry_rate),
        factor=1,
        jitter=0,
        max_age=_MAX_AGE,
    )


def policy_of(retry: RetryPolicy, kept: Policy | None) -> Policy:
    """The policy that became this; else, when it was changed since, the one that is most like it."""
    if kept is not None and retry_policy(kept) == retry:
        return kept
    save = kept is not None and kept.save_on_failure
    if retry.strategy == "none":
        return Policy(retry_limit=retry.limit, retry_strategy="NONE", save_on_failure=save)
    if retry.strategy == "immediate":
        return Policy(retry_limit=retry.limit, save_on_failure=save)
    if retry.strategy == "delayed":
        wait = min(round(retry.delay), MAX_WAIT)
        return Policy(
            retry_limit=retry.limit,
            retry_rate=wait,
            retry_delay=wait,
            retry_strategy="DELAYED",
            save_on_failure=save,
        )
    return Policy(retry_limit=retry.retries, retry_strategy="EXPONENTIAL", save_on_failure=save)


def _waits(policy: Policy) -> list[float]:
    if policy.retry_strategy == "DELAYED":
        rest = [float(policy.retry_rate)] * (policy.retry_limit - 1)
        return [float(policy.retry_delay), *rest][: policy.retry_limit]
    every = (wait for count, wait in _EXPONENTIAL for _ in range(count))
    return list(islice(every, policy.retry_limit))
