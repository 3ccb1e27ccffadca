"""Whether a message may go to a recipient now: it may and is counted, it has to wait, or it never goes."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from dispatcher.domain.targets import AttemptResult


class Rejected(Struct, frozen=True):
    """This recipient gets nothing, and why."""

    reason: str
    answer: AttemptResult | None = None
    """What came of the question for consent, if the relay was sent one."""


class Deferred(Struct, frozen=True):
    """This recipient gets nothing yet: why, and for how many seconds.

    `coalesce`: it had so much that more should come in one message. `answer`: what came of the question for consent, if
    the relay was sent one.
    """

    reason: str
    seconds: float
    coalesce: bool = False
    answer: AttemptResult | None = None


class Counted(Struct, frozen=True):
    """This recipient may have a message now, which counts for the periods of this time."""

    at: datetime
