"""Types of settings' values: secrets and URLs, which stay hidden where they are shown."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from urllib.parse import SplitResult, urlsplit

MIN_SECRET = 32
"""Characters: the least that a key has."""

Network = IPv4Network | IPv6Network


class Secret:
    """A text that `str` and `repr` do not show; `reveal` does."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for its use only, never for a message."""
        return self._text

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self}')"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Url(Secret):
    """A URL that may hold a password: `str` shows it without, and without its query."""

    __slots__ = ()

    @property
    def parts(self) -> SplitResult:
        """The URL taken apart; user and password are still percent-encoded."""
        return urlsplit(self._text)

    def __str__(self) -> str:
        parts = self.parts
        user, at, host = parts.netloc.rpartition("@")
        user = f"{user.partition(':')[0]}:***" if ":" in user else user
        return f"{parts.scheme}://{user}{at}{host}{parts.path}"
