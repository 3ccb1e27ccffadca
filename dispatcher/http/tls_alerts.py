"""Failures of TLS in words. A server says with an alert that it wants a certificate of the client, or refuses it."""

from __future__ import annotations

import ssl

HUNG_UP = "the receiver ended the handshake; it may want a client certificate"

_ALERT = "alert "
_OF_THE_CLIENTS_CERTIFICATE = frozenset(
    {
        "access denied",
        "bad certificate",
        "certificate expired",
        "certificate revoked",
        "certificate unknown",
        "unknown ca",
        "unsupported certificate",
    }
)
"""Alerts that a server has for certificates (RFC 8446, section 6.2): it gets none but the client's."""


def words(error: ssl.SSLError) -> str:
    """The reason, without its name in the library."""
    reason = (error.reason or type(error).__name__).replace("_", " ").lower()
    alert = reason.partition(_ALERT)[2] if _ALERT in reason else ""
    if alert == "certificate required":
        return "the receiver wants a client certificate"
    if alert == "handshake failure":
        return HUNG_UP
    if alert in _OF_THE_CLIENTS_CERTIFICATE:
        return f"the receiver refused the client certificate: {alert}"
    return reason
