"""The end of a log as a terminal would show it: no colours, no control bytes, nothing that was written over."""

from __future__ import annotations

import re

from dispatcher.targets.mail.quantities import shown

LINES = 20
WIDTH = 200

_WINDOW = 65_536
"""Characters from the end of a log that are looked at."""

_OVERWRITES = 8
"""Times that a line is written over of which the last are looked at."""

# ECMA-48: a control sequence; a string such as a title or a link, up to its end; any other escape.
_ESCAPE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]?")
_ERASE = re.compile(r"\x1b\[[0-2]?K")
_ERASED = "\0"
_BACKSPACE = re.compile(r"[^\x08]\x08")
# What is left of control characters, and what turns a text around or breaks its line.
UNPRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]+")


def log_lines(found: object) -> list[str]:
    """The last lines of a text, or of a list of lines, each cut to WIDTH characters."""
    texts = found[-LINES:] if isinstance(found, list) else [found]
    text = "\n".join(shown(one)[-_WINDOW:] for one in texts)[-_WINDOW:]
    lines = [_shown(line) for line in text.rstrip().replace("\r\n", "\n").split("\n")[-LINES:]]
    while lines and not lines[0]:
        del lines[0]
    return lines if any(lines) else []


def _shown(line: str) -> str:
    if not line.isprintable():
        line = _overwritten(_ESCAPE.sub("", _ERASE.sub(_ERASED, line).replace("\r\r", "\r")))
    line = line.rstrip()
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _overwritten(line: str) -> str:
    """What can be seen of a line that was begun again at its left edge, or had characters taken back."""
    seen = ""
    for part in line.rstrip("\r").split("\r")[-_OVERWRITES:]:
        while "\b" in part and (shorter := _BACKSPACE.sub("", part)) != part:
            part = shorter  # noqa: PLW2901 - one character less
        if _ERASED in part:
            seen = ""
        clean = UNPRINTED.sub("", part.expandtabs(4))
        seen = clean + seen[len(clean) :]
    return seen
