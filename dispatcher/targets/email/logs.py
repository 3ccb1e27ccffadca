"""The end of a log as a terminal would show it: no colours, no control bytes, nothing that was written over."""

from __future__ import annotations

import re

from dispatcher.targets.email.quantities import shown

LINES = 20
WIDTH = 200

_WINDOW = 65_536
"""Characters from the end of a log that are looked at."""

_OVERWRITES = 8
"""Times that a line is written over of which the last are looked at."""

# ECMA-48: a control sequence; a string such as a title or a link, up to its end; any other escape.
_ESCAPE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]?")
_ERASE = re.compile(r"\x1b\[([0-2]?)[JK]")
_ERASED = "\0"
# Up some lines, as programs go that show several progress bars; and erase what follows, or all.
_MOVE = re.compile(r"\x1b\[(\d{0,3})([AFJ])")
# To the left edge, or far enough to the left; and a few characters back.
_TO_START = re.compile(r"\x1b\[[01]?G|\x1b\[\d{2,}D")
_BACK = re.compile(r"\x1b\[([1-9]?)D")
_BACKSPACES = re.compile(r"\x08+")
# What is left of control characters, and what turns a text around or breaks its line.
UNPRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]+")


def log_lines(found: object) -> list[str]:
    """The last lines of a text, or of a list of lines, each cut to WIDTH characters."""
    texts = found[-LINES:] if isinstance(found, list) else [found]
    text = "\n".join(shown(one)[-_WINDOW:] for one in texts)[-_WINDOW:]
    written = text.rstrip().replace("\r\n", "\n").split("\n")
    if _MOVE.search(text):
        written = _placed(written)
    lines = [_shown(line) for line in written[-LINES:]]
    while lines and not lines[0]:
        del lines[0]
    return lines if any(lines) else []


def _placed(written: list[str]) -> list[str]:
    """The lines of a screen on which the cursor was moved up, and the rest of it erased."""
    screen: list[str] = []
    row = 0
    for line in written:
        place = 0
        if row < len(screen):
            screen[row] += "\r"
        else:
            screen.append("")
        for move in _MOVE.finditer(line):
            before = line[place : move.start()]
            screen[row] += before
            place = move.end()
            row = _moved(screen, row, move)
            if before in ("", "\r"):
                screen[row] += "\r"
        screen[row] += line[place:]
        row += 1
    while screen and not screen[-1].strip():
        screen.pop()
    return screen


def _moved(screen: list[str], row: int, move: re.Match[str]) -> int:
    """The row after a movement."""
    count, kind = move.groups()
    if kind != "J":
        row = max(row - max(int(count or 1), 1), 0)
        screen[row] += "\r" if kind == "F" else ""
        return row
    if count in ("2", "3"):
        screen[:] = [""]
        return 0
    if count in ("", "0"):
        del screen[row + 1 :]
        screen[row] += move[0]
    return row


def _shown(line: str) -> str:
    if not line.isprintable():
        line = _BACK.sub(lambda found: "\b" * int(found[1] or 1), _TO_START.sub("\r", line))
        # What is before the cursor is erased too, but for the first kind.
        line = _ERASE.sub(lambda found: _ERASED if found[1] in ("", "0") else f"\r{_ERASED}", line)
        line = _overwritten(_ESCAPE.sub("", line.replace("\r\r", "\r")))
    line = line.rstrip()
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _overwritten(line: str) -> str:
    """What can be seen of a line that was begun again at its left edge, or had characters taken back."""
    seen = ""
    for part in line.rstrip("\r").split("\r")[-_OVERWRITES:]:
        if _ERASED in part:
            seen = ""
        clean = UNPRINTED.sub("", _without_taken_back(part).expandtabs(4))
        seen = clean + seen[len(clean) :]
    return seen


def _without_taken_back(part: str) -> str:
    """The text without the characters that backspaces take back, and without these."""
    if "\b" not in part:
        return part
    kept: list[str] = []
    place = 0
    for backspaces in _BACKSPACES.finditer(part):
        kept += part[place : backspaces.start()]
        del kept[-len(backspaces[0]) :]
        place = backspaces.end()
    return "".join(kept) + part[place:]
