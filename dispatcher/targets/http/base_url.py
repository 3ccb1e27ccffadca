"""Base URLs of servers, for kinds that know the paths themselves."""

from __future__ import annotations

from yarl import URL

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.url_templates import UrlTemplate
from dispatcher.domain.variables import TemplateError
from dispatcher.targets.ssrf_guard import BlockedAddress, Guard


def check_base_url(address: str, field: str, guard: Guard) -> str:
    """The destination (`https://example.org:443`) of an address with at most a path.

    Raises InvalidInput, naming `field`, when it is none, holds variables or is seen to be blocked.
    """
    try:
        url = UrlTemplate.compile(address)
    except TemplateError as error:
        raise InvalidInput(field, str(error)) from None
    if not url.is_static or "?" in address or "#" in address:
        expected = "expected an address without variables, as in https://example.org"
        raise InvalidInput(field, f"{expected}, and at most a path after it")
    try:
        guard.check_host(URL(url.origin).raw_host or "")
    except BlockedAddress as error:
        raise InvalidInput(field, f"blocked: {error}") from None
    return url.origin
