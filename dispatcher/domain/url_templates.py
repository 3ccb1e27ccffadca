"""URL templates: a webhook's URL with variables, whose values cannot move the request or add to it.

What a rendered URL keeps, whatever the values are (RFC 3986):

- Scheme, host and port are fixed when the template is compiled; no variable may stand there.
- In path and query a value is percent-encoded, everything but `A-Za-z0-9-._~`. So it adds no segment and no
  parameter, and it decodes to itself. An empty value leaves an empty segment (`/jobs//done`) or parameter.
- No segment is `.` or `..`: receivers resolve those against the path, and `%2E` no less than the plain dot
  (WHATWG URL 4.1). Encoding cannot help, so a value that makes one is a RenderError. So is `..;x`, since
  servlet containers drop what comes after the dots.

The literal text is kept as it is written, and `&amp;` stays what it is; only characters outside ASCII are
percent-encoded. Send the result unchanged: `yarl.URL(url, encoded=True)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Self
from urllib.parse import quote

import msgspec

from dispatcher.domain.templates import Pattern, RenderError
from dispatcher.domain.variables import TemplateError, Values, Variable, parse

_DEFAULT_PORTS = {"http": 80, "https": 443}
_EXPECTED = (
    "expected an http or https URL with scheme and host written out, as in https://example.org/${JOB_ID}"
)

_URL = re.compile(
    r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>[^#]*)(?P<fragment>.*)"
)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\\s]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_HOST_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_HOST_NAME_LENGTH = 253
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# The first group goes up to the segment.
_DOT_SEGMENT = re.compile(r"([^?#]*/)((?:\.|%2[Ee]){1,2})(?:[/?#;]|%3[Bb]|\Z)")

_UNSAFE = re.compile(r"[^A-Za-z0-9._~-]")
_ESCAPES = {byte: quote(bytes([byte]), safe="") for byte in range(256)}


class UrlTemplate(msgspec.Struct, frozen=True):
    """A URL with variables in its path and query.

    `origin` is the destination, scheme://host:port: in lower case, with the default port filled in.
    """

    origin: str
    base: str  # scheme and authority as they were written
    path: str  # as it was written, with its variables
    pattern: Pattern

    @classmethod
    def compile(cls, url: str) -> Self:
        """Raises TemplateError when it is no http or https URL, or a variable stands where none may."""
        variables = parse(url)
        _check_characters(url)
        parts = _URL.match(url)
        if parts is None:
            raise TemplateError(_EXPECTED)
        _check_places(variables, parts)
        if found := _DOT_SEGMENT.match(parts["path"]):
            raise TemplateError(f'the path holds the segment "{found[2]}": expected one without "." and ".."')
        return cls(
            origin=_origin(parts["scheme"].lower(), parts["authority"]),
            base=url[: parts.start("path")],
            path=parts["path"],
            pattern=_ascii(Pattern.cut(url, variables)),
        )

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.pattern.variables)

    @property
    def is_static(self) -> bool:
        """Whether it is the same URL for every event; then `render` gives the same object each time."""
        return not self.pattern.variables

    def render(self, values: Values) -> str:
        """The URL, all ASCII. Raises RenderError when a value makes a path segment of it "." or ".."."""
        url = self.pattern.fill(values, _percent_encoded)
        if found := _DOT_SEGMENT.match(url, len(self.base)):
            segment = self.path.split("/")[found[1].count("/")]
            raise RenderError(
                f'the path segment {segment} becomes "{found[2]}", which would point to another path: '
                "a value may not make a whole segment of dots"
            )
        return url


def _check_characters(url: str) -> None:
    if found := _FORBIDDEN.search(url):
        raise TemplateError(
            f"{found[0]!a} at character {found.start() + 1}: a URL holds no whitespace, control character or "
            "backslash; percent-encode it"
        )
    if found := _BAD_ESCAPE.search(url):
        raise TemplateError(
            f'"%" at character {found.start() + 1} is not followed by two hexadecimal digits: '
            'write "%25" for the sign itself'
        )


def _check_places(variables: Sequence[Variable], url: re.Match[str]) -> None:
    for variable in variables:
        if place := _wrong_place(variable, url):
            raise TemplateError(
                f"the variable {variable.name} at character {variable.start + 1} stands in the {place}: "
                "variables may stand in path and query only"
            )


def _wrong_place(variable: Variable, url: re.Match[str]) -> str | None:
    if url.start("path") <= variable.start < url.start("fragment"):
        return None
    if variable.start >= url.start("fragment"):
        return "fragment, which is never sent"
    if variable.start < url.end("scheme"):
        return "scheme"
    if "@" in url.string[variable.end : url.end("authority")]:
        return "user or password"
    return "port" if ":" in url.string[url.start("authority") : variable.start] else "host"


def _origin(scheme: str, authority: str) -> str:
    if scheme not in _DEFAULT_PORTS:
        raise TemplateError(_EXPECTED)
    if "@" in authority:
        raise TemplateError('the URL holds a user or password: put them into the target\'s "auth" instead')
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise TemplateError(f"{authority!a} is no host and port: expected host:port or [IPv6 address]:port")
    port = int(parts[2] or _DEFAULT_PORTS[scheme])
    if not 0 < port < 65536:
        raise TemplateError(f"the port is {port}: expected 1 to 65535")
    return f"{scheme}://{_host(parts[1])}:{port}"


def _host(host: str) -> str:
    if not host:
        raise TemplateError("the URL has no host: expected one after ://")
    if not host.isascii():
        raise TemplateError(f'the host {host!r} is not ASCII: expected its IDNA form, with "xn--"')
    if host.startswith("["):
        return f"[{_address(IPv6Address, host[1:-1])}]"
    name = host.lower().removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):  # then WHATWG URL and inet_aton take it for an address
        return _address(IPv4Address, name)
    if len(name) > _HOST_NAME_LENGTH or not _HOST_NAME.fullmatch(name):
        raise TemplateError(f"{host!a} is no host name: expected letters, digits, - and _ with dots between")
    return name


def _address(kind: type[IPv4Address | IPv6Address], text: str) -> str:
    try:
        address = kind(text)
    except AddressValueError as error:
        raise TemplateError(f"{text!a} is no IP address: {error}") from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise TemplateError(f"{text!a} names a zone: expected an address without one")
    return str(address)


def _ascii(pattern: Pattern) -> Pattern:
    pieces = tuple(_NOT_ASCII.sub(lambda found: quote(found[0]), piece) for piece in pattern.pieces)
    return Pattern(pieces, pattern.variables)


def _percent_encoded(value: str) -> str:
    # As urllib.parse.quote(value, safe="", errors="replace"), in a third of the time.
    if not _UNSAFE.search(value):
        return value
    return value.encode("utf-8", "replace").decode("latin-1").translate(_ESCAPES)
