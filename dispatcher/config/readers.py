"""Readers of settings: how each kind of value is read, and what is expected.

Each reader takes what stands in the file or the environment and returns the value, or raises ValueError that
says what was expected. What it got is repeated only where it cannot be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from email.utils import parseaddr
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from dispatcher.config.types import MIN_SECRET, Network, Secret, Url

_DOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)


def text(expected: str) -> Callable[[object], str]:
    """A reader of one line of text that is not empty."""

    def read(raw: object) -> str:
        if not isinstance(raw, str) or not raw.strip().isprintable() or not raw.strip():
            _refuse(expected, raw)
        return raw.strip()

    return read


def integer(low: int, high: int) -> Callable[[object], int]:
    """A reader of a whole number between two bounds, both of which are allowed."""
    expected = f"a whole number from {low} to {high}"

    def read(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, (int, str)):
            _refuse(expected, raw)
        try:
            value = int(raw)
        except ValueError:
            _refuse(expected, raw)
        return value if low <= value <= high else _refuse(expected, raw)

    return read


def number(unit: str, low: float, high: float) -> Callable[[object], float]:
    """A reader of a number of seconds, or another unit, between two bounds, both of which are allowed."""
    expected = f"{unit}, a number from {low:g} to {high:g}"

    def read(raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
            _refuse(expected, raw)
        try:
            value = float(raw)
        except ValueError:
            _refuse(expected, raw)
        return value if low <= value <= high else _refuse(expected, raw)

    return read


def choice(*names: str) -> Callable[[object], str]:
    """A reader of one of these names, in small letters or capitals."""

    def read(raw: object) -> str:
        value = raw.strip().lower() if isinstance(raw, str) else None
        return value if value in names else _refuse(f"one of {', '.join(names)}", raw)

    return read


def switch(raw: object) -> bool:
    """True or false."""
    if isinstance(raw, bool):
        return raw
    value = raw.strip().lower() if isinstance(raw, str) else None
    return value == "true" if value in ("true", "false") else _refuse("true or false", raw)


def database_url(raw: object) -> Url:
    """The URL of an SQLite file or a PostgreSQL database."""
    expected = "sqlite:///path/to/file.db or postgresql://user:password@host:port/database"
    url = _url(raw, expected)
    scheme, path = url.parts.scheme, url.parts.path
    if scheme == "sqlite":
        if url.parts.netloc or len(path) < 2 or path.endswith("/") or ":memory:" in path:
            raise ValueError(f"expected {expected}; after sqlite:/// comes the path of a file")
    elif scheme != "postgresql":
        raise ValueError(f"expected {expected}, got a URL that starts with {scheme}:")
    return url


def optional_url(*schemes: str) -> Callable[[object], Url | None]:
    """A reader of a URL with a host and one of these schemes, or of nothing."""
    starts = " or ".join(f"{scheme}://" for scheme in schemes)
    expected = f"{starts} and then user:password@host:port, or nothing"

    def read(raw: object) -> Url | None:
        if raw == "":
            return None
        url = _url(raw, expected)
        if url.parts.scheme not in schemes:
            raise ValueError(f"expected {expected}, got a URL that starts with {url.parts.scheme}:")
        if not url.parts.hostname:
            raise ValueError(f"expected {expected}, got a URL without a host")
        return url

    return read


def proxy_url(raw: object) -> Url | None:
    """The URL of an HTTP proxy, without a path; or nothing. User and password go out as Basic authentication."""
    expected = "expected http:// and then user:password@host:port, or nothing"
    url = optional_url("http")(raw)
    if url is None:
        return None
    if url.parts.path not in ("", "/") or url.parts.query:
        raise ValueError(f"{expected}; without a path")
    user, password = unquote(url.parts.username or ""), unquote(url.parts.password or "")
    if ":" in user or not _is_latin_1(user + password):
        raise ValueError(f"{expected}; user and password in Latin-1, and no colon in the user")
    return url


def one_secret(raw: object) -> Secret | None:
    """A key, or nothing."""
    keys = [raw.strip()] if isinstance(raw, str) else [raw]
    return None if keys == [""] else _secret(keys[0], "")


def secret_list(raw: object) -> tuple[Secret, ...]:
    """Several keys, or none."""
    keys = _list(raw, f"keys of {MIN_SECRET} characters or more, with commas between them")
    return tuple(_secret(key, f"key {number}: ") for number, key in enumerate(keys, 1))


def networks(raw: object) -> tuple[Network, ...]:
    """Networks in CIDR notation, or none."""
    return tuple(_network(item) for item in _list(raw, "networks such as 10.0.0.0/8, fd00::/8"))


def domains(raw: object) -> tuple[str, ...]:
    """Domain names, or none."""
    items = [item.lower() for item in _list(raw, "domains such as example.org, example.com")]
    for item in items:
        if not _DOMAIN.fullmatch(item):
            _refuse("domains such as example.org, example.com", item)
    return tuple(items)


def optional_file(raw: object) -> Path | None:
    """The path of a file, or nothing."""
    return None if raw == "" else Path(text("the path of a file, or nothing")(raw))


def words(expected: str) -> Callable[[object], tuple[str, ...]]:
    """A reader of several texts with commas between them, or of none."""
    return lambda raw: tuple(_list(raw, expected))


def users_of_tenants(raw: object) -> tuple[str, ...]:
    """Users with their tenants, such as root@dev, with commas between them, or none."""
    expected = "users with their tenants, such as root@dev"
    names = _list(raw, expected)
    good = all(user and tenant for user, _, tenant in (name.rpartition("@") for name in names))
    return tuple(names) if good else _refuse(expected, raw)


def exchange_name(raw: object) -> str:
    """The name of an exchange, which may be one that every broker has, such as amq.topic."""
    expected = "a name of 1 to 255 bytes"
    name = text(expected)(raw)
    return name if len(name.encode()) <= 255 else _refuse(expected, raw)


def bindings(raw: object) -> tuple[str, ...]:
    """Routing keys, patterns of them, or the arguments of bindings to a headers exchange; at least one."""
    expected = "routing keys or patterns such as job.#, with commas between them"
    found = tuple(_list(raw, expected))
    return found if found and all(len(one.encode()) <= 255 for one in found) else _refuse(expected, raw)


def queue_name(raw: object) -> str:
    """The name of a queue. The limit is AMQP's 255 bytes less what `<queue>.dead` needs."""
    expected = "a name of 1 to 250 bytes that does not start with amq."
    name = text(expected)(raw)
    return name if len(name.encode()) <= 250 and not name.startswith("amq.") else _refuse(expected, raw)


def public_url(raw: object) -> str | None:
    """Where people reach the service: scheme, host and perhaps a path, without a slash at its end; or nothing."""
    if raw == "":
        return None
    expected = "a URL such as https://dispatcher.example.org, or nothing"
    url = _url(raw, expected)
    parts = url.parts
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username is not None
        or parts.query
    ):
        raise ValueError(f"expected {expected}; without a user and a query")
    short = url.reveal().rstrip("/")
    # It stands in the headers of mails.
    return short if short.isascii() and len(short) <= 200 else _refuse(f"{expected}, in ASCII", raw)


def folder(raw: object) -> Path | None:
    """A folder, or nothing; whether it is there is looked at by what reads it."""
    return None if raw == "" else Path(text("the path of a folder, or nothing")(raw))


def sender_address(raw: object) -> str:
    """What stands in From: an address, perhaps with a name before it."""
    expected = "an address such as Dispatcher <noreply@example.org>"
    value = text(expected)(raw)
    local, at, domain = parseaddr(value)[1].rpartition("@")
    # A name may be in any script; the address has to pass every relay.
    plain = local and at and local.isascii() and _DOMAIN.fullmatch(domain.lower())
    return value if plain else _refuse(expected, raw)


def hello_name(raw: object) -> str:
    """What we are called in EHLO: a host, or an address as RFC 5321, section 4.1.3, writes it; or nothing."""
    expected = (
        "a host such as jobs.example.org, an address such as [192.0.2.7] or [IPv6:2001:db8::7], or nothing"
    )
    name = raw.strip() if isinstance(raw, str) else _refuse(expected, raw)
    address = name.startswith("[") and name.endswith("]")
    try:
        good = ip_address(name[1:-1].removeprefix("IPv6:")).version == (6 if "IPv6:" in name else 4)
    except ValueError:
        good = False
    good = good if address else name == "" or _DOMAIN.fullmatch(name.lower()) is not None
    return name if good else _refuse(expected, raw)


def _refuse(expected: str, raw: object) -> NoReturn:
    raise ValueError(f"expected {expected}, got {raw!r}")


def _is_latin_1(value: str) -> bool:
    return all(ord(character) < 256 for character in value)


def _list(raw: object, expected: str) -> Sequence[str]:
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"expected {expected}")
    items = [item.strip() for item in items]
    if "" in items and items != [""]:
        raise ValueError(f"expected {expected}; there is nothing between two commas")
    return [item for item in items if item]


def _secret(raw: object, which: str) -> Secret:
    if not isinstance(raw, str):
        raise ValueError(f"{which}expected a text of {MIN_SECRET} characters or more")
    if len(raw) < MIN_SECRET:
        raise ValueError(f"{which}expected {MIN_SECRET} characters or more, got {len(raw)}")
    return Secret(raw)


def _network(item: str) -> Network:
    try:
        return ip_network(item)
    except ValueError as error:
        if "host bits set" not in str(error):
            raise ValueError(f"expected networks such as 10.0.0.0/8, fd00::/8, got {item!r}") from None
    whole = ip_interface(item)
    raise ValueError(
        f"{item} is an address within a network: expected {whole.network} for the network, "
        f"or {whole.ip}/{whole.max_prefixlen} for this address alone"
    )


def _url(raw: object, expected: str) -> Url:
    if not isinstance(raw, str) or "://" not in raw:
        raise ValueError(f"expected {expected}")
    url = Url(raw.strip())
    try:
        parts, port = url.parts, url.parts.port
    except ValueError:
        raise ValueError(
            f"expected {expected}; its host or port is none (a password is percent-encoded)"
        ) from None
    if parts.fragment or not url.reveal().isprintable() or port == 0:
        raise ValueError(f"expected {expected}; a password is percent-encoded, so # is %23")
    return url
