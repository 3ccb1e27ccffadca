"""HTTP/1.1 for deliveries: one Protocol, `Exchange`, and the transports behind it. Knows nothing of what is sent."""

from __future__ import annotations

from dispatcher.http.client import HttpClient
from dispatcher.http.exchange import Exchange
from dispatcher.http.messages import (
    MAX_READ,
    Headers,
    Origin,
    Request,
    Response,
    TransportError,
    UnsendableHeader,
    header_lines,
)

__all__ = [
    "MAX_READ",
    "Exchange",
    "Headers",
    "HttpClient",
    "Origin",
    "Request",
    "Response",
    "TransportError",
    "UnsendableHeader",
    "header_lines",
]
