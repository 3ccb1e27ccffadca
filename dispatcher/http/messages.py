"""What transports send and return: origins, requests, header fields, responses and transport errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

from msgspec import Struct
from yarl import URL

from dispatcher import __version__

MAX_READ = 64 * 1024
"""Bytes of a response's body that are read; the connection is dropped after them."""

MAX_HEAD = 64 * 1024
"""Bytes that a response's head may have, with all interim responses before it."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ALWAYS = f"User-Agent: Dispatcher/{__version__}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n".encode()
_LENGTH_WITHOUT_BODY = (b"POST ", b"PUT ", b"PATCH ")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(r"[\x21-\x7e]+")


class TransportError(Exception):
    """There was no response; the message says why, and holds no more of the URL than host and port.

    `early`: the connection was closed before a response, as when a receiver closes one that was idle. `down`: the host
    has no address, or none that takes a connection.
    """

    def __init__(self, problem: str, *, early: bool = False, down: bool = False) -> None:
        super().__init__(problem)
        self.early = early
        self.down = down


class UnsendableHeader(ValueError):
    """A header's name or value would break out of its line; the message says which header."""


class Origin(Struct, frozen=True, cache_hash=True):
    """The server of a connection. `host` is a name or an address, the latter without brackets."""

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


class Request(NamedTuple):
    """A request, its parts as they go out, so that what many requests have in common is serialized once.

    `line` is made by `request_line`, and `fields` by `common_fields`, then `header_lines` for what is added.
    """

    origin: Origin
    line: bytes
    fields: bytes
    body: bytes = b""

    @classmethod
    def build(cls, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None) -> Self:
        """The request with this URL, which has to be encoded. Raises TransportError when it cannot be sent."""
        try:
            origin = Origin(url.scheme == "https", (url.raw_host or "").rstrip("."), url.port or 0)
            line = request_line(method, url.raw_path_qs)
            return cls(origin, line, common_fields(origin, headers), body or b"")
        except ValueError as error:
            raise TransportError(f"the request could not be made: {error}") from error

    @property
    def method(self) -> str:
        """The method, from the request line."""
        return self.line.partition(b" ")[0].decode()

    @property
    def url(self) -> URL:
        """The whole URL, encoded."""
        scheme = "https" if self.origin.tls else "http"
        return URL(f"{scheme}://{self.origin.place}{self.line.split(b' ')[1].decode()}", encoded=True)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The header fields, without the length of the body."""
        lines = self.fields.decode("utf-8", "replace").split("\r\n")[:-1]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]

    def serialized(self) -> bytes:
        """The request as HTTP/1.1 has it."""
        line, body = self.line, self.body
        if body or line.startswith(_LENGTH_WITHOUT_BODY):
            return b"%b%bContent-Length: %d\r\n\r\n%b" % (line, self.fields, len(body), body)
        return b"%b%b\r\n" % (line, self.fields)


class Headers(Mapping[str, str]):
    """The header fields of a response; names in any case. Of several fields with one name the first counts."""

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


class Response(Struct, frozen=True):
    """A response. Once there is a status it counts, whatever becomes of the body.

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


def common_fields(origin: Origin, headers: Mapping[str, str]) -> bytes:
    """The header fields that every request to this origin has, then `headers`. Raises UnsendableHeader."""
    return b"Host: %b\r\n%b%b" % (origin.authority.encode(), _ALWAYS, header_lines(headers))


def request_line(method: str, target: str) -> bytes:
    """The first line. ValueError when the target (path and query) is not all visible ASCII, or no method is named."""
    if not _TARGET.fullmatch(target) or not _TOKEN.fullmatch(method):
        raise ValueError("expected a method, and a path in visible ASCII characters")
    return f"{method} {target} HTTP/1.1\r\n".encode()
