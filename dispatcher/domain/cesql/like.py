"""The LIKE operator: a pattern is cut at its `%`s once, and each piece is looked for once, without going back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from dispatcher.domain.cesql.values import Evaluation

Matches = Callable[[str, Evaluation], bool]

_PARTS = re.compile(r"\\([%_])|(%)|(_)|([^%_\\]+|\\)", re.DOTALL)


class _Piece:
    """A part of a pattern between two `%`: `_` stands for one character, the others for themselves."""

    __slots__ = ("length", "literal", "look")

    def __init__(self, parts: list[tuple[str, bool]]) -> None:
        self.length = sum(len(text) for text, _ in parts)
        self.literal = "".join(text for text, any_one in parts if not any_one)
        source = "".join("." if any_one else re.escape(text) for text, any_one in parts)
        wild = any(any_one for _, any_one in parts)
        self.look = re.compile(source, re.DOTALL) if wild else None

    def find(self, text: str, start: int) -> int:
        """Where it begins first; -1 when it is not there."""
        if self.look is None:
            return text.find(self.literal, start)
        found = self.look.search(text, start)
        return -1 if found is None else found.start()

    def stands(self, text: str, start: int) -> bool:
        """Whether it is at this place."""
        if self.look is None:
            return text.startswith(self.literal, start)
        return self.look.match(text, start) is not None

    @property
    def cost(self) -> int:
        """Characters that are compared at most for each character of a text."""
        return 1 if self.look is None else self.length


def like(pattern: str) -> Matches:
    """A test of texts."""
    first, *rest = _pieces(pattern)
    if not rest:
        return lambda text, _: len(text) == first.length and first.stands(text, 0)
    *middle, last = rest
    shortest = first.length + last.length
    cost = sum(piece.cost for piece in middle)

    def matches(text: str, run: Evaluation) -> bool:
        if len(text) < shortest or not first.stands(text, 0):
            return False
        end = len(text) - last.length
        if not last.stands(text, end):
            return False
        run.spend(cost * len(text))
        place = first.length
        for piece in middle:
            found = piece.find(text, place)
            place = found + piece.length
            if found < 0 or place > end:
                return False
        return True

    return matches


def literal_ends(pattern: str) -> tuple[str, str, bool]:
    """The texts that a pattern begins and ends with, and whether it is the first one alone."""
    pieces = list(_pieces(pattern))
    first, last = pieces[0], pieces[-1]
    begins = first.literal if first.look is None else ""
    ends = last.literal if last.look is None else ""
    return begins, ends, len(pieces) == 1 and first.look is None


def _pieces(pattern: str) -> Iterator[_Piece]:
    parts: list[tuple[str, bool]] = []
    for match in _PARTS.finditer(pattern):
        escaped, every, one, text = match.groups()
        if every:
            yield _Piece(parts)
            parts = []
        else:
            parts.append(("_", True) if one else (escaped or text, False))
    yield _Piece(parts)
