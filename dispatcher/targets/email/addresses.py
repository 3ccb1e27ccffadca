"""E-mail addresses: which are taken, and how they stand in an envelope and a header."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from msgspec import Struct

from dispatcher.domain.errors import InvalidInput

MAX_ADDRESS = 254
"""Characters: what RFC 5321 leaves for a path without its angle brackets."""


_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


class Address(Struct, frozen=True):
    """A checked address.

    `key` is what it is known by: two spellings that differ in case only are one. `wire` is what the relay gets, with
    its domain in ASCII. `utf8`: the part before the @ is not ASCII, so the relay must offer SMTPUTF8.
    """

    key: str
    wire: str
    domain: str
    utf8: bool


class _All:
    """Every domain."""

    def __contains__(self, _: object) -> bool:
        return True


ANY_DOMAIN: Container[str] = _All()


def checked_address(field: str, text: str, trusted: Container[str] = ()) -> Address:
    """The address in a text, without asking the DNS. InvalidInput names `field`.

    Only `trusted` domains may be names that no public DNS has, such as cluster.local or localhost.
    """
    if len(text) > MAX_ADDRESS:
        raise InvalidInput(field, f"expected an address of at most {MAX_ADDRESS} characters")
    local, _, domain = text.rpartition("@")
    try:
        found = _validated(text)
    except EmailNotValidError as error:
        private = domain.lower()
        if private in trusted and _HOST.fullmatch(private) and (known := _local_part(local)) is not None:
            address = f"{known.local_part}@{private}"
            return Address(address.lower(), address, private, known.ascii_email is None)
        raise InvalidInput(
            field, f"expected an e-mail address such as ann@example.org, got {text[:80]!a}: {error}"
        ) from None
    utf8 = found.ascii_email is None
    wire = f"{found.local_part}@{found.ascii_domain}"
    return Address(found.normalized.lower(), wire, found.ascii_domain.lower(), utf8)


def _validated(text: str) -> ValidatedEmail:
    return validate_email(
        text, check_deliverability=False, allow_quoted_local=False, allow_domain_literal=False
    )


def _local_part(text: str) -> ValidatedEmail | None:
    """What stands before the @ in an address of a domain that is no public one, so that only this can be checked."""
    try:
        return _validated(f"{text}@example.org")
    except EmailNotValidError:
        return None


def checked_addresses(field: str, texts: Sequence[str], trusted: Container[str] = ()) -> tuple[Address, ...]:
    """The addresses in these texts. InvalidInput names the one that is none, or that stands there twice."""
    found: dict[str, Address] = {}
    for index, text in enumerate(texts):
        address = checked_address(f"{field}[{index}]", text, trusted)
        if address.key in found:
            raise InvalidInput(f"{field}[{index}]", f"{address.key} stands there twice")
        found[address.key] = address
    return tuple(found.values())
