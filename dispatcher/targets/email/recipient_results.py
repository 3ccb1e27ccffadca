"""What came of a delivery for each of its recipients, and what that means for the delivery."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.email.replies import Refused, without_addresses

HAD = "250 has it already"

MAX_TEXT = 4096
"""Characters of an attempt's answer."""


class Progress(Struct):
    """What is settled, by the recipient's key: who has it, and who will not get it, with the relay's or our words."""

    got: dict[str, str] = {}
    out: dict[str, str] = {}
    leader: str | None = None
    """When it is about a digest: the delivery that led it. The others may have this state too, once it was given up."""
    unsure: list[str] = []
    """To whom it was sent without an answer of the relay: once more, and no more than that."""
    before: list[str] = []
    """Who had the leader's event before the digest, in a separate message."""

    def had(self, delivery_id: str) -> set[str]:
        """Who has the event of this delivery."""
        return {*self.got, *(self.before if self.leader == delivery_id else ())}

    def alone(self, delivery_id: str) -> Progress:
        """What is settled for a message about this delivery's event only."""
        if self.leader is None:
            return self
        return Progress(dict.fromkeys(sorted(self.had(delivery_id)), HAD) | self.got, self.out)

    def leading(self, delivery_id: str) -> Progress:
        """What is settled for the digest that this delivery leads."""
        if self.leader == delivery_id:
            return self
        return Progress(leader=delivery_id, before=sorted(self.had(delivery_id)))


class Wait(Struct, frozen=True):
    """Why a recipient's message was not tried, and in how many seconds it may be."""

    reason: str
    seconds: float
    coalesce: bool = False


def read_progress(attempt_state: str | None) -> Progress:
    """What the last attempt noted; nothing is settled without one."""
    return Progress() if attempt_state is None else msgspec.json.decode(attempt_state, type=Progress)


class RecipientResults:
    """One attempt: what is settled from before, and what came of the rest."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.failed: dict[str, str] = {}
        self.waiting: dict[str, Wait] = {}
        self.tried = False
        self.status: int | None = None
        self.destination_error: str | None = None
        self.overloaded = False
        self.healthy = False

    def settled(self, key: str) -> bool:
        """Whether nothing is left to do for this recipient."""
        return key in self.progress.got or key in self.progress.out

    def got(self, key: str, said: str) -> None:
        """The relay has taken it."""
        self._said(int(said[:3]))
        self.progress.got[key] = said

    def refused(self, key: str, error: Refused) -> None:
        """The relay has refused it, for good or for now."""
        said = str(error)
        if error.permanent and self.failed:
            self.tried = True  # what is open counts, and a relay is not unwell that knows no such address
        else:
            self._said(error.code)
        if error.stage == "recipient":
            self.healthy = True  # it took the sender; what it says of one address keeps no one else waiting
        elif not error.permanent:
            self.destination_error = without_addresses(said)
        self.overloaded = self.overloaded or error.fewer
        (self.progress.out if error.permanent else self.failed)[key] = said

    def left_out(self, key: str, reason: str) -> None:
        """It is not for this recipient."""
        self.progress.out[key] = reason

    def unsure(self, key: str, reason: str) -> None:
        """The relay has the message and said nothing: it may have taken it."""
        self.tried = True
        self.destination_error = reason
        if key in self.progress.unsure:
            self.progress.out[key] = f"sent twice, and may have arrived: {reason}"
        else:
            self.progress.unsure.append(key)
            self.failed[key] = f"{reason}; it may have arrived, and is sent once more"

    def broke_off(self, key: str, reason: str) -> None:
        """It was tried, and no more is known."""
        self.tried = True
        self.failed[key] = self.destination_error = reason

    def had(self, key: str) -> None:
        """There is nothing in it that this recipient does not have."""
        self.progress.got[key] = HAD

    def waits(self, key: str, reason: str, seconds: float, *, coalesce: bool = False) -> None:
        """It was not tried, because it is not the time yet; `coalesce`: more of the same may go with it then."""
        self.waiting[key] = Wait(reason, seconds, coalesce)

    def asked(self, answer: AttemptResult | None) -> None:
        """A recipient was asked for consent meanwhile: what that says of the relay."""
        if answer is not None:
            self.overloaded = self.overloaded or answer.overloaded
            self.destination_error = self.destination_error or (
                None if answer.overloaded else answer.destination_error
            )

    def _said(self, code: int) -> None:
        self.tried = True
        self.status = code

    def answer(self, request: str) -> AttemptResult:
        """What the attempt means for the delivery.

        It is delivered when nothing is open and one recipient at least has it. Only what is open is tried again.
        """
        attempt_state = msgspec.json.encode(self.progress).decode()
        answer = AttemptResult(request_line=request, status=self.status, body=self._report())
        if self.failed:
            return replace(
                answer,
                error=self._open(),
                destination_error=self.destination_error,
                destination_down=self.destination_error is not None,
                overloaded=self.overloaded,
                healthy=self.healthy,
                attempt_state=attempt_state,
            )
        if self.waiting:
            seconds = min(wait.seconds for wait in self.waiting.values())
            return replace(
                answer,
                error=self._open(),
                destination_error=self.destination_error,
                destination_down=self.destination_error is not None,
                overloaded=self.overloaded,
                retry_at_delay=seconds,
                coalesce=self._coalesces(),
                attempt_state=attempt_state,
            )
        if self.progress.got:
            return answer
        # Nothing is settled for a person who tries once more.
        no_progress = msgspec.json.encode(
            Progress(leader=self.progress.leader, before=self.progress.before)
        ).decode()
        error = f"no one gets it: {_listed(self.progress.out)}"
        return replace(answer, error=error, permanent=True, attempt_state=no_progress)

    def _coalesces(self) -> bool:
        """Whether it may go with others. Not a digest that somebody has: its events are not to be mixed with more."""
        apart = self.progress.leader is not None and self.progress.got
        return not apart and any(wait.coalesce for wait in self.waiting.values())

    def _open(self) -> str:
        # What waits stands first: a confirmation looks for reasons that begin with it.
        reasons = {key: wait.reason for key, wait in self.waiting.items()} | self.failed
        texts = list(dict.fromkeys(reasons.values()))
        return "; ".join(texts)[:MAX_TEXT]

    def _report(self) -> str:
        waits = {key: wait.reason for key, wait in self.waiting.items()}
        reports = self.progress.got | self.progress.out | self.failed | waits
        return "\n".join(f"{key}: {text}" for key, text in reports.items())[:MAX_TEXT]


def _listed(reasons: dict[str, str]) -> str:
    return "; ".join(f"{key}: {reason}" for key, reason in reasons.items())[:MAX_TEXT]
