"""Where the command line finds the API, and what the API's refusals look like there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dispatcher.client import AsyncClient, Client, Retries
from dispatcher.client.errors import TransportError, Unauthorized
from dispatcher.client.settings import checked_key, checked_url
from dispatcher.config.loading import load
from dispatcher.domain.errors import SettingsError

TIMEOUT = 60.0
"""Seconds for one request and its answer."""

RETRIES = Retries(attempts=3, first_delay=0.2, max_delay=10.0)
"""Somebody waits for the answer."""


class Access(NamedTuple):
    """A server's URL, without a slash at its end, and the key to it."""

    server: str
    key: str

    def __repr__(self) -> str:
        return f"Access({self.server}, ***)"

    def client(self) -> Client:
        """A client of the API."""
        return Client(self.server, self.key, timeout=TIMEOUT, retries=RETRIES)

    def async_client(self, retries: Retries = RETRIES) -> AsyncClient:
        """The same for asyncio."""
        return AsyncClient(self.server, self.key, timeout=TIMEOUT, retries=retries)


def connected(server: str | None, key: str | None) -> Client:
    """A client of the API, found as `access` does."""
    return access(server, key).client()


def access(server: str | None, key: str | None) -> Access:
    """Where the API is, and the key to it: as given, or as the settings of this machine say.

    Raises SettingsError when there is no key, or one of the two cannot be used; it does not show the key.
    """
    settings = load()
    if key is None and settings.auth.admin_key is not None:
        key = settings.auth.admin_key.reveal()
    if not key:
        raise SettingsError(
            "no key for the API: expected one in DISPATCHER_KEY, DISPATCHER_AUTH_ADMIN_KEY or --key"
        )
    if server is None:
        server = f"http://{_connectable(settings.http.host)}:{settings.http.port}"
    return Access(
        _checked(checked_url, server, "--server or DISPATCHER_SERVER"),
        _checked(checked_key, key, "--key, DISPATCHER_KEY or DISPATCHER_AUTH_ADMIN_KEY"),
    )


def explained(error: Exception) -> str:
    """The message of an error, with what to look at."""
    if isinstance(error, TransportError):
        return f"{error}. Does `dispatcher serve` run there?"
    if isinstance(error, Unauthorized):
        return f"{error}\n  the key comes from --key, DISPATCHER_KEY or DISPATCHER_AUTH_ADMIN_KEY"
    return str(error)


def _checked(check: Callable[[str], str], value: str, source: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise SettingsError(f"{source}: {error}") from None


def _connectable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - nothing is bound: who listens everywhere listens on loopback too
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
