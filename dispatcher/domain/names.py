"""Which characters may stand in a name: the id or owner of a job, the id or source of an event, a tenant."""

from __future__ import annotations

import re

# Control characters, what breaks a line, what turns the direction of the text around it, and lone surrogates.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def is_name(text: str) -> bool:
    """Whether the text may be a name: every letter, mark, sign and space of Unicode may stand in it."""
    return text.isprintable() or not _REFUSED.search(text)
