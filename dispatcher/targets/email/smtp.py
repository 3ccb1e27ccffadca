"""The mail relay: where it is and how it is spoken to."""

from __future__ import annotations

import re
import socket
from typing import Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

Tls = Literal["none", "starttls", "from the start"]

_NAME = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")

_SCHEMES: dict[str, tuple[Tls, int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("from the start", 465),
}


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds: those of RFC 5321, section 4.5.3.2, but for connecting.

    Connecting, with the look-up; the greeting and the answer to a command; to DATA; the whole message taken; then its
    answer. Who gives up while the relay still looks into a message makes it send that twice.
    """

    connect: float = 15.0
    command: float = 300.0
    data: float = 120.0
    block: float = 180.0
    answer: float = 600.0


class Relay(Struct, frozen=True, kw_only=True):
    """A relay; `connections` is how many there are at once.

    `hello` is our name in EHLO. `destination` is what its deliveries share: scheme, host and port.
    """

    destination: str
    host: str
    port: int
    tls: Tls
    user: str | None
    password: str | None
    timeouts: Timeouts
    connections: int
    hello: str

    def __repr__(self) -> str:
        return f"Relay({self.destination})"


def relay_at(url: str, timeouts: Timeouts, connections: int, hello: str = "") -> Relay:
    """The relay of a URL that was checked when the settings were read; an empty `hello` is this machine's name."""
    parts = urlsplit(url)
    tls, port = _SCHEMES[parts.scheme]
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return Relay(
        destination=f"{parts.scheme}://{shown}:{parts.port or port}",
        host=host,
        port=parts.port or port,
        tls=tls,
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        timeouts=timeouts,
        connections=connections,
        hello=hello or own_name(),
    )


def own_name() -> str:
    """This machine's name as it is set, for EHLO: a look-up of the full one takes long when the DNS does not answer."""
    name = socket.gethostname().lower().rstrip(".")
    # RFC 5321, section 4.1.4: who has no name that can be said gives an address.
    return name if _NAME.fullmatch(name) else "[127.0.0.1]"
