"""Addresses without variables: base URLs of servers, for kinds that know the paths themselves, and endpoints."""

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
    return _check(address, field, guard, "?#", "at most a path after it")


def check_endpoint(address: str, field: str, guard: Guard) -> str:
    """The same of an address that may have a query too."""
    return _check(address, field, guard, "#", "no fragment")


def _check(address: str, field: str, guard: Guard, forbidden: str, expected: str) -> str:
    try:
        url = UrlTemplate.compile(address)
    except TemplateError as error:
        raise InvalidInput(field, str(error)) from None
    if not url.is_static or not set(forbidden).isdisjoint(address):
        raise InvalidInput(
            field, f"expected an address without variables, as in https://example.org, and {expected}"
        )
    try:
        guard.check_host(URL(url.origin).raw_host or "")
    except BlockedAddress as error:
        raise InvalidInput(field, f"blocked: {error}") from None
    return url.origin
