"""Where a client sends to, and what it says of itself."""

from __future__ import annotations

import dispatcher


def checked_url(url: str) -> str:
    """The URL of a server without a slash at its end. Raises ValueError."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"expected the URL of a server such as https://dispatcher.example.org, got {url!r}")
    return url.rstrip("/")


def headers(key: str | None) -> dict[str, str]:
    """The headers of every request. Raises ValueError for a key that no header can hold."""
    agent = {"User-Agent": f"dispatcher-client/{dispatcher.__version__}", "Accept": "application/json"}
    if key is None:
        return agent
    if not (key.isascii() and key.isprintable()):
        raise ValueError("expected a key of printable ASCII characters")
    return agent | {"Authorization": f"Bearer {key}"}
