"""Reports to a portal that answers as tethys-platform 4.6.1 does; the real one is in `test_portal.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from aiohttp import web

from dispatcher.compat.tethys.statuses import EVENTS_TO_DASK, EVENTS_TO_TETHYS
from dispatcher.compat.tethys.target import TethysKind, TethysTarget
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import EVENTS, TERMINAL, TETHYS_EVENTS, is_terminal
from dispatcher.domain.ids import new_id
from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from tests.e2e.service import Service
from tests.factories import make_event, make_subscription
from tests.receiver import Arrived, Receiver

TOKEN = "IjI3Ig:1x0abc:aW-5zZ_Wdx0Jq1T0c8yVx2h7eS9g"
TERMINAL_THERE = {"Complete", "Error", "Aborted", "Various-Complete", "Results-Ready"}


class Portal:
    """The portal's side: the job 27, and the status that was reported of it."""

    def __init__(self) -> None:
        self.status = "Pending"

    async def __call__(self, arrived: Arrived) -> web.Response:
        path, _, query = arrived.path.partition("?")
        given = dict(parse_qsl(query))
        assert (arrived.method, path) == ("GET", "/report-job-status/27/")
        if given.get("token") != TOKEN:
            return web.json_response({"success": False, "error": "invalid token"}, status=403)
        if given["status"] not in TETHYS_EVENTS:
            return web.json_response({"success": False, "error": "invalid status"}, status=400)
        if self.status in TERMINAL_THERE and given["status"] not in TERMINAL_THERE:
            return web.json_response({"success": False, "error": "job has already finished"}, status=409)
        self.status = given["status"]
        return web.json_response({"success": True, "nodes_applied": 0, "post_processing": True})


@pytest.fixture
def portal(receiver: Receiver) -> Portal:
    """Return a portal that answers where `receiver` is."""
    portal = Portal()
    receiver.answer = portal
    return portal


async def reported(
    egress: Egress, receiver: Receiver, event: dict[str, Any], /, **fields: Any
) -> AttemptResult:
    """The answer to the delivery of an event to a target that passed the check."""
    target = {"kind": "tethys", "portal": receiver.url, "job": "27", "form": "report"} | fields
    kind = TethysKind(egress)
    kind.check(msgspec.convert(target, TethysTarget))
    return await kind.sender(make_subscription(target=target)).send(make_event(**event), new_id("dlv"), 1)


WITH_TOKEN: dict[str, Any] = {"data": {"status_report_token": TOKEN}}


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        ({}, WITH_TOKEN),
        ({"token": TOKEN}, {}),
        ({"token": "${data.portal.token}"}, {"data": {"portal": {"token": TOKEN}}}),
    ],
    ids=["from the event", "of the target", "of a template"],
)
async def test_the_status_is_reported_with_the_token_of_the_job(
    egress: Egress, receiver: Receiver, portal: Portal, fields: dict[str, str], event: dict[str, Any]
) -> None:
    answer = await reported(egress, receiver, event, **fields)

    assert portal.status == "Complete"
    assert answer == AttemptResult(
        request_line=f"GET {receiver.url}/report-job-status/27/?token=***&status=Complete",
        status=200,
        body='{"success": true, "nodes_applied": 0, "post_processing": true}',
    )


@pytest.mark.parametrize("event", EVENTS_TO_TETHYS)
async def test_each_event_with_a_status_sets_it(
    egress: Egress, receiver: Receiver, portal: Portal, event: str
) -> None:
    answer = await reported(egress, receiver, WITH_TOKEN | {"event": event})

    assert answer.error is None
    assert portal.status == EVENTS_TO_TETHYS[event]
    # Nothing but the end of a job may end it there.
    assert (portal.status in TERMINAL_THERE) is is_terminal(event)


def test_each_event_that_changes_a_dask_job_changes_others_too() -> None:
    assert EVENTS.keys() >= EVENTS_TO_TETHYS.keys() >= EVENTS_TO_DASK.keys() >= TERMINAL
    assert TETHYS_EVENTS.keys() >= set(EVENTS_TO_TETHYS.values())


async def test_a_token_is_encoded_as_part_of_a_query(
    egress: Egress, receiver: Receiver, portal: Portal
) -> None:
    answer = await reported(egress, receiver, {}, token="a&status=Error#ü")

    assert receiver.arrived[0].path == (
        "/report-job-status/27/?token=a%26status%3DError%23%C3%BC&status=Complete"
    )
    assert answer.permanent


async def test_a_status_that_comes_after_the_end_is_superseded_and_no_failure(
    egress: Egress, receiver: Receiver, portal: Portal
) -> None:
    portal.status = "Complete"
    answer = await reported(egress, receiver, WITH_TOKEN | {"event": "RUNNING"})

    assert portal.status == "Complete"
    assert (answer.status, answer.superseded, answer.not_attempted) == (409, True, False)
    assert answer.error == "the job has already finished in the portal, which keeps that"
    assert not answer.is_destination_failure


async def test_a_bad_token_is_said_in_words_and_not_sent_again(
    egress: Egress, receiver: Receiver, portal: Portal
) -> None:
    answer = await reported(egress, receiver, {}, token="IjI4Ig:bad:token")

    assert (answer.status, answer.permanent) == (403, True)
    assert answer.error == "the portal refuses the token: it is not that of job 27, or older than 30 days"


@pytest.mark.parametrize(
    ("status", "body", "error", "permanent"),
    [
        (404, {"success": False, "error": "no such job"}, "the portal has no job 27", True),
        (400, {"success": False, "error": "invalid status"}, "the portal refuses the status", True),
        (404, "<h1>Not Found</h1>", "the portal is older than 4.6.1", False),
        (403, "<h1>Forbidden</h1>", "answered 403 Forbidden", False),
        (409, "<h1>Conflict</h1>", "answered 409 Conflict", False),
        (410, "gone", "answered 410", False),
        (500, {"success": True}, "answered 500", False),
        (503, "away", "answered 503", False),
        (200, {"success": False}, "does not have the wanted value in success", False),
        (200, "<h1>Maintenance</h1>", "is not JSON", False),
    ],
)
async def test_what_a_portal_or_what_is_before_it_refuses(
    egress: Egress, receiver: Receiver, status: int, body: object, error: str, permanent: bool
) -> None:
    async def refuse(_: Arrived) -> web.Response:
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))

    receiver.answer = refuse
    answer = await reported(egress, receiver, WITH_TOKEN)

    assert error in (answer.error or "")
    assert (answer.status, answer.permanent, answer.superseded) == (status, permanent, False)
    assert not answer.disable_subscription


async def test_a_report_whose_results_could_not_be_processed_is_repeated_when_the_portal_heeds_it(
    egress: Egress, receiver: Receiver
) -> None:
    async def half(_: Arrived) -> web.Response:
        return web.json_response({"success": True, "nodes_applied": 0, "post_processing": False})

    receiver.answer = half
    answer = await reported(egress, receiver, WITH_TOKEN)

    assert "could not process the job's results" in (answer.error or "")
    assert (answer.permanent, answer.is_destination_failure) == (False, False)
    assert (answer.retry_after or 0) > 10


@pytest.mark.parametrize(
    ("event", "fields", "problem"),
    [
        ({}, {}, "the event has no ${data.status_report_token}"),
        (WITH_TOKEN | {"event": "HEARTBEAT"}, {}, "Tethys has no status for HEARTBEAT"),
        ({"data": {"status_report_token": "x" * 3000}}, {}, "has 3000 characters"),
        (WITH_TOKEN, {"job": "$<JOB_NAME>"}, "the job becomes ''"),
    ],
)
async def test_what_cannot_be_reported_is_not_sent(
    egress: Egress, receiver: Receiver, event: dict[str, Any], fields: dict[str, str], problem: str
) -> None:
    answer = await reported(egress, receiver, event, **fields)

    assert answer.permanent
    assert problem in (answer.error or "")
    assert receiver.arrived == []


@pytest.mark.parametrize("encoded", [False, True])
async def test_a_portal_that_repeats_the_token_does_not_bring_it_into_the_attempt(
    egress: Egress, receiver: Receiver, encoded: bool
) -> None:
    token = "a secret:token=="

    async def echo(arrived: Arrived) -> web.Response:
        return web.Response(status=502, text=arrived.path if encoded else token)

    receiver.answer = echo
    answer = await reported(egress, receiver, {"data": {"status_report_token": token}})

    assert "a%20secret" in receiver.arrived[0].path
    assert answer.body in ("***", "/report-job-status/27/?token=***&status=Complete")
    assert "secret" not in repr(answer)


async def test_a_portal_that_is_away_does_not_bring_the_token_into_the_attempt(
    hasty: Egress, receiver: Receiver
) -> None:
    answer = await reported(hasty, receiver, WITH_TOKEN, portal="http://127.0.0.1:1")

    assert not answer.permanent
    assert TOKEN not in repr(answer)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"form": "job", "token": TOKEN}, 'only the form "report" sends it'),
        ({"form": "dask", "token": TOKEN}, 'only the form "report" sends it'),
        ({"token": "***"}, "only stands for a credential where it is shown"),
        ({"token": "${NOTHING}"}, "NOTHING"),
    ],
)
def test_a_token_that_cannot_be_meant_is_refused(fields: dict[str, str], problem: str) -> None:
    document = {"kind": "tethys", "portal": "https://example.org", "job": "27", "form": "report"} | fields
    with pytest.raises(InvalidInput) as refused:
        TethysKind(Egress(Guard())).check(msgspec.convert(document, TethysTarget))

    assert refused.value.field == "target.token"
    assert problem in refused.value.problem


@pytest.mark.parametrize(
    ("token", "shown"), [(TOKEN, "***"), ("x${JOB_ID}", "***"), ("${data.t}", "${data.t}"), (None, None)]
)
def test_a_token_is_shown_when_it_is_nothing_but_variables(token: str | None, shown: str | None) -> None:
    target = TethysTarget(portal="https://example.org", job="27", form="report", token=token)
    kind = TethysKind(Egress(Guard()))

    assert kind.redact(target)["token"] == shown
    assert TOKEN not in repr(target)


def files_with(text: str, directory: Path) -> list[Path]:
    return [file for file in directory.iterdir() if text.encode() in file.read_bytes()]


async def test_a_token_of_the_target_is_sealed_and_shown_nowhere(
    tmp_path: Path, receiver: Receiver, portal: Portal
) -> None:
    url = f"sqlite:///{tmp_path / 'dispatcher.db'}"
    async with Service(tmp_path, database_url=url, log_level="debug") as service:
        target = {"kind": "tethys", "portal": receiver.url, "job": "27", "form": "report", "token": TOKEN}
        made = await service.subscribe("", target=target)
        path = f"/v1/subscriptions/{made['id']}"
        # What is shown may come back, as from a form.
        changed = await service.call(
            "PATCH", path, {"target": made["target"] | {"job": "${data.portal_job}"}}
        )
        trial = await service.call("POST", f"{path}/test")
        event = {"event": "FINISHED", "job_id": "j", "data": {"portal_job": "27"}}
        await service.call("POST", "/v1/events", event)
        await service.says("attempt")
        deliveries = (await service.call("GET", "/v1/deliveries"))["items"]
        seen = [await service.call("GET", f"/v1/deliveries/{one['id']}") for one in deliveries]
        seen += [made, changed, trial]
    assert portal.status == "Complete"
    assert changed["target"]["token"] == "***"
    assert TOKEN not in repr(seen)
    assert TOKEN not in repr(service.lines)
    assert not files_with(TOKEN, tmp_path)


async def test_a_token_in_an_event_is_shown_nowhere(
    tmp_path: Path, receiver: Receiver, portal: Portal
) -> None:
    url = f"sqlite:///{tmp_path / 'dispatcher.db'}"
    async with Service(tmp_path, database_url=url, log_level="debug") as service:
        target = {"kind": "tethys", "portal": receiver.url, "job": "$<JOB_NAME>", "form": "report"}
        await service.subscribe("", target=target)
        event = {"event": "FINISHED", "job_id": "j", "job": {"name": "27"}} | WITH_TOKEN
        accepted = await service.call("POST", "/v1/events", event)
        await service.says("attempt")
        seen = [await service.call("GET", f"/v1/events/{key}") for key in accepted["ids"]]
        seen += [await service.call("GET", f"/v1/deliveries/{one['id']}") for one in seen[0]["deliveries"]]
        seen.append(await service.call("GET", "/v1/jobs/j"))
    assert portal.status == "Complete"
    assert len(seen) == 3
    assert TOKEN not in repr(seen)
    assert TOKEN not in repr(service.lines)
