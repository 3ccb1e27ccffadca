"""A message as it came in, over HTTP or from a broker: bytes and headers, not decoded yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from msgspec import Struct


class Message(Struct, frozen=True, kw_only=True):
    """What came in, not understood yet.

    `origin` is the name of its source: "http", "amqp". `hops` is how often its sender says that it passed through a
    Dispatcher, 0 when it says nothing. `headers` are those of HTTP, or the application headers of AMQP. `content_type`,
    `content_encoding`, `message_id` and `timestamp` are the headers or properties of these names; the last two are
    AMQP's.
    """

    origin: str
    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, object] = {}
    message_id: str | None = None
    timestamp: datetime | None = None
    hops: int = 0

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in small letters; empty when there is none."""
        return _media_type(self.content_type or "")


@lru_cache(256)
def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
