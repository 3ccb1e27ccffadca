"""`/notifications/v2` as somebody sees it who used Tapis v2 before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.compat.tapis_v2.conftest import JOB, Running, Tapis, decoded, serving
from tests.receiver import Arrived, Receiver

NOTIFICATIONS = "/notifications/v2"
URL = "http://127.0.0.1:9/hook"
A_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"


async def test_a_new_notification_has_the_shape_of_tapis(service: Running, alice: Tapis) -> None:
    made = await alice.add(f"{URL}?path=${{PATH}}&id=${{JOB_ID}}")

    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+-0001-011", made["id"])
    assert re.fullmatch(A_TIME, made["created"])
    assert re.fullmatch(A_TIME, made["lastUpdated"])
    base = service.url
    assert made == {
        "id": made["id"],
        "owner": "alice",
        "url": f"{URL}?path=${{PATH}}&id=${{JOB_ID}}",
        "associatedUuid": JOB,
        "event": "FINISHED",
        "responseCode": None,
        "attempts": 0,
        "lastSent": None,
        "success": False,
        "persistent": False,
        "status": "ACTIVE",
        "lastUpdated": made["lastUpdated"],
        "created": made["created"],
        "policy": {
            "retryLimit": 5,
            "retryRate": 5,
            "retryDelay": 0,
            "saveOnFailure": False,
            "retryStrategy": "IMMEDIATE",
        },
        "_links": {
            "self": {"href": f"{base}/notifications/v2/{made['id']}"},
            "attempts": {"href": f"{base}/notifications/v2/{made['id']}/attempts"},
            "owner": {"href": f"{base}/profiles/v2/alice"},
            "job": {"href": f"{base}/jobs/v2/{JOB}"},
        },
    }
    assert await alice.result("GET", f"{NOTIFICATIONS}/{made['id']}") == made


async def test_a_byte_order_mark_before_a_notification_is_skipped(alice: Tapis) -> None:
    body = (
        b'\xef\xbb\xbf{"associatedUuid":"%b","event":"FINISHED","url":"http://127.0.0.1:9/x"}' % JOB.encode()
    )
    assert (await alice.ask("POST", NOTIFICATIONS, body, content_type="application/json")).status == 201


async def test_links_begin_with_the_public_url(database: Path) -> None:
    async with serving(database, http_public_url="https://jobs.example.org/api") as service:
        made = await (await service.caller("alice", "subscribe")).add(URL)

    assert made["_links"]["self"]["href"] == f"https://jobs.example.org/api/notifications/v2/{made['id']}"


async def test_what_is_sent_is_the_job_document_with_the_headers_of_tapis(
    alice: Tapis, receiver: Receiver
) -> None:
    made = await alice.add(f"{receiver.url}/jobs/${{JOB_ID}}?s=${{EVENT}}&p=${{PATH}}&n=${{JOB_NAME}}")
    await alice.publish(job={"id": JOB, "name": "a&b=c", "status": "RUNNING", "appId": "pyplot"})

    [arrived] = await receiver.count(1)

    assert arrived.method == "POST"
    assert arrived.path == f"/jobs/{JOB}?s=FINISHED&p=%24%7BPATH%7D&n=a%26b%3Dc"
    assert decoded(arrived.body) == {
        "id": JOB,
        "name": "a&b=c",
        "owner": "alice",
        "status": "FINISHED",
        "appId": "pyplot",
    }
    assert arrived.headers["content-type"] == "application/json"
    assert arrived.headers["x-agave-notification"] == made["id"]
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+-0001-042", arrived.headers["x-agave-delivery"])


async def test_one_that_is_not_persistent_is_complete_after_its_first_success(
    alice: Tapis, receiver: Receiver
) -> None:
    made = await alice.add(f"{receiver.url}/", event="*")
    await alice.publish("RUNNING")
    await receiver.count(1)

    shown = await until(alice, made["id"], lambda shown: shown["status"] == "COMPLETE")

    assert (shown["success"], shown["attempts"], shown["responseCode"]) == (True, 1, 204)
    assert re.fullmatch(A_TIME, shown["lastSent"])
    assert await alice.result("GET", NOTIFICATIONS) == []
    refusal = await alice.refused("POST", f"{NOTIFICATIONS}/{made['id']}", body(), 412)
    assert refusal == "Notification has already fired. You can not update past notifications."


async def test_a_persistent_one_goes_on(alice: Tapis, receiver: Receiver) -> None:
    await alice.add(f"{receiver.url}/", event="*", persistent=True)
    await alice.publish("RUNNING")
    await alice.publish("FINISHED")

    arrived = await receiver.count(2)

    assert {decoded(one.body)["status"] for one in arrived} == {"RUNNING", "FINISHED"}


async def test_a_user_and_password_in_the_url_become_basic_authentication(
    alice: Tapis, receiver: Receiver
) -> None:
    url = f"{receiver.url}/".replace("http://", "http://me:s%40crets@")
    made = await alice.add(url, persistent=True)
    assert made["url"] == f"{receiver.url}/".replace("http://", "http://me:***@")
    await alice.result("POST", f"{NOTIFICATIONS}/{made['id']}", made | {"event": "*"})
    await alice.publish()

    [arrived] = await receiver.count(1)

    assert arrived.headers["authorization"] == "Basic bWU6c0BjcmV0cw=="
    assert "@" not in arrived.path


async def test_a_password_that_comes_back_as_it_was_shown_goes_nowhere_else(alice: Tapis) -> None:
    made = await alice.add("http://me:secret@127.0.0.1:9/")

    refusal = await alice.refused(
        "POST", f"{NOTIFICATIONS}/{made['id']}", body(url=made["url"].replace(":9/", ":10/"))
    )

    assert refusal.startswith("url: its destination is http://127.0.0.1:10 and no longer http://127.0.0.1:9")


async def test_the_policy_of_a_json_document_may_have_the_names_of_a_form(alice: Tapis) -> None:
    policy = {"retryStrategyType": "EXPONENTIAL", "retryLimit": 30}
    made = await alice.add(URL, policy=policy)

    assert made["policy"]["retryStrategy"] == "EXPONENTIAL"
    policy["retryStrategyType"] = "SOMETIMES"
    refusal = await alice.refused("POST", NOTIFICATIONS, body(policy=policy))
    assert refusal.startswith("policy.retryStrategy: expected one of NONE")


async def test_a_form_makes_a_notification_too(alice: Tapis) -> None:
    fields = body() | {
        "persistent": "true",
        "policy.retryStrategyType": "delayed",
        "policy.retryLimit": "3",
        "policy.retryDelay": "10",
        "policy.saveOnFailure": "true",
    }
    made = await alice.ask(
        "POST", NOTIFICATIONS, urlencode(fields).encode(), content_type="application/x-www-form-urlencoded"
    )

    assert made.status == 201
    assert made.json["result"]["persistent"] is True
    assert made.json["result"]["policy"] == {
        "retryLimit": 3,
        "retryRate": 5,
        "retryDelay": 10,
        "saveOnFailure": True,
        "retryStrategy": "DELAYED",
    }


async def test_a_file_in_a_form_makes_a_notification_too(alice: Tapis) -> None:
    document = b'{"associatedUuid": "job-1", "event": "FAILED", "url": "http://127.0.0.1:9/"}'
    parts = (
        b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\nno file\r\n--xyz\r\n'
        b'Content-Disposition: form-data; name="fileToUpload"; filename="n.json"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + document + b"\r\n--xyz--\r\n"
    )
    made = await alice.ask("POST", NOTIFICATIONS, parts, content_type="multipart/form-data; boundary=xyz")

    assert made.status == 201
    assert (made.json["result"]["event"], made.json["result"]["associatedUuid"]) == ("FAILED", "job-1")


async def test_upper_and_lower_case_of_properties_are_the_same(alice: Tapis) -> None:
    document = {"ASSOCIATEDUUID": JOB, "Event": "finished", "URL": URL, "Policy": {"RETRYSTRATEGY": "none"}}
    made = await alice.result("POST", NOTIFICATIONS, document, 201)

    assert (made["event"], made["policy"]["retryStrategy"]) == ("FINISHED", "NONE")


async def test_an_update_replaces_the_whole(alice: Tapis, receiver: Receiver) -> None:
    made = await alice.add(URL, persistent=True, policy={"retryStrategy": "EXPONENTIAL", "retryLimit": 20})
    changed = await alice.result(
        "POST", f"{NOTIFICATIONS}/{made['id']}", body(url=f"{receiver.url}/new", event="FAILED")
    )

    assert changed == made | {
        "url": f"{receiver.url}/new",
        "event": "FAILED",
        "persistent": False,
        "lastUpdated": changed["lastUpdated"],
        "policy": made["policy"] | {"retryStrategy": "IMMEDIATE", "retryLimit": 5},
    }
    await alice.publish("FINISHED")
    await alice.publish("FAILED")
    [arrived] = await receiver.count(1)
    assert (arrived.path, decoded(arrived.body)["status"]) == ("/new", "FAILED")


async def test_a_deleted_one_is_seen_no_more(alice: Tapis) -> None:
    made = await alice.add(URL)

    assert await alice.result("DELETE", f"{NOTIFICATIONS}/{made['id']}") == {}

    assert "No notification found" in await alice.refused("GET", f"{NOTIFICATIONS}/{made['id']}", status=404)
    assert await alice.result("GET", f"{NOTIFICATIONS}/") == []


async def test_it_is_a_subscription_like_any_other(alice: Tapis) -> None:
    made = await alice.add(URL, policy={"retryStrategy": "DELAYED", "retryRate": 7, "retryDelay": 7})

    [subscription] = (await alice.native.get("/v1/subscriptions"))["items"]

    assert subscription["events"] == ["FINISHED"]
    assert (subscription["job_id"], subscription["owner"], subscription["subscriber"]) == (
        JOB,
        "alice",
        "alice",
    )
    assert subscription["retry"]["strategy"] == "delayed"
    assert subscription["retry"]["delay"] == 7
    await alice.native.patch(f"/v1/subscriptions/{subscription['id']}", {"retry": {"strategy": "none"}})
    shown = await alice.result("GET", f"{NOTIFICATIONS}/{made['id']}")
    assert shown["policy"]["retryStrategy"] == "NONE"


async def test_what_the_native_api_made_is_no_notification(alice: Tapis) -> None:
    made = await alice.native.subscribe(target={"kind": "webhook", "url": URL}, metadata={"tapis_v2": "mine"})
    digits = made["id"].removeprefix("sub_")

    assert await alice.result("GET", NOTIFICATIONS) == []
    await alice.refused("GET", f"{NOTIFICATIONS}/{digits[:16]}-{digits[16:]}-0001-011", status=404)


# Envelope and options


async def test_naked_pretty_and_filter_shape_the_answer(alice: Tapis) -> None:
    made = await alice.add(URL)
    path = f"{NOTIFICATIONS}/{made['id']}"

    assert (await alice.ask("GET", f"{path}?naked=true")).json == made
    pretty = (await alice.ask("GET", f"{path}?pretty=true")).body.decode()
    assert '\n  "status": "success",\n' in pretty
    filtered = await alice.result("GET", f"{path}?filter=id,policy.retryLimit,_links.self.href,nothing,url.x")
    assert filtered == {
        "id": made["id"],
        "policy": {"retryLimit": 5},
        "_links": {"self": made["_links"]["self"]},
    }
    assert (await alice.ask("GET", f"{NOTIFICATIONS}?naked=true&filter=event")).json == [
        {"event": "FINISHED"}
    ]


async def test_a_list_is_newest_first_and_goes_on_with_an_offset(service: Running, alice: Tapis) -> None:
    made = [await alice.add(f"{URL}/{n}") for n in range(5)]

    listed = await alice.result("GET", f"{NOTIFICATIONS}/?limit=2&offset=1")

    assert [one["id"] for one in listed] == [made[3]["id"], made[2]["id"]]
    assert listed[0] == {
        "id": made[3]["id"],
        "url": f"{URL}/3",
        "associatedUuid": JOB,
        "event": "FINISHED",
        "_links": {
            "self": made[3]["_links"]["self"],
            "profile": {"href": f"{service.url}/profiles/v2/alice"},
            "job": made[3]["_links"]["job"],
        },
    }
    assert len(await alice.result("GET", f"{NOTIFICATIONS}?limit=100000")) == 5


SEARCHES = {
    "associatedUuid=job-1": {"a"},
    "associatedUuid.neq=job-1": {"b", "c"},
    "event.eq=FAILED": {"b"},
    "event=failed": {"b"},
    "event.in=FAILED,RUNNING": {"b", "c"},
    "event.nin=FAILED,RUNNING": {"a"},
    "url.like=*/a": {"a"},
    "url.like=127.0.0.1": {"a", "b", "c"},
    "url.nlike=*/a": {"b", "c"},
    "persistent=true": {"c"},
    "policy.retryLimit.gt=5": {"b"},
    "policy.retryLimit.between=0,5": {"a", "c"},
    "policy.retryStrategy=exponential": {"b"},
    "created.after=2020-01-01": {"a", "b", "c"},
    "created.before=2020-01-01T00:00:00.000-05:00": set(),
    "status=ACTIVE&event.neq=FINISHED": {"b", "c"},
    "status.neq=active": set(),
    "owner=alice": {"a", "b", "c"},
}


async def test_search_terms_select_notifications(alice: Tapis) -> None:
    await alice.add(f"{URL}/a", associatedUuid="job-1")
    await alice.add(f"{URL}/b", event="FAILED", policy={"retryStrategy": "EXPONENTIAL", "retryLimit": 9})
    await alice.add(f"{URL}/c", event="RUNNING", persistent=True)

    found = {terms: await alice.result("GET", f"{NOTIFICATIONS}/?{terms}") for terms in SEARCHES}

    assert {terms: {one["url"][-1] for one in items} for terms, items in found.items()} == SEARCHES


# What was given up


async def test_what_was_given_up_has_failed_and_its_attempt_is_kept_when_asked(
    alice: Tapis, receiver: Receiver
) -> None:
    receiver.answer = failing
    policy = {"retryStrategy": "IMMEDIATE", "retryLimit": 2, "saveOnFailure": True}
    made = await alice.add(f"{receiver.url}/x", event="*", persistent=True, policy=policy)
    await alice.publish("RUNNING")
    path = f"{NOTIFICATIONS}/{made['id']}"

    shown = await until(alice, made["id"], lambda shown: shown["status"] == "FAILED")

    assert (shown["success"], shown["attempts"], shown["responseCode"]) == (False, 3, 500)
    assert len(receiver.arrived) == 3
    [attempt] = await alice.result("GET", f"{path}/attempts")
    assert attempt["id"] == receiver.arrived[-1].headers["x-agave-delivery"]
    assert attempt == {
        "id": attempt["id"],
        "url": f"{receiver.url}/x",
        "event": "RUNNING",
        "associatedUuid": JOB,
        "notificationId": made["id"],
        "startTime": attempt["startTime"],
        "endTime": shown["lastSent"],
        "response": {"code": 500, "message": attempt["response"]["message"]},
        "_links": {
            "self": {"href": f"{made['_links']['attempts']['href']}/{attempt['id']}"},
            "notification": made["_links"]["self"],
            "profile": made["_links"]["owner"],
            "job": made["_links"]["job"],
        },
    }
    assert "500" in attempt["response"]["message"]
    assert await alice.result("GET", f"{path}/attempts/{attempt['id']}") == attempt
    assert [one["id"] for one in await alice.result("GET", f"{NOTIFICATIONS}?status=FAILED")] == [made["id"]]


async def test_attempts_that_were_removed_are_shown_no_more_and_new_ones_are(
    alice: Tapis, receiver: Receiver
) -> None:
    receiver.answer = failing
    policy = {"retryStrategy": "NONE", "saveOnFailure": True}
    made = await alice.add(f"{receiver.url}/", event="*", persistent=True, policy=policy)
    path = f"{NOTIFICATIONS}/{made['id']}/attempts"
    for name in ("STAGED", "QUEUED", "RUNNING"):
        await alice.publish(name)
    await attempts(alice, path, 3)

    newest, middle, _ = await alice.result("GET", path)
    assert await alice.result("DELETE", f"{path}/{middle['id']}") == {}
    await alice.refused("GET", f"{path}/{middle['id']}", status=404)
    assert middle not in await attempts(alice, path, 2)
    assert await alice.result("DELETE", path) == {}
    assert await alice.result("GET", path) == []
    await alice.refused("GET", f"{path}/{newest['id']}", status=404)
    await alice.publish("FINISHED")
    [later] = await attempts(alice, path, 1)
    assert later["event"] == "FINISHED"
    assert len((await alice.native.get("/v1/deliveries?state=exhausted"))["items"]) == 4


async def test_without_save_on_failure_no_attempt_is_shown(alice: Tapis, receiver: Receiver) -> None:
    receiver.answer = failing
    made = await alice.add(f"{receiver.url}/", persistent=True, policy={"retryStrategy": "NONE"})
    await alice.publish()
    await until(alice, made["id"], lambda shown: shown["status"] == "FAILED")

    assert await alice.result("GET", f"{NOTIFICATIONS}/{made['id']}/attempts") == []


async def test_a_notification_can_be_fired_by_hand(alice: Tapis, receiver: Receiver) -> None:
    made = await alice.add(f"{receiver.url}/${{JOB_NAME}}", persistent=True)
    await alice.publish("RUNNING", job={"id": JOB, "name": "pyplot"})

    fired = await alice.result("POST", f"{NOTIFICATIONS}/{made['id']}/attempts")

    [arrived] = receiver.arrived
    assert (fired["event"], fired["response"]["code"]) == ("FORCED_EVENT", 204)
    assert fired["url"] == f"{receiver.url}/pyplot"
    assert arrived.path == "/pyplot"
    assert arrived.headers["x-agave-delivery"] == fired["id"]
    job = await alice.native.get(f"/v1/jobs/{JOB}")
    assert (job["events"], job["status"]) == (1, "RUNNING")


async def test_only_an_admin_sends_a_custom_event_or_message(
    admin: Tapis, alice: Tapis, receiver: Receiver
) -> None:
    made = await alice.add(f"{receiver.url}/", event="*")
    path = f"{NOTIFICATIONS}/{made['id']}/attempts"

    await alice.refused("POST", path, {"event": "FINISHED"}, 403)
    await alice.refused("POST", path, {"message": {"a": 1}}, 403)
    await admin.result("POST", path, {"event": "FINISHED", "message": {"a": 1}})

    [arrived] = receiver.arrived
    assert decoded(arrived.body) == {"id": JOB, "owner": "admin", "a": 1, "status": "FINISHED"}


# Who may do what


async def test_somebody_elses_notification_is_forbidden(alice: Tapis, bob: Tapis) -> None:
    made = await alice.add(URL)
    path = f"{NOTIFICATIONS}/{made['id']}"

    for method, body_ in (("GET", None), ("POST", body()), ("DELETE", None)):
        assert "does not have access" in await bob.refused(method, path, body_, 403)
    await bob.refused("POST", f"{path}/attempts", None, 403)
    assert await bob.result("GET", NOTIFICATIONS) == []


async def test_a_notification_for_somebody_elses_job_is_forbidden(admin: Tapis, bob: Tapis) -> None:
    await admin.publish("RUNNING", owner="alice")

    assert "belongs to somebody else" in await bob.refused("POST", NOTIFICATIONS, body(), 403)


async def test_only_an_admin_is_notified_of_every_job(admin: Tapis, alice: Tapis, receiver: Receiver) -> None:
    document = body(associatedUuid="*", url=f"{receiver.url}/")
    refusal = await alice.refused("POST", NOTIFICATIONS, document, 403)
    assert refusal == "Administrator permissions are required to set wildcard notifications."

    made = await admin.result("POST", NOTIFICATIONS, document, 201)
    await alice.publish()
    await receiver.count(1)

    assert (made["associatedUuid"], "job" in made["_links"]) == ("*", False)
    mine = await alice.add(URL)
    path = f"{NOTIFICATIONS}/{mine['id']}"
    assert await alice.refused("POST", path, document, 403) == refusal


async def test_a_key_is_needed_and_the_scope_to_subscribe(service: Running) -> None:
    assert "a key is needed" in await service.anonymous.refused("GET", NOTIFICATIONS, status=401)
    publisher = await service.caller("carol", "publish")
    assert "scope subscribe" in await publisher.refused("POST", NOTIFICATIONS, body(), 403)


# Bad input


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"persistant": True}, "Unknown property persistant. Did you mean persistent?"),
    ({"associated_uuid": "x"}, "Unknown property associated_uuid. Did you mean associatedUuid?"),
    ({"qqqqq": 1}, "Unknown property qqqqq. Valid values are: url, event, "),
    ({"policy": {"retryLimits": 1}}, "policy.retryLimits. Did you mean policy.retryLimit?"),
    ({"policy": {"retryLimit": 1441}}, "policy.retryLimit: expected 0 to 1440, got 1441"),
    ({"policy": {"retryLimit": "many"}}, 'policy.retryLimit: expected a whole number, got "many"'),
    ({"policy": {"retryRate": -1}}, "policy.retryRate: expected 0 to 86400, got -1"),
    ({"policy": {"retryDelay": 1}}, "policy.retryDelay: expected 0 with the retryStrategy IMMEDIATE"),
    ({"policy": {"retryStrategy": "DELAYED"}}, "policy.retryDelay: expected 1 or more"),
    ({"policy": {"retryStrategy": "SOMETIMES"}}, "expected one of NONE, IMMEDIATE, DELAYED, EXPONENTIAL"),
    ({"policy": []}, "policy: expected an object"),
    ({"event": ""}, "event: expected the name of an event"),
    ({"event": "JOB-DONE"}, "Event names must contain only letters, numbers and underscores"),
    ({"event": "A" * 33}, "event: expected at most 32 characters, got 33"),
    ({"event": 7}, "event: expected a text, got 7"),
    ({"event": ["é" * 100]}, 'event: expected a text, got ["é'),
    ({"associatedUuid": None}, "associatedUuid: expected the id of a job"),
    ({"associatedUuid": "x" * 65}, "associatedUuid: expected at most 64 characters"),
    ({"associatedUuid": "*-007"}, 'or "*" alone'),
    ({"associatedUuid": "123-abc-0001-006"}, "is no job: this service knows events of jobs only"),
    ({"url": "abc"}, "url: expected a web or e-mail address of 4 to 1024 characters, got 3"),
    ({"url": "agave://system/path"}, "url: expected an http or https URL, or an e-mail address"),
    ({"url": "http://${JOB_ID}.example.org/"}, "url: the variable JOB_ID"),
    ({"url": "http://10.0.0.1/"}, "url: blocked"),
    ({"persistent": "maybe"}, "persistent: expected true or false, got 'maybe'"),
]


async def test_what_is_wrong_is_said_with_the_property(alice: Tapis) -> None:
    said = [await alice.refused("POST", NOTIFICATIONS, body() | change) for change, _ in WRONG]

    assert [text for text, (_, message) in zip(said, WRONG, strict=True) if message not in text] == []


async def test_an_envelope_is_not_taken_for_what_stands_in_it(alice: Tapis) -> None:
    made = await alice.add(URL)
    envelope = {"status": "success", "message": None, "version": "2", "result": made}

    refusal = await alice.refused("POST", f"{NOTIFICATIONS}/{made['id']}", envelope)

    assert refusal == 'expected the notification itself, not its envelope: send what "result" holds'


NO_NOTIFICATIONS = [
    (b"", "application/json", "No notification object provided."),
    (b"[]", "application/json", "Notification should be a valid JSON object."),
    (b'{"url": ', "application/json", "Unable to parse the notification json description."),
    (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", "No notification found in upload form."),
    (b"nothing", "multipart/form-data", "No notification found in upload form."),
    (b"", "application/x-www-form-urlencoded", "No notification object provided."),
]


async def test_a_body_that_is_no_notification_is_refused(alice: Tapis) -> None:
    for sent, content_type, message in NO_NOTIFICATIONS:
        assert message in await alice.refused("POST", NOTIFICATIONS, sent, content_type=content_type)


MEANINGLESS = {
    "events=FINISHED": "events: Unknown search term. Did you mean event?",
    "event.near=FINISHED": "event.near: Unknown operator for event. Valid values are: eq, neq",
    "created.after=soon": "created.after: ",
    "policy.retryLimit.gt=x": "policy.retryLimit.gt: expected a whole number, got 'x'",
    "persistent=2": "persistent: expected true or false",
    "limit=-1": "limit: expected a whole number from 0 on, got '-1'",
    "offset=10001": "offset: expected at most 10000, got 10001",
    "event=A&event=B": "event: is given more than once",
}


async def test_a_query_that_means_nothing_is_refused(alice: Tapis) -> None:
    for query, message in MEANINGLESS.items():
        assert message in await alice.refused("GET", f"{NOTIFICATIONS}?{query}")


async def test_what_cannot_be_done_is_reported_in_an_envelope(alice: Tapis) -> None:
    made = await alice.add(URL)

    put = await alice.ask("PUT", f"{NOTIFICATIONS}/{made['id']}", body())
    assert (put.status, put.headers["Allow"], put.json["status"]) == (405, "DELETE, GET, POST", "error")
    await alice.refused("GET", f"{NOTIFICATIONS}/{made['id']}/nothing", status=404)
    await alice.refused("GET", f"{NOTIFICATIONS}/not-an-id", status=404)
    pretty = await alice.ask("GET", f"{NOTIFICATIONS}/not-an-id?pretty=true")
    assert b'\n  "status": "error",\n' in pretty.body


def body(**changes: Any) -> dict[str, Any]:
    """A notification as it is sent."""
    return {"associatedUuid": JOB, "event": "FINISHED", "url": URL} | changes


async def failing(_: Arrived) -> web.Response:
    """An answer that is no success."""
    return web.Response(status=500, text="no")


async def until(caller: Tapis, uuid: str, enough: Any) -> Any:
    """The notification once it is so: outcomes are written a little after their attempts."""
    while not enough(shown := await caller.result("GET", f"{NOTIFICATIONS}/{uuid}")):
        pass
    return shown


async def attempts(caller: Tapis, path: str, count: int) -> Any:
    """The attempts once there are so many."""
    while len(shown := await caller.result("GET", path)) != count:
        pass
    return shown
