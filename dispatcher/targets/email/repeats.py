"""Refusals of several addresses in a row with the same words: those are a fault of the relay, whatever they say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from dispatcher.domain.recipients import Recipient
from dispatcher.targets.email.replies import Refused, without_addresses

SEVERAL = 3
"""Different addresses in a row, without one that is taken in between, that make it a fault of the relay."""

MAX_KEPT = 1000
"""Addresses of a run that are kept in memory."""

_TOKEN = re.compile(r"\S*\d\S*")


class _Run(Struct):
    """Addresses that were refused in a row with the same words, and who was marked as refused because of it."""

    words: str = ""
    keys: dict[str, None] = {}
    marked: dict[Recipient, None] = {}

    @property
    def doubtful(self) -> bool:
        return len(self.keys) >= SEVERAL


class Repeats:
    """The refusals for good of one process, in a row."""

    def __init__(self) -> None:
        self._run = _Run()
        self._before = _Run()

    def judge(self, recipient: Recipient, error: Refused) -> Refused:
        """The refusal, or one of the relay when it says the same of several addresses in a row."""
        if not error.permanent or (error.stage == "message" and not error.gone):
            return error
        words = _words_about(recipient.key, error)
        if words != self._run.words:
            self._end_run()
            self._run = _Run(words)
        run = self._run
        if len(run.keys) < MAX_KEPT:
            run.keys[recipient.key] = None
        if not run.doubtful:
            return error
        text = f"{error.text} (the same for {len(run.keys)} addresses in a row: the relay is at fault)"
        return Refused(error.stage, error.code, text, "relay")

    def marked(self, recipient: Recipient) -> None:
        """Note that a recipient was marked as refused because of the last refusal."""
        if len(self._run.marked) < MAX_KEPT:
            self._run.marked[recipient] = None

    def taken(self, key: str) -> Sequence[Recipient]:
        """Note that an address was taken: those whose mark is to be lifted now, because the relay was at fault."""
        self._end_run()
        if key not in self._before.keys:
            return ()
        lifted = list(self._before.marked)
        self._before = _Run()
        return lifted

    def _end_run(self) -> None:
        if self._run.doubtful:
            self._before = self._run
        if self._run.words:
            self._run = _Run()


def _words_about(key: str, error: Refused) -> str:
    """A refusal's words without what names the address, and without ids and numbers, which differ each time."""
    local, _, domain = key.partition("@")
    text = without_addresses(error.text.lower())
    for name in (domain, local):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return f"{error.stage} {error.code} {' '.join(_TOKEN.sub('…', text).split())}"
