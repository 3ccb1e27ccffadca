"""Messages for the tests of decoding, and what is decoded from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from dispatcher.domain.events import Event
from dispatcher.intake.decode import Message, decode

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def decoded(message: Message, *, tenant: str = "default", tenant_fixed: bool = False) -> list[Event]:
    """All events of a message."""
    return decode(message, default_tenant=tenant, tenant_fixed=tenant_fixed, now=NOW)


def read(document: object, **message: Any) -> Event:
    """The one event of a message whose body is this document, or these bytes."""
    options = {name: message.pop(name) for name in ("tenant", "tenant_fixed") if name in message}
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    (event,) = decoded(Message(**({"origin": "amqp", "body": body} | message)), **options)
    return event


def plain(**changes: object) -> dict[str, object]:
    """A plain event."""
    return {"event": "FINISHED", "job_id": "job-1"} | changes


def cloudevent(**changes: object) -> dict[str, object]:
    """A CloudEvent in structured form; None leaves an attribute out."""
    document = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/cluster",
        "type": "org.example.job.FINISHED",
        "subject": "job-1",
    } | changes
    return {name: value for name, value in document.items() if value is not None}
