"""Whether the process lives, whether it can do its work, and its metrics. No key is needed."""

from __future__ import annotations

from dispatcher.api.problems import Fault, unavailable
from dispatcher.api.response_models import Health
from dispatcher.api.routing import Call, NoQuery


async def live(call: Call[NoQuery, None]) -> Health:
    """Whether the process lives."""
    return Health("ok", [])


async def ready(call: Call[NoQuery, None]) -> Health:
    """Whether it can do its work now; 503 names what cannot be reached."""
    parts = await call.services.readiness()
    faults = [Fault(name, problem) for name, problem in parts.items() if problem is not None]
    if faults:
        raise unavailable("; ".join(f"{fault.field}: {fault.problem}" for fault in faults), faults)
    return Health("ok", list(parts))


async def metrics(call: Call[NoQuery, None]) -> bytes:
    """Metrics for Prometheus."""
    return await call.services.metrics()
