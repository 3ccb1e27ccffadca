"""E-mail addresses: which are taken, and how they stand in an envelope and a header."""

from __future__ import annotations

from collections.abc import Sequence

from email_validator import EmailNotValidError, validate_email
from msgspec import Struct

from dispatcher.domain.errors import InvalidInput

MAX_ADDRESS = 254
"""Characters: what RFC 5321 leaves for a path without its angle brackets."""


class Address(Struct, frozen=True):
    """A checked address.

    `key` is what it is known by: two spellings that differ in case only are one. `wire` is what the relay gets, with
    its domain in ASCII. `utf8`: the part before the @ is not ASCII, so the relay must offer SMTPUTF8.
    """

    key: str
    wire: str
    domain: str
    utf8: bool


def checked_address(field: str, text: str) -> Address:
    """The address in a text, without asking the DNS. InvalidInput names `field`."""
    if len(text) > MAX_ADDRESS:
        raise InvalidInput(field, f"expected an address of at most {MAX_ADDRESS} characters")
    try:
        found = validate_email(
            text, check_deliverability=False, allow_quoted_local=False, allow_domain_literal=False
        )
    except EmailNotValidError as error:
        raise InvalidInput(
            field, f"expected an e-mail address such as ann@example.org, got {text[:80]!a}: {error}"
        ) from None
    utf8 = found.ascii_email is None
    wire = f"{found.local_part}@{found.ascii_domain}"
    return Address(found.normalized.lower(), wire, found.ascii_domain.lower(), utf8)


def checked_addresses(field: str, texts: Sequence[str]) -> tuple[Address, ...]:
    """The addresses in these texts. InvalidInput names the one that is none, or that stands there twice."""
    found: dict[str, Address] = {}
    for index, text in enumerate(texts):
        address = checked_address(f"{field}[{index}]", text)
        if address.key in found:
            raise InvalidInput(f"{field}[{index}]", f"{address.key} stands there twice")
        found[address.key] = address
    return tuple(found.values())
