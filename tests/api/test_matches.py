"""Trying a subscription on events: which match, and which condition keeps each of the others from matching."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api, Caller

MATCHES = "/v1/subscriptions/matches"


def _problems(item: dict[str, Any]) -> dict[str, str]:
    return {failed["field"]: failed["problem"] for failed in item["failed"]}


async def test_the_latest_events_are_tried_and_each_that_fails_says_why(alice: Caller) -> None:
    wrong = await alice.publish("FAILED", data={"exit_code": 0})
    right = await alice.publish("FAILED", data={"exit_code": 3})
    other = await alice.publish("FINISHED", data={"exit_code": 3})
    wanted = {"events": ["FAILED"], "filters": [{"data": {"exit_code": {"gt": 0}}}]}
    found = await alice.post(MATCHES, wanted)
    assert found["matched"] == 1
    assert [(one["id"], one["matches"], _problems(one)) for one in found["items"]] == [
        (other, False, {"events": "FINISHED is not in FAILED"}),
        (right, True, {}),
        (wrong, False, {"filters[0].data.exit_code.gt": "exit_code is 0, expected more than 0"}),
    ]


async def test_it_says_of_each_event_what_intake_did(alice: Caller, api: Api) -> None:
    for number in range(12):
        await alice.publish(
            ("FAILED", "FINISHED")[number % 2], job_id=f"j-{number % 3}", data={"code": number}
        )
    made = await alice.subscribe(
        events=["FAILED"],
        filters=[{"any": [{"sql": "subject = 'j-1'"}, {"data": {"code": {"ge": 6}}}]}],
    )
    for number in range(12):
        await alice.publish(
            ("FAILED", "FINISHED")[number % 2], job_id=f"j-{number % 3}", data={"code": number}
        )
    found = await alice.post(MATCHES, {"subscription_id": made["id"], "limit": 12})
    delivered = {one["event_id"] for one in (await alice.get("/v1/deliveries"))["items"]}
    assert {one["id"] for one in found["items"] if one["matches"]} == delivered
    assert 0 < len(delivered) < 12


async def test_nothing_is_stored_or_sent(alice: Caller) -> None:
    event = {"event": "FAILED", "job_id": "j", "data": {"exit_code": 1}}
    found = await alice.post(MATCHES, {"events": ["FAILED"], "event": event})
    [tried] = found["items"]
    assert (tried["id"], tried["owner"], tried["matches"]) == (None, "alice", True)
    assert (await alice.get("/v1/events"))["items"] == []
    assert (await alice.get("/v1/subscriptions"))["items"] == []


async def test_fields_that_are_given_take_the_place_of_the_stored_ones(alice: Caller) -> None:
    made = await alice.subscribe(events=["FINISHED"], job_id="job-1")
    await alice.publish("FAILED")
    await alice.publish("FAILED", job_id="job-2")
    stored = await alice.post(MATCHES, {"subscription_id": made["id"]})
    assert [one["job_id"] for one in stored["items"]] == ["job-1"]
    changed = await alice.post(MATCHES, {"subscription_id": made["id"], "events": ["FAILED"], "job_id": None})
    assert (stored["matched"], changed["matched"]) == (0, 2)
    assert (await alice.get(f"/v1/subscriptions/{made['id']}"))["events"] == ["FINISHED"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filters": [{"exact": {"jobid": "1"}}]}, "filters[0].exact.jobid"),
        ({"events": ["FINISHED"], "filters": [{"exact": {"event": "FAILED"}}]}, "filters[0].exact.event"),
        ({"event": {"event": "FINISHED"}}, "event.job_id"),
        ({"event": {}, "event_id": "evt_" + "0" * 32}, "event_id"),
        ({"limit": 101}, "limit"),
        ({"limit": 0}, "limit"),
        ({"target": {}}, "target"),
    ],
)
async def test_what_is_wrong_is_named(alice: Caller, body: dict[str, Any], field: str) -> None:
    reply = await alice.ask("POST", MATCHES, body)
    assert (reply.status, list(reply.faults)) == (400, [field])


async def test_only_what_the_caller_may_read_is_tried(
    alice: Caller, bob: Caller, admin: Caller, api: Api
) -> None:
    event = await alice.publish("FAILED")
    made = await alice.subscribe()
    assert (await bob.post(MATCHES, {}))["items"] == []
    for body in ({"event_id": event}, {"subscription_id": made["id"]}):
        assert (await bob.ask("POST", MATCHES, body)).status == 404
    assert (await bob.ask("POST", MATCHES, {"owner": "alice"})).status == 403
    await admin.publish(job_id="claimed", event="RUNNING")
    assert (await bob.ask("POST", MATCHES, {"job_id": "claimed"})).status == 403
    assert (await api.anonymous.ask("POST", MATCHES, {})).status == 401
    publisher = await api.caller("alice", "publish")
    assert (await publisher.ask("POST", MATCHES, {})).status == 403
    assert (await admin.post(MATCHES, {"owner": "alice"}))["matched"] == 2
    assert (await admin.post(MATCHES, {"owner": "bob"}))["items"] == []
    [tried] = (await admin.post(MATCHES, {"owner": "bob", "event_id": event}))["items"]
    assert _problems(tried) == {"owner": "the owner is alice, expected bob"}


async def test_a_job_that_was_granted_matches_until_the_grant_is_revoked(alice: Caller, bob: Caller) -> None:
    grant = {"data": {"username": "bob", "permission": "READ"}}
    await alice.publish("PERMISSION_GRANT", **grant)
    event = await alice.publish("FAILED")
    made = await bob.subscribe(job_id="job-1", events=["FAILED"])
    body = {"subscription_id": made["id"], "event_id": event}
    assert (await bob.post(MATCHES, body))["matched"] == 1
    await alice.publish("PERMISSION_REVOKE", **grant)
    assert (await bob.ask("POST", MATCHES, body)).status == 404


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        ({"data": {"api_token": {"eq": "other"}}}, 'api_token is "***", expected "other"'),
        ({"data": {"api_token": {"prefix": "***"}}}, "it is a value that is not shown"),
        ({"not": {"data": {"api_token": {"prefix": "s3"}}}}, "it is a value that is not shown"),
        ({"data": {"url": {"suffix": ".com"}}}, "expected a text that ends with"),
        ({"sql": "INT(apitoken) = 3"}, "is no 32 bit integer"),
    ],
)
async def test_no_condition_that_failed_shows_a_secret_of_the_event(
    alice: Caller, one: dict[str, Any], problem: str
) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/s",
        "type": "x.FINISHED",
        "subject": "job-1",
        "apitoken": "s3cret",
        "data": {"api_token": "s3cret", "url": "https://example.org/?token=s3cret"},
    }
    filters = [one]
    published = await alice.ask("POST", "/v1/events", event, content_type="application/cloudevents+json")
    await alice.subscribe(filters=filters)
    reply = await alice.ask("POST", MATCHES, {"filters": filters})
    shown = await alice.ask("GET", f"/v1/events/{published.json['ids'][0]}")
    assert problem in reply.json["items"][0]["failed"][0]["problem"]
    assert problem in shown.json["subscriptions"][0]["failed"][0]["problem"]
    assert b"s3cret" not in reply.body + shown.body


async def test_a_hundred_conditions_show_twenty(alice: Caller) -> None:
    await alice.publish()
    filters = [{"data": {f"x{number}": {"eq": 1} for number in range(60)}}]
    [tried] = (await alice.post(MATCHES, {"filters": filters}))["items"]
    assert len(tried["failed"]) == 20


async def test_an_event_says_of_each_own_subscription_what_kept_it_from_matching(
    alice: Caller, bob: Caller, admin: Caller
) -> None:
    right = await alice.subscribe(name="right")
    wrong = await alice.subscribe(name="wrong", filters=[{"sql": "EXISTS lab"}])
    elsewhere = await alice.subscribe(name="elsewhere", job_id="job-2")
    await bob.subscribe(name="bobs")
    event = await alice.publish()
    shown = (await alice.get(f"/v1/events/{event}"))["subscriptions"]
    assert [(one["id"], one["name"], one["matches"], _problems(one)) for one in shown] == [
        (elsewhere["id"], "elsewhere", False, {"job_id": "the job is job-1, expected job-2"}),
        (wrong["id"], "wrong", False, {"filters[0].sql": "EXISTS lab is false"}),
        (right["id"], "right", True, {}),
    ]
    assert len((await admin.get(f"/v1/events/{event}"))["subscriptions"]) == 4
