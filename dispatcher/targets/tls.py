"""TLS contexts of targets that do not trust what the system trusts."""

from __future__ import annotations

import ssl

from dispatcher.domain.errors import InvalidInput


def context(ca: str | None, verify: bool, field: str) -> ssl.SSLContext | None:
    """A context that trusts the certificates in `ca` (PEM) alone, or with `verify` False anybody; None for the default.

    Raises InvalidInput, naming `field`, when there is no certificate in `ca`. No file is read here: what the
    system trusts is left to the caller.
    """
    if ca is not None and not verify:
        raise InvalidInput(field, "expected none when verify is false: nothing would be checked with it")
    if ca is None and verify:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        try:
            made.load_verify_locations(cadata=ca)
        except (ssl.SSLError, TypeError, ValueError):
            raise InvalidInput(
                field, "expected certificates in PEM form: -----BEGIN CERTIFICATE-----…"
            ) from None
    made.set_alpn_protocols(("http/1.1",))
    return made
