"""Filters of subscriptions over HTTP: what is refused when they are made or changed, and what they let through."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.api.conftest import HOOK, Api, Caller

TARGET: dict[str, Any] = {"kind": "webhook", "url": HOOK}


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"filters": [{"exact": {"jobid": "1"}}]}, "filters[0].exact.jobid", "did you mean job_id?"),
        ({"filters": [{"sql": "LENGHT(id) > 3"}]}, "filters[0].sql", "did you mean LENGTH?"),
        (
            {"filters": [{"data": {"exit_code": {"gt": "0"}}}]},
            "filters[0].data.exit_code.gt",
            "expected a number",
        ),
        (
            {"filters": [{"exact": {"event": "FAILED"}}]},
            "filters[0].exact.event",
            "events of the subscription",
        ),
        ({"filters": [{"exact": {"owner": "bob"}}]}, "filters[0].exact.owner", "owner of the subscription"),
    ],
)
async def test_a_filter_that_no_event_can_pass_is_refused(
    alice: Caller, fields: dict[str, Any], field: str, problem: str
) -> None:
    whole = {"events": ["FINISHED"], "target": TARGET} | fields
    reply = await alice.ask("POST", "/v1/subscriptions", whole)
    assert reply.status == 400
    assert problem in reply.faults[field]
    made = await alice.subscribe(events=["FINISHED"])
    changed = await alice.ask("PATCH", f"/v1/subscriptions/{made['id']}", fields)
    assert changed.status == 400
    assert problem in changed.faults[field]


async def test_a_change_of_events_is_compared_with_the_filters_that_stay(alice: Caller) -> None:
    made = await alice.subscribe(events=["*"], filters=[{"exact": {"event": "FAILED"}}])
    path = f"/v1/subscriptions/{made['id']}"
    refused = await alice.ask("PATCH", path, {"events": ["FINISHED"]})
    assert (refused.status, list(refused.faults)) == (400, ["filters[0].exact.event"])
    assert (await alice.patch(path, {"events": ["FAILED", "FINISHED"]}))["events"] == ["FAILED", "FINISHED"]


async def test_what_was_stored_before_stays_and_can_be_changed_otherwise(alice: Caller, api: Api) -> None:
    made = await alice.subscribe(events=["FINISHED"])
    stored = await api.store.subscriptions.get("default", made["id"])
    assert stored is not None
    old = replace(
        stored, revision=stored.revision + 1, filters=({"exact": {"jobid": "1", "event": "FAILED"}},)
    )
    await api.store.subscriptions.save(old)
    changed = await alice.patch(f"/v1/subscriptions/{made['id']}", {"name": "renamed"})
    assert changed["filters"] == [{"exact": {"jobid": "1", "event": "FAILED"}}]


async def test_a_name_that_looks_like_a_slip_is_taken_once_an_event_of_the_owner_has_it(
    alice: Caller, bob: Caller
) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/s",
        "type": "x.FINISHED",
        "subject": "job-1",
        "types": "a",
    }
    wanted = {"events": ["*"], "target": TARGET, "filters": [{"exact": {"types": "a"}}]}
    assert (await alice.ask("POST", "/v1/subscriptions", wanted)).status == 400
    published = await alice.ask("POST", "/v1/events", event, content_type="application/cloudevents+json")
    assert published.status == 202
    assert (await alice.ask("POST", "/v1/subscriptions", wanted)).status == 201
    assert (await bob.ask("POST", "/v1/subscriptions", wanted)).status == 400


async def test_filters_on_data_and_in_sql_select_events(alice: Caller) -> None:
    failed = await alice.subscribe(
        filters=[{"data": {"exit_code": {"gt": 0}, "job.name": {"prefix": "align"}}}]
    )
    nightly = await alice.subscribe(filters=[{"sql": "subject LIKE 'nightly-%' AND event = 'FAILED'"}])
    job = {"name": "align-7", "owner": "alice"}
    await alice.publish(data={"exit_code": 0}, job=job)
    await alice.publish(data={"exit_code": 3}, job=job)
    await alice.publish("FAILED", job_id="nightly-1")
    await alice.publish("FINISHED", job_id="nightly-1")
    found = (await alice.get("/v1/deliveries"))["items"]
    assert [one["subscription_id"] for one in found] == [nightly["id"], failed["id"]]
