"""Where a client sends to, and what it says of itself."""

from __future__ import annotations

from urllib.parse import urlsplit

import dispatcher

EXAMPLE = "https://dispatcher.example.org"


def checked_url(url: str) -> str:
    """The URL of a server without a slash at its end. Raises ValueError, whose message shows no password."""
    if "@" in url:
        # Not shown: what looks like an address without a scheme may have a password all the same.
        raise ValueError(f"expected the URL of a server without user and password, such as {EXAMPLE}")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"expected the URL of a server such as {EXAMPLE}, got {url!r}")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"expected a URL of printable ASCII characters, got {url!r}")
    if "?" in url or "#" in url:
        raise ValueError(f"expected the URL of a server without query and fragment, such as {EXAMPLE}")
    if not _has_host(url):
        raise ValueError(
            f"expected the URL of a server with a host and a port such as {EXAMPLE}, got {url!r}"
        )
    return url.rstrip("/")


def headers(key: str | None) -> dict[str, str]:
    """The headers of every request. Raises ValueError for a key that no header can hold."""
    agent = {"User-Agent": f"dispatcher-client/{dispatcher.__version__}", "Accept": "application/json"}
    return agent if key is None else agent | {"Authorization": f"Bearer {checked_key(key)}"}


def checked_key(key: str) -> str:
    """The key. Raises ValueError for one that no header can hold; the message does not show it."""
    if not key:
        raise ValueError("expected a key, got an empty text")
    wrong = next((place for place, one in enumerate(key, 1) if not " " <= one <= "~"), None)
    if wrong is not None:
        raise ValueError(f"expected a key of printable ASCII characters: character {wrong} is none")
    if key != key.strip():
        raise ValueError("expected a key without spaces at its ends")
    return key


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
