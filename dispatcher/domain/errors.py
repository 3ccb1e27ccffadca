"""The error tree: what can go wrong between an event and its delivery.

DispatcherError
├── InvalidInput       something that came in is wrong: names the field and what would be right
├── Forbidden          the key may not do this
├── NotFound           no such thing, or not for this key
├── Conflict           the thing is in a state that does not allow this
│   └── TooManyAlike   as many subscriptions for the same jobs as one subscriber may have
├── QuotaExceeded      one more than an owner, key or tenant may have: names the quota
├── SettingsError      the settings stop the start: names the setting, its source and what was expected
└── StoreUnavailable   the database cannot be reached now; what was being written may be written all the same
    └── StatementTimeout   it was reached, but gave a statement up that took too long: nothing was changed
"""

from __future__ import annotations


class DispatcherError(Exception):
    """The base of all errors that Dispatcher raises on purpose."""


class InvalidInput(DispatcherError):
    """Something that came in is wrong. `field` is a dotted path into it, empty for the whole."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


class Forbidden(DispatcherError):
    """The key may not do this; the message says which scope or owner would be needed."""


class NotFound(DispatcherError):
    """No such thing, or not one that this key may see."""


class Conflict(DispatcherError):
    """The thing is in a state that does not allow this; the message names the state."""


class TooManyAlike(Conflict):
    """There are as many subscriptions for the same jobs as one subscriber may have."""


class RateLimited(Conflict):
    """A rate limit has nothing left; `seconds` says when it is worth trying again."""

    def __init__(self, problem: str, seconds: float) -> None:
        super().__init__(problem)
        self.seconds = seconds


class QuotaExceeded(DispatcherError):
    """One more than a quota allows. `quota` is its name; `retry_after` are seconds, None when waiting does not help."""

    def __init__(self, quota: str, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.quota = quota
        self.retry_after = retry_after


class SettingsError(DispatcherError):
    """The settings stop the start; the message names the setting, its source and what was expected."""


class StoreUnavailable(DispatcherError):
    """The database cannot be reached now. A commit whose connection was lost may have happened all the same."""


class StatementTimeout(StoreUnavailable):
    """The database gave a statement up that took too long: nothing was changed. Less at once may succeed."""
