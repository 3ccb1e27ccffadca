"""How a job ended: the exit code or the signal, from any form in which a batch system says it."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from msgspec import Struct

from dispatcher.targets.email.quantities import number_of, shown

_OFTEN: Mapping[int, str] = {
    signal.SIGKILL: "often because it was out of memory",
    signal.SIGTERM: "often at its time limit",
    signal.SIGXCPU: "its limit of CPU time",
}
_MOST_SIGNALS = 64
# 128 + n is a shell's way to say signal n, 256 + n that of PBS.
_SHELL, _PBS = 128, 256
_CODE = re.compile(
    r"(?:exit(?:ed)?(?: with)?(?: ?code| status)? ?[:=]? ?)?(-?\d{1,6})(?:\.0+)?(?::(\d{1,3}))?(?: \([^()]*\))?",
    re.IGNORECASE,
)
_SIGNAL = re.compile(r"(?:signal:? ?)?(?:\d{1,2} ?\(?)?(?:SIG)?([A-Z][A-Z0-9]{1,9})\)?", re.IGNORECASE)
_SPELLED = re.compile(r"\bSIG[A-Z][A-Z0-9]{1,8}\b")
# As shells and the C library say them, such as "Segmentation fault (core dumped)", or Go's "signal: killed".
_SAID = {(signal.strsignal(number) or "").lower(): int(number) for number in signal.valid_signals()}
_BEFORE_OR_BEHIND = re.compile(r"^signal: | ?\(core dumped\)$")
_NOTHING = frozenset({"", "-", "--", "?", "n/a", "na", "nan", "none", "null", "nil", "unknown", "unset"})
_NUMBERED = re.compile(r"(?:killed by )?signal:? ?(\d{1,2})", re.IGNORECASE)


class Exit(Struct, frozen=True):
    """`code` is what the job returned, `signal` what ended it; `text` is what stands there when it is neither."""

    code: int | None = None
    signal: int | None = None
    text: str = ""

    def __str__(self) -> str:
        """`exit 3`, `signal 9 (KILL)`, or nothing."""
        if self.code is not None:
            return f"exit {self.code}"
        return signal_text(self.signal) if self.signal is not None else self.text and f"exit {self.text}"

    @property
    def meaning(self) -> str:
        """The signal, when one ended it."""
        return "" if self.signal is None else signal_text(self.signal)

    @property
    def guess(self) -> str:
        """Why this signal is sent most often."""
        return _OFTEN.get(self.signal or 0, "")


def signal_text(number: int) -> str:
    """`signal 9 (KILL)`."""
    try:
        name = f" ({signal.Signals(number).name.removeprefix('SIG')})"
    except ValueError:
        name = ""
    return f"signal {number}{name}"


def exit_of(value: object) -> Exit:
    """What a value says of an end: a number, a text such as `0:9` or `SIGKILL`, or Slurm's object."""
    if isinstance(value, Mapping):
        return _of_object(value)
    if isinstance(value, list):
        return exit_of(value[0]) if len(value) == 1 else Exit()
    if isinstance(value, str):
        text = " ".join(value.split())
        return Exit() if text.lower() in _NOTHING else _of_text(text)
    number = number_of(value)
    return _of_number(int(number)) if number is not None and number == int(number) else Exit()


def _of_number(number: int) -> Exit:
    if -_MOST_SIGNALS <= number < 0:
        return Exit(signal=-number)
    if _PBS < number <= _PBS + _MOST_SIGNALS:
        return Exit(signal=number - _PBS)
    if _SHELL < number <= _SHELL + _MOST_SIGNALS:
        return Exit(code=number, signal=number - _SHELL)
    return Exit(code=number)


def _of_text(text: str) -> Exit:
    if (found := _SPELLED.search(text)) and (named := _named(found[0])) is not None:
        return Exit(signal=named)
    if found := _CODE.fullmatch(text):
        code, number = int(found[1]), int(found[2] or 0)
        if number > _MOST_SIGNALS:  # no signal: Slurm has 0:125 for out of memory
            return Exit(text=text[:60])
        return Exit(signal=number) if number else _of_number(code)
    if found := _NUMBERED.match(text):
        return Exit(signal=int(found[1])) if 0 < int(found[1]) <= _MOST_SIGNALS else Exit()
    found = _SIGNAL.fullmatch(text)
    named = _named(found[1]) if found else None
    if named is None:
        named = _SAID.get(_BEFORE_OR_BEHIND.sub("", text.lower()))
    return Exit(text=text[:60]) if named is None else Exit(signal=named)


def _of_object(value: Mapping[str, object]) -> Exit:
    """Slurm's: `status`, `return_code`, and `signal` with a number and a name. Others name theirs much the same."""
    sent = value.get("signal")
    if isinstance(sent, Mapping):
        number = next(
            (found for key in ("id", "signal_id", "number") if (found := number_of(sent.get(key)))), None
        )
        number = number or _named(shown(sent.get("name")))
    else:
        number = number_of(sent) or _named(shown(sent))
    if number is not None and 0 < number <= _MOST_SIGNALS:
        return Exit(signal=int(number))
    if value.get("set") is False:
        return Exit()
    keys = ("return_code", "exit_code", "exitCode", "ExitCode", "code", "number")
    code = next((found for key in keys if (found := number_of(value.get(key))) is not None), None)
    return Exit() if code is None or code != int(code) else _of_number(int(code))


def _named(name: str) -> int | None:
    known = f"SIG{name.upper().removeprefix('SIG')}"
    return int(signal.Signals[known]) if known in signal.Signals.__members__ else None
