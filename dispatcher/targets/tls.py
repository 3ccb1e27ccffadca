"""TLS contexts of targets that do not trust what the system trusts."""

from __future__ import annotations

import ssl

from dispatcher.domain.errors import InvalidInput


def context(ca: str | None, verify: bool, field: str) -> ssl.SSLContext:
    """A context that trusts the certificates in `ca` (PEM) alone, or the system's, or with `verify` False anybody.

    Raises InvalidInput, naming `field`, when there is no certificate in `ca`.
    """
    if ca is not None and not verify:
        raise InvalidInput(field, "expected none when verify is false: nothing would be checked with it")
    try:
        made = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, TypeError, ValueError):
        raise InvalidInput(field, "expected certificates in PEM form: -----BEGIN CERTIFICATE-----…") from None
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(("http/1.1",))
    return made
