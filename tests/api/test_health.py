"""Health, metrics and the pages of the documentation: open to everybody."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dispatcher.store.store import Store
from tests.api.conftest import Api, serving


async def test_a_living_process_says_so(api: Api) -> None:
    assert await api.anonymous.get("/health/live") == {"status": "ok", "parts": []}


async def test_readiness_names_the_parts_that_were_looked_at(api: Api) -> None:
    assert await api.anonymous.get("/health/ready") == {"status": "ok", "parts": ["database"]}


async def test_readiness_names_what_cannot_be_reached(store: Store) -> None:
    async def readiness() -> Mapping[str, str | None]:
        return {"database": None, "broker": "connection refused"}

    async with serving(store, readiness=readiness) as api:
        reply = await api.anonymous.ask("GET", "/health/ready")
    assert reply.status == 503
    assert reply.faults == {"broker": "connection refused"}
    assert "Retry-After" in reply.headers


async def test_metrics_are_in_the_format_of_prometheus(api: Api) -> None:
    reply = await api.anonymous.ask("GET", "/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE dispatcher_events_total counter" in reply.body


async def test_a_refused_event_is_counted(api: Api) -> None:
    async def refused() -> float:
        text = (await api.anonymous.ask("GET", "/metrics")).body.decode()
        found = re.search(
            r'^dispatcher_events_total\{result="refused",source="http"\} (.*)$', text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    before = await refused()
    await api.admin.ask("POST", "/v1/events", {"event": "FINISHED"})
    assert await refused() == before + 1


async def test_the_docs_come_from_here_and_load_nothing_from_elsewhere(api: Api) -> None:
    page = await api.anonymous.ask("GET", "/docs")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.body.decode()):
        assert path.startswith("/")
        found = await api.anonymous.ask("GET", path)
        assert found.status == 200
        assert (b"http://" not in found.body and b"https://" not in found.body) or path == "/openapi.json"


async def test_the_root_leads_to_the_docs(api: Api) -> None:
    reply = await api.anonymous.ask("GET", "/")
    assert (reply.status, reply.headers["Location"]) == (302, "/docs")
