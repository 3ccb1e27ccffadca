"""Publishing events, and seeing what came of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dispatcher.api.events import reasons
from dispatcher.intake import matcher as matching
from dispatcher.intake.expander import Expander
from dispatcher.intake.matcher import Matcher
from tests.api.conftest import Api, Caller
from tests.factories import make_event, make_subscription

CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "7",
    "source": "/batch",
    "type": "org.example.job.FINISHED",
    "subject": "job-1",
    "owner": "alice",
}


async def test_an_event_is_accepted_once_and_found_under_its_id(alice: Caller) -> None:
    document = {"event": "FINISHED", "job_id": "job-1", "owner": "alice", "id": "a", "source": "/s"}
    accepted = await alice.post("/v1/events", document, 202)
    again = await alice.post("/v1/events", [document, document | {"id": "b"}], 202)
    assert (accepted["accepted"], accepted["duplicates"]) == (1, 0)
    assert (again["accepted"], again["duplicates"]) == (1, 1)
    assert again["ids"][0] == accepted["ids"][0]
    event = await alice.get(f"/v1/events/{accepted['ids'][0]}")
    shown = tuple(event[name] for name in ("source", "source_id", "event", "owner"))
    assert shown == ("/s", "a", "FINISHED", "alice")
    assert event["document"]["type"] == "job.FINISHED"
    assert event["accepted_at"].endswith("Z")


async def test_an_event_is_shown_without_the_secrets_in_it(alice: Caller) -> None:
    own = {
        "status_report_token": "IjEi:s1",
        "nodes": [{"Password": "s2", "tokens": 7, "token": 8, "key": "fold-1f2e"}],
        "callback": "https://portal.example.org/report-job-status/1/?token=s3&status=Complete",
    }
    key = await alice.publish(data=own, job={"client_secret": "s4", "name": "1"})
    event = await alice.get(f"/v1/events/{key}")

    data = event["document"]["data"]
    assert data["data"] == {
        "status_report_token": "***",
        "nodes": [{"Password": "***", "tokens": 7, "token": 8, "key": "fold-1f2e"}],
        "callback": "https://portal.example.org/report-job-status/1/?token=***&status=Complete",
    }
    assert data["job"]["client_secret"] == "***"
    assert data["job"]["name"] == "1"


async def test_an_event_that_is_nested_as_deeply_as_it_may_be_is_shown(alice: Caller) -> None:
    nested: dict[str, Any] = {"token": "s"}
    for _ in range(90):
        nested = {"a": nested}
    key = await alice.publish(data=nested)
    shown = (await alice.get(f"/v1/events/{key}"))["document"]["data"]["data"]
    for _ in range(90):
        shown = shown["a"]
    assert shown == {"token": "***"}


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/cloudevents+json", CLOUD_EVENT),
        ("application/cloudevents-batch+json", [CLOUD_EVENT]),
        ("application/json; charset=utf-8", {"event": "FINISHED", "job_id": "job-1"}),
    ],
)
async def test_events_come_in_each_form(alice: Caller, media_type: str, body: object) -> None:
    reply = await alice.ask("POST", "/v1/events", msgspec.json.encode(body), Content_Type=media_type)
    assert (reply.status, reply.json["accepted"]) == (202, 1)


async def test_a_binary_cloudevent_stands_in_the_headers(alice: Caller) -> None:
    attributes = {f"ce_{name}": value for name, value in CLOUD_EVENT.items()}
    reply = await alice.ask("POST", "/v1/events", b"<done/>", Content_Type="application/xml", **attributes)
    assert reply.status == 202
    event = await alice.get(f"/v1/events/{reply.json['ids'][0]}")
    assert event["document"]["data"] == "<done/>"


async def test_when_one_event_is_refused_none_is_stored(alice: Caller) -> None:
    good = {"event": "FINISHED", "job_id": "job-1", "owner": "alice"}
    reply = await alice.ask("POST", "/v1/events", [good, {"event": "FINISHED"}])
    assert reply.status == 400
    assert list(reply.faults) == ["[1].job_id"]
    assert (await alice.get("/v1/events"))["items"] == []


async def test_an_event_of_another_tenant_is_refused(alice: Caller) -> None:
    reply = await alice.ask("POST", "/v1/events", {"event": "FINISHED", "job_id": "j", "tenant": "other"})
    assert (reply.status, list(reply.faults)) == (400, ["tenant"])


async def test_a_media_type_that_no_event_has_is_reported(alice: Caller) -> None:
    reply = await alice.ask("POST", "/v1/events", b"FINISHED", Content_Type="image/png")
    assert reply.status == 415
    assert "application/cloudevents+json" in reply.json["detail"]


async def test_an_event_says_which_subscriptions_wanted_it_and_why(alice: Caller) -> None:
    of_job = await alice.subscribe(name="the job", job_id="job-1", events=["@terminal"])
    of_owner = await alice.subscribe(name="all of mine", filters=[{"exact": {"event": "FINISHED"}}])
    await alice.subscribe(name="not this", events=["RUNNING"])
    event = await alice.get(f"/v1/events/{await alice.publish()}")
    found = {delivery["subscription_id"]: delivery for delivery in event["deliveries"]}
    assert found.keys() == {of_job["id"], of_owner["id"]}
    assert found[of_job["id"]]["why"] == ["job is job-1", "event FINISHED is in @terminal"]
    assert found[of_owner["id"]]["why"] == ["owner is alice", "event FINISHED is in *", "all filters pass"]
    assert found[of_job["id"]]["subscription_name"] == "the job"
    assert found[of_job["id"]]["state"] == "pending"
    assert event["outcome"] == "deliveries to subscriptions of alice: 2"


async def test_an_event_without_deliveries_says_so(alice: Caller) -> None:
    event = await alice.get(f"/v1/events/{await alice.publish()}")
    assert event["deliveries"] == []
    assert event["outcome"].startswith("no subscription of alice wanted it")
    assert "job-1" in event["outcome"]


async def test_the_reasons_say_when_a_subscription_was_changed_or_removed(alice: Caller) -> None:
    changed, removed = await alice.subscribe(), await alice.subscribe()
    event_id = await alice.publish()
    await alice.patch(f"/v1/subscriptions/{changed['id']}", {"events": ["RUNNING"]})
    await alice.ask("DELETE", f"/v1/subscriptions/{removed['id']}")
    event = await alice.get(f"/v1/events/{event_id}")
    why = {delivery["subscription_id"]: delivery["why"] for delivery in event["deliveries"]}
    assert why[changed["id"]] == ["it was changed since, and does not want this event any more"]
    assert why[removed["id"]] == ["it was removed since"]


async def test_events_are_listed_by_job_name_and_time(alice: Caller) -> None:
    first = await alice.publish("RUNNING")
    second = await alice.publish("FINISHED")
    other = await alice.publish("FINISHED", job_id="job-2")
    await alice.subscribe()
    third = await alice.publish("HEARTBEAT")
    since = (await alice.get(f"/v1/events/{other}"))["accepted_at"]

    async def listed(query: str) -> list[Any]:
        return [event["id"] for event in (await alice.get(f"/v1/events?{query}"))["items"]]

    assert await listed("") == [third, other, second, first]
    assert await listed("job_id=job-1") == [third, second, first]
    assert await listed("event=FINISHED") == [other, second]
    assert first not in await listed(f"since={since}")
    counts = {event["id"]: event["deliveries"] for event in (await alice.get("/v1/events"))["items"]}
    assert (counts[first], counts[third]) == (0, 1)


async def test_events_of_somebody_else_are_not_there(alice: Caller, bob: Caller, admin: Caller) -> None:
    event_id = await alice.publish()
    assert (await bob.ask("GET", f"/v1/events/{event_id}")).status == 404
    assert (await bob.ask("POST", f"/v1/events/{event_id}/replay")).status == 404
    assert (await bob.get("/v1/events"))["items"] == []
    assert [event["id"] for event in (await admin.get("/v1/events"))["items"]] == [event_id]


async def test_a_grant_shows_a_job_and_a_revoke_hides_it(alice: Caller, bob: Caller) -> None:
    event_id = await alice.publish()
    await alice.publish("PERMISSION_GRANT", data={"username": "bob"}, time="2026-05-04T12:00:00Z")
    assert (await bob.get(f"/v1/events/{event_id}"))["id"] == event_id
    await alice.publish("PERMISSION_REVOKE", data={"username": "bob"}, time="2026-05-04T12:00:01Z")
    assert (await bob.ask("GET", f"/v1/events/{event_id}")).status == 404


async def test_others_deliveries_of_an_event_are_not_shown(api: Api, alice: Caller, admin: Caller) -> None:
    await admin.subscribe(name="every job")
    mine = await alice.subscribe()
    event_id = await alice.publish()
    shown = (await alice.get(f"/v1/events/{event_id}"))["deliveries"]
    assert [delivery["subscription_id"] for delivery in shown] == [mine["id"]]
    assert len((await admin.get(f"/v1/events/{event_id}"))["deliveries"]) == 2


async def test_a_replay_goes_to_whom_it_matches_now(alice: Caller, admin: Caller) -> None:
    event_id = await alice.publish()
    await admin.subscribe()
    later = await alice.subscribe()
    answer = await alice.post(f"/v1/events/{event_id}/replay", status=202)
    [delivery_id] = answer["deliveries"]
    delivery = await alice.get(f"/v1/deliveries/{delivery_id}")
    assert (delivery["subscription_id"], delivery["event_id"]) == (later["id"], event_id)
    assert len((await admin.post(f"/v1/events/{event_id}/replay", {}, 202))["deliveries"]) == 2


async def test_a_replay_can_name_one_subscription(alice: Caller) -> None:
    first, second = await alice.subscribe(), await alice.subscribe()
    event_id = await alice.publish()
    answer = await alice.post(f"/v1/events/{event_id}/replay", {"subscription_id": second["id"]}, 202)
    [delivery_id] = answer["deliveries"]
    delivery = await alice.get(f"/v1/deliveries/{delivery_id}")
    assert delivery["subscription_id"] == second["id"] != first["id"]


async def test_a_replay_to_a_subscription_that_does_not_want_the_event_says_why(alice: Caller) -> None:
    unwilling = await alice.subscribe(events=["RUNNING"])
    event_id = await alice.publish()
    reply = await alice.ask("POST", f"/v1/events/{event_id}/replay", {"subscription_id": unwilling["id"]})
    assert reply.status == 409
    assert "RUNNING" in reply.json["detail"]


async def test_all_events_are_listed_page_by_page_without_gap_or_repeat(alice: Caller) -> None:
    events = [{"event": "HEARTBEAT", "job_id": f"job-{n}", "owner": "alice"} for n in range(25)]
    ids = (await alice.post("/v1/events", events, 202))["ids"]
    assert [event["id"] for event in await alice.all("/v1/events", 4)] == ids[::-1]


async def test_an_event_shows_what_is_still_to_be_made_of_its_deliveries(
    api: Api, admin: Caller, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "FAN_OUT", 2)
    for _ in range(2):
        await alice.subscribe()
    await admin.subscribe()
    event_id = await admin.publish()
    path = f"/v1/events/{event_id}"
    seen = await admin.get(path)
    assert (seen["expanding"], seen["deliveries"]) == ({"remaining": 3}, [])
    assert seen["outcome"] == "deliveries to subscriptions: 0; 3 are still to be made"
    assert (await alice.get(path))["expanding"] == {"remaining": 2}

    expander = Expander(api.store.expansions, Matcher(api.store), lambda: None)
    assert await expander.expand_next(api.services.engine.lease_id)
    assert not await expander.expand_next(api.services.engine.lease_id)
    seen = await admin.get(path)
    assert (seen["expanding"], len(seen["deliveries"])) == (None, 3)


def test_the_reasons_name_what_made_it_match() -> None:
    subscription = make_subscription(events=("FINISHED",), filters=({"prefix": {"type": "job."}},))
    assert reasons(make_event(), subscription) == [
        "owner is alice",
        "event FINISHED is in FINISHED",
        "all filters pass",
    ]
    assert reasons(make_event(event="RUNNING"), subscription) == []
    assert reasons(make_event(owner="bob"), subscription) == []
