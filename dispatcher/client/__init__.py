"""The Python client: the HTTP API from asyncio or from threads, publishing events, and verifying webhooks.

It imports nothing of the server. `docs/client.md` shows how it is used.
"""

from __future__ import annotations

from dispatcher.client import models
from dispatcher.client.aio.client import AsyncClient
from dispatcher.client.errors import (
    ApiError,
    BadSignature,
    ClientError,
    Conflict,
    Fault,
    Forbidden,
    InvalidRequest,
    InvalidResponse,
    NotFound,
    NotPublished,
    Problem,
    ServerError,
    TooManyRequests,
    TransportError,
    Unauthorized,
    Unavailable,
    WaitTimeout,
)
from dispatcher.client.outgoing import Event
from dispatcher.client.publisher import Publisher
from dispatcher.client.retries import NO_RETRIES, Retries
from dispatcher.client.sync.client import Client
from dispatcher.client.webhooks import Webhook, WebhookMessage, verify

__all__ = [
    "NO_RETRIES",
    "ApiError",
    "AsyncClient",
    "BadSignature",
    "Client",
    "ClientError",
    "Conflict",
    "Event",
    "Fault",
    "Forbidden",
    "InvalidRequest",
    "InvalidResponse",
    "NotFound",
    "NotPublished",
    "Problem",
    "Publisher",
    "Retries",
    "ServerError",
    "TooManyRequests",
    "TransportError",
    "Unauthorized",
    "Unavailable",
    "WaitTimeout",
    "Webhook",
    "WebhookMessage",
    "models",
    "verify",
]
