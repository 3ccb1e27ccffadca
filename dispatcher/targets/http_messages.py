"""What the HTTP client sends and what it gives back: origins, request heads, header fields, replies and failures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from msgspec import Struct

from dispatcher import __version__

MAX_READ = 64 * 1024
"""Bytes of an answer's body that are read; the connection is dropped after them."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ALWAYS = f"User-Agent: Dispatcher/{__version__}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n".encode()
_LENGTH_WITHOUT_BODY = frozenset({"POST", "PUT", "PATCH"})

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(r"[\x21-\x7e]+")


class NoReply(Exception):
    """There was no answer; the message says why, and holds no more of the URL than host and port.

    `early`: the connection was gone before an answer, as when a receiver closes one that was idle. `down`: the host has
    no address, or none that takes a connection.
    """

    def __init__(self, problem: str, *, early: bool = False, down: bool = False) -> None:
        super().__init__(problem)
        self.early = early
        self.down = down


class UnsendableHeader(ValueError):
    """A header's name or value would break out of its line; the message says which header."""


class Origin(Struct, frozen=True, cache_hash=True):
    """Whom a connection is with. `host` is a name or an address, the latter without brackets."""

    tls: bool
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `scheme://host:port`, all of it written out, as a destination is."""
        scheme, _, place = text.partition("://")
        host, _, port = place.rpartition(":")
        return cls(scheme == "https", host.strip("[]"), int(port))

    @property
    def place(self) -> str:
        """Host and port as an error shows them."""
        return f"{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        usual = self.port == _DEFAULT_PORTS["https" if self.tls else "http"]
        return self._bracketed if usual else self.place

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


class Headers(Mapping[str, str]):
    """The header fields of an answer; names in any case. Of several fields with one name the first counts."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        wanted = name.lower().encode("utf-8", "replace")
        for found, value in self._fields:
            if found.lower() == wanted:
                return value.decode("utf-8", "replace")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("ascii", "replace").lower() for name, _ in self._fields))

    def __len__(self) -> int:
        return len(list(iter(self)))


class Reply(Struct, frozen=True):
    """What came back. Once there is a status it counts, whatever becomes of the body.

    `complete` is False when the body was too long, too slow or broken off; `body` is its beginning then.
    """

    status: int
    headers: Headers
    body: bytes
    complete: bool


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Header fields as they go out, in UTF-8. Raises UnsendableHeader."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or _VALUE_CONTROL.search(value):
            raise UnsendableHeader(
                f"the header {name[:100]!a} cannot be sent: expected a name, and a value of one line"
            )
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("utf-8", "replace")


def opening(origin: Origin, headers: Mapping[str, str]) -> bytes:
    """What follows the request line: the fields that every request to this origin has, then `headers`."""
    return b"Host: %b\r\n%b%b" % (origin.authority.encode(), _ALWAYS, header_lines(headers))


def request_line(method: str, target: str) -> bytes:
    """The first line. ValueError when the target (path and query) is not all visible ASCII, or no method is named."""
    if not _TARGET.fullmatch(target) or not _TOKEN.fullmatch(method):
        raise ValueError("expected a method, and a path in visible ASCII characters")
    return f"{method} {target} HTTP/1.1\r\n".encode()


def ending(method: str, body: bytes) -> bytes:
    """The end of the head, and the body."""
    if body or method in _LENGTH_WITHOUT_BODY:
        return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return b"\r\n"
