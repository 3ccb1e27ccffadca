"""The callbacks of a Tethys portal, as a job's script calls them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from dispatcher.compat.tethys import callbacks
from dispatcher.compat.tethys.callback_tokens import CallbackTokens
from dispatcher.compat.tethys.plugin import Tethys
from dispatcher.compat.tethys.statuses import DASK_TO_TETHYS
from dispatcher.domain.event_names import TETHYS_EVENTS
from tests.api.conftest import Api, Caller, opened, serving

SECRET = "a-secrets-key-for-the-tests-of-32-characters"


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    """Yield the API with the routes of Tethys."""
    plugin = Tethys(CallbackTokens([SECRET]))
    async with opened(sqlite_url) as store, serving(store, [plugin]) as running:
        yield running


@pytest.fixture
async def open_api(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Api]:
    """Yield the same, open to this machine."""
    url = f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'open.db')}"
    plugin = Tethys(CallbackTokens([SECRET], loopback=True))
    async with opened(url) as store, serving(store, [plugin]) as running:
        yield running


@pytest.fixture
async def alice(api: Api) -> Caller:
    """Return somebody who may publish and subscribe."""
    return await api.caller("alice", "publish", "subscribe")


async def token(caller: Caller, job: str = "27") -> dict[str, str]:
    """What the holder of a key gets for a job."""
    found: dict[str, str] = await caller.post(f"/update-job-status/{job}/token/")
    return found


async def only_event(caller: Caller) -> Any:
    (event,) = (await caller.get("/v1/events"))["items"]
    return await caller.get(f"/v1/events/{event['id']}")


async def test_a_job_that_calls_back_makes_an_event_of_the_keys_owner(api: Api, alice: Caller) -> None:
    given = await token(alice)
    answer = await api.anonymous.get(given["job"])

    event = await only_event(alice)
    assert answer == {"success": True}
    assert (event["event"], event["job_id"], event["owner"]) == ("UPDATED", "27", "alice")
    assert (event["source"], event["tenant"]) == ("/tethys", "default")


@pytest.mark.parametrize(
    ("status", "event"), [*TETHYS_EVENTS.items(), ("COM", "FINISHED"), ("ABT", "KILLED")]
)
async def test_a_status_of_tethys_becomes_its_event(api: Api, alice: Caller, status: str, event: str) -> None:
    given = await token(alice)
    assert await api.anonymous.get(f"{given['job']}&status={status}") == {"success": True}

    found = await only_event(alice)
    assert found["event"] == event
    assert found["document"]["data"]["data"] == {
        "status": {"COM": "Complete", "ABT": "Aborted"}.get(status, status)
    }


CODES = {
    "PEN": "Pending",
    "SUB": "Submitted",
    "RUN": "Running",
    "VAR": "Various",
    "PAS": "Paused",
    "COM": "Complete",
    "ERR": "Error",
    "ABT": "Aborted",
    "VCP": "Various-Complete",
    "RES": "Results-Ready",
    "OTH": "Other",
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [*CODES, *CODES.values()])
async def test_a_job_reports_each_status_of_tethys(api: Api, alice: Caller, status: str, method: str) -> None:
    given = await token(alice)
    reply = await api.anonymous.ask(method, given["report"] + status)

    assert (reply.status, reply.json) == (200, {"success": True})
    found = await only_event(alice)
    name = CODES.get(status, status)
    assert (found["event"], found["job_id"]) == (TETHYS_EVENTS[name], "27")
    assert found["document"]["data"]["data"] == {"status": name}


@pytest.mark.parametrize("path", ["job", "report"])
@pytest.mark.parametrize("status", CODES.values())
async def test_four_statuses_end_a_job(api: Api, alice: Caller, path: str, status: str) -> None:
    await alice.subscribe(events=["@terminal"])
    given = await token(alice)
    address = given[path] if path == "report" else f"{given[path]}&status="
    await api.anonymous.get(address + status)

    notified = len((await alice.get("/v1/deliveries"))["items"])
    assert notified == (status in ("Complete", "Error", "Aborted", "Various-Complete"))
    assert ((await alice.get("/v1/jobs/27"))["ended_at"] is not None) is bool(notified)


@pytest.mark.parametrize("status", ["", "&status=", "&status=bogus", "&status=complete"])
async def test_a_report_without_a_status_of_tethys_is_a_bad_request(
    api: Api, alice: Caller, status: str
) -> None:
    given = await token(alice)
    reply = await api.anonymous.ask("GET", given["report"].removesuffix("&status=") + status)

    assert (reply.status, reply.json["success"]) == (400, False)
    assert "expected one of Tethys's" in reply.json["error"]
    assert (await alice.get("/v1/events"))["items"] == []


@pytest.mark.parametrize(("late", "status"), [("Running", 409), ("Results-Ready", 409), ("Error", 200)])
async def test_a_report_does_not_revive_a_job_that_has_ended(
    api: Api, alice: Caller, late: str, status: int
) -> None:
    given = await token(alice)
    await api.anonymous.get(given["report"] + "Complete")
    reply = await api.anonymous.ask("GET", given["report"] + late)

    assert reply.status == status
    if status == 409:
        assert reply.json == {"success": False, "error": "job has already finished"}
    events = [event["event"] for event in (await alice.get("/v1/events"))["items"]]
    assert events == (["FINISHED"] if status == 409 else ["FAILED", "FINISHED"])


async def test_a_report_says_nothing_of_the_end_of_somebody_elses_job(api: Api, alice: Caller) -> None:
    await api.admin.publish("FINISHED", job_id="27", owner="bob")
    reply = await api.anonymous.ask("GET", (await token(alice))["report"] + "Running")

    assert reply.status == 403
    assert "finished" not in reply.json["error"]


@pytest.mark.parametrize("status", DASK_TO_TETHYS)
async def test_a_dask_job_tells_its_status(api: Api, alice: Caller, status: str) -> None:
    given = await token(alice, "fold-1f2e")
    assert await api.anonymous.get(given["dask"] + status) == {"success": True}

    found = await only_event(alice)
    assert (found["job_id"], found["event"]) == ("fold-1f2e", TETHYS_EVENTS[DASK_TO_TETHYS[status]])


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_slash_at_the_end_may_be_left_out(api: Api, alice: Caller, slash: str) -> None:
    given = await token(alice)
    query = given["job"].partition("?")[2]

    assert await api.anonymous.get(f"/update-job-status/27{slash}?{query}") == {"success": True}
    reported = await api.anonymous.get(f"/report-job-status/27{slash}?{query}&status=Running")
    assert reported == {"success": True}


@pytest.mark.parametrize("path", ["job", "dask"])
async def test_an_unknown_status_is_answered_as_a_portal_does(api: Api, alice: Caller, path: str) -> None:
    given = await token(alice)
    url = given[path] if "status=" in given[path] else given[path] + "&status="
    answer = await api.anonymous.get(url + "bogus")

    assert answer["success"] is False
    assert "'bogus'" in answer["error"]
    assert (await alice.get("/v1/events"))["items"] == []


async def test_a_subscriber_hears_of_it(api: Api, alice: Caller) -> None:
    await alice.subscribe(events=["FINISHED"])
    await api.anonymous.get((await token(alice))["job"] + "&status=Complete")

    (delivery,) = (await alice.get("/v1/deliveries"))["items"]
    assert (delivery["job_id"], delivery["event"]) == ("27", "FINISHED")


async def test_an_admins_token_leaves_a_job_to_the_owner_that_is_known(api: Api, alice: Caller) -> None:
    await api.admin.publish("RUNNING", job_id="27")
    operator = await api.caller("operator", "admin")
    await api.anonymous.get((await token(operator))["job"] + "&status=Error")

    events = (await alice.get("/v1/events"))["items"]
    assert [(event["event"], event["owner"]) for event in events] == [
        ("FAILED", "alice"),
        ("RUNNING", "alice"),
    ]


async def test_a_token_is_for_one_job_and_required(api: Api, alice: Caller) -> None:
    query = (await token(alice))["job"].partition("?")[2]
    paths = [
        "/update-job-status/27/",
        "/update-job-status/27/?token=",
        "/update-job-status/27/?token=key_0.x",
        "/update-job-status/27/?token=%C3%BC.%C3%BC",
        f"/update-job-status/28/?{query}",
        f"/update-job-status/27/?{query}x",
        "/report-job-status/27/?status=Complete",
        "/report-job-status/27/?token=key_0.x&status=Complete",
        f"/report-job-status/28/?{query}&status=Complete",
    ]
    for path in paths:
        reply = await api.anonymous.ask("GET", path)
        assert (reply.status, reply.json["success"]) == (403, False), path
    assert (await api.admin.get("/v1/events"))["items"] == []


async def test_a_token_ends_with_its_key(api: Api, alice: Caller) -> None:
    given = await token(alice)
    for key in (await api.admin.get("/v1/keys"))["items"]:
        await api.admin.ask("DELETE", f"/v1/keys/{key['id']}")

    assert (await api.anonymous.ask("GET", given["job"])).status == 403


async def test_a_token_signed_with_an_older_secret_is_good(api: Api, alice: Caller) -> None:
    (key,) = (await api.admin.get("/v1/keys"))["items"]
    older, newer = "o" * 32, "n" * 32
    made = CallbackTokens([older]).token(key["id"], "27")

    assert CallbackTokens([newer, older]).key_id(made, "27") == key["id"]
    assert CallbackTokens([newer]).key_id(made, "27") is None


async def test_the_admin_key_of_the_settings_gives_none(api: Api) -> None:
    reply = await api.admin.ask("POST", "/update-job-status/27/token/")

    assert reply.status == 403
    assert "make a key with the scope publish" in reply.json["detail"]


async def test_only_who_may_publish_gets_a_token(api: Api) -> None:
    reader = await api.caller("alice", "subscribe")

    assert (await reader.ask("POST", "/update-job-status/27/token/")).status == 403
    assert (await api.anonymous.ask("POST", "/update-job-status/27/token/")).status == 401


async def test_post_is_for_reports_alone(api: Api, alice: Caller) -> None:
    given = await token(alice)

    assert (await api.anonymous.ask("POST", given["job"])).status == 405
    assert (await api.anonymous.ask("POST", given["dask"] + "finished")).status == 405


async def test_a_job_id_that_is_none_is_refused(open_api: Api) -> None:
    reply = await open_api.anonymous.ask("GET", "/update-job-status/a%0Ab/")

    assert (reply.status, reply.json["success"]) == (400, False)
    assert reply.json["error"].startswith("job_id: ")


async def test_this_machine_needs_no_token_where_the_setting_says_so(open_api: Api) -> None:
    assert await open_api.anonymous.get("/update-job-status/27/?status=Complete") == {"success": True}

    event = await only_event(open_api.admin)
    assert (event["event"], event["owner"]) == ("FINISHED", None)


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip"])
async def test_what_a_proxy_passes_on_does_not_come_from_this_machine(open_api: Api, header: str) -> None:
    reply = await open_api.anonymous.ask("GET", "/update-job-status/27/", **{header: "192.0.2.1"})

    assert reply.status == 403


@pytest.mark.parametrize(
    ("remote", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False), ("2001:db8::1", False)],
)
def test_this_machine_is_known_by_the_address_that_calls(remote: str, here: bool) -> None:
    request = make_mocked_request("GET", "/update-job-status/27/").clone(remote=remote)

    assert callbacks._from_this_machine(request) is here


async def test_a_wrong_token_is_refused_on_this_machine_too(open_api: Api) -> None:
    assert (await open_api.anonymous.ask("GET", "/update-job-status/27/?token=x")).status == 403
