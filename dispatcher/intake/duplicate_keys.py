"""JSON keys that stand twice in an object: refused where we read them, for others may read the other one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from msgspec import Raw

from dispatcher.intake.decode_context import MAX_DEPTH, DecodeContext


def all_once(document: bytes, keys: int, within: int) -> bool:
    """Whether it can be seen at once that each key of an object stands there once.

    The object has so many different keys, and there are so many colons `within` their values. Each key has a colon, so
    a further one would be one more.
    """
    return document.count(b":") == keys + within


class KeyCheck:
    """Checks objects of one form, of whose keys these are read."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._quoted = [f'"{name}"'.encode() for name in self._names]
        self._found = re.compile(rb'"(%b)"\s*:' % "|".join(sorted(self._names)).encode()).findall

    def __call__(
        self, document: bytes | Raw, nested: Iterable[Raw], context: DecodeContext, prefix: str = ""
    ) -> None:
        """Raise InvalidInput when a key that is read stands twice in the object itself.

        `nested` are values in it that need not be looked into; `prefix` is how a key's path begins.
        """
        text = bytes(document)
        if b"\\u" not in text and max(map(text.count, self._quoted)) < 2:
            return
        for value in nested:
            if len(bytes(value)) > 2:
                text = text.replace(bytes(value), b"0", 1)
        found = self._found(text)
        if len(found) == len(set(found)) and b"\\u" not in text:
            return
        # Some of them may stand in other objects, or in texts.
        seen: set[str] = set()
        for key in _keys(bytes(document), context):
            if key in seen and key in self._names:
                raise context.refusal(f"{prefix}{key}", "expected it once, it is there more than once")
            seen.add(key)


def _keys(document: bytes, context: DecodeContext) -> list[str]:
    """The keys of an object that is valid JSON, each as often as it stands there."""
    keys: list[str] = []

    def keep(pairs: list[tuple[str, object]]) -> None:
        nonlocal keys
        keys = [key for key, _ in pairs]  # the outermost object is the last

    try:
        json.loads(document, object_pairs_hook=keep, parse_int=len, parse_float=len)
    except RecursionError:
        raise context.refusal("", f"expected JSON that is nested at most {MAX_DEPTH} deep") from None
    except ValueError:
        return []  # checked elsewhere, with a better reason
    return keys
