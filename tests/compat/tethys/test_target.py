"""Tethys targets against a portal that answers as tethys-platform 4.6 does; the real one is in tests/tethys."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiohttp import web

from dispatcher.compat.tethys.statuses import DASK_TO_TETHYS, EVENTS_TO_DASK
from dispatcher.compat.tethys.target import TethysKind, TethysTarget
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import EVENTS, TETHYS_EVENTS
from dispatcher.domain.ids import new_id
from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from tests.factories import make_event, make_subscription
from tests.receiver import Arrived, Receiver


@pytest.fixture
def portal(receiver: Receiver) -> Receiver:
    """Return a portal that has the job 27 and the Dask job k-1."""

    async def answer(arrived: Arrived) -> web.Response:
        if arrived.method != "GET":
            return web.Response(status=403, text="<h1>CSRF verification failed</h1>")
        path, _, query = arrived.path.partition("?")
        if not path.endswith("/"):
            return web.Response(status=301, headers={"Location": path + "/"})
        known = path == "/update-job-status/27/"
        known |= path == "/update-dask-job-status/k-1/" and query.removeprefix("status=") in DASK_TO_TETHYS
        return web.json_response({"success": known})

    receiver.answer = answer
    return receiver


async def sent(egress: Egress, portal: Receiver, event: dict[str, Any], /, **fields: Any) -> AttemptResult:
    """The answer to the delivery of an event to a target that passed the check."""
    target = {"kind": "tethys", "portal": portal.url, "job": "$<JOB_NAME>"} | fields
    kind = TethysKind(egress)
    kind.check(msgspec.convert(target, TethysTarget))
    return await kind.sender(make_subscription(target=target)).send(make_event(**event), new_id("dlv"), 1)


async def test_the_portal_is_asked_to_look_at_the_job_again(egress: Egress, portal: Receiver) -> None:
    answer = await sent(egress, portal, {"data": {"name": "27"}})

    assert answer == AttemptResult(
        request_line=f"GET {portal.url}/update-job-status/27/", status=200, body='{"success": true}'
    )
    (arrived,) = portal.arrived
    assert (arrived.method, arrived.path, arrived.body) == ("GET", "/update-job-status/27/", b"")


async def test_a_subscription_for_every_owner_sends_a_portal_nothing_that_only_an_owners_own_key_said(
    egress: Egress, portal: Receiver
) -> None:
    forged = make_event(owner="mallory", published_by="mallory", data={"name": "27"})
    target = {"kind": "tethys", "portal": portal.url, "job": "$<JOB_NAME>"}
    sender = TethysKind(egress).sender(make_subscription(target=target, owner="*"))
    answer = await sender.send(forged, new_id("dlv"), 1)
    assert (answer.permanent, "owner's own key" in str(answer.error), portal.arrived) == (True, True, [])


async def test_a_portal_may_be_served_below_a_path(egress: Egress, portal: Receiver) -> None:
    await sent(egress, portal, {"job_id": "27"}, portal=portal.url + "/tethys/", job="${JOB_ID}")

    assert portal.arrived[0].path == "/tethys/update-job-status/27/"


async def test_a_job_that_the_portal_does_not_know_is_a_failure_although_it_answers_200(
    egress: Egress, portal: Receiver
) -> None:
    answer = await sent(egress, portal, {"data": {"name": "28"}})

    assert (answer.status, answer.permanent) == (200, False)
    assert (answer.error or "").startswith("the portal did not take it: it has no such job")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("QUEUED", "pending"),
        ("RUNNING", "processing"),
        ("FINISHED", "finished"),
        ("KILLED", "processing-erred"),
    ],
)
async def test_a_dask_job_receives_its_status(
    egress: Egress, portal: Receiver, event: str, status: str
) -> None:
    answer = await sent(egress, portal, {"event": event, "job_id": "k-1"}, form="dask", job="$<JOB_ID>")

    assert answer.error is None
    assert portal.arrived[0].path == f"/update-dask-job-status/k-1/?status={status}"


@pytest.mark.parametrize(
    ("event", "fields", "problem"),
    [
        ({"event": "PAUSED"}, {"form": "dask", "job": "k-1"}, "Dask has no status for PAUSED"),
        ({"data": {"name": "a/../b"}}, {}, "the job becomes 'a/../b'"),
        ({"data": {"name": "ü"}}, {}, "the job becomes"),
        ({}, {}, "the job becomes ''"),
    ],
)
async def test_what_means_nothing_to_a_portal_is_not_sent(
    egress: Egress, portal: Receiver, event: dict[str, Any], fields: dict[str, str], problem: str
) -> None:
    answer = await sent(egress, portal, event, **fields)

    assert answer.permanent
    assert problem in (answer.error or "")
    assert portal.arrived == []


@pytest.mark.parametrize("status", [301, 403, 410, 500])
async def test_another_answer_is_a_failure_that_leaves_the_subscription(
    egress: Egress, portal: Receiver, status: int
) -> None:
    async def refuse(_: Arrived) -> web.Response:
        return web.Response(status=status, text='{"success": true}')

    portal.answer = refuse
    answer = await sent(egress, portal, {"data": {"name": "27"}})

    assert (answer.error or "").startswith(f"answered {status}")
    assert not answer.disable_subscription


async def test_a_portal_that_is_away_is_tried_again(hasty: Egress, portal: Receiver) -> None:
    answer = await sent(hasty, portal, {"data": {"name": "27"}}, portal="http://127.0.0.1:1")

    assert not answer.permanent
    assert "no connection to 127.0.0.1:1" in (answer.error or "")


def test_every_status_stands_for_an_event_and_every_word_of_dask_for_a_status() -> None:
    assert TETHYS_EVENTS.keys() >= set(DASK_TO_TETHYS.values())
    assert EVENTS.keys() >= set(TETHYS_EVENTS.values()) | set(EVENTS_TO_DASK)
    assert DASK_TO_TETHYS.keys() >= set(EVENTS_TO_DASK.values())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"portal": "https://127.0.0.1"}, "target.portal"),
        ({"portal": "https://${TENANT}.example.org"}, "target.portal"),
        ({"portal": "https://example.org/${TENANT}"}, "target.portal"),
        ({"portal": "https://example.org/?a=b"}, "target.portal"),
        ({"portal": "example.org"}, "target.portal"),
        ({"job": "a/b"}, "target.job"),
        ({"job": "${NOTHING}"}, "target.job"),
    ],
)
def test_what_cannot_work_is_refused_by_field(fields: dict[str, str], field: str) -> None:
    document = {"kind": "tethys", "portal": "https://example.org", "job": "$<JOB_NAME>"} | fields
    with pytest.raises(InvalidInput) as refused:
        TethysKind(Egress(Guard())).check(msgspec.convert(document, TethysTarget))

    assert refused.value.field == field


def test_a_portal_is_a_destination() -> None:
    target = TethysTarget(portal="https://Portal.example.org/tethys", job="1")
    kind = TethysKind(Egress(Guard()))

    assert kind.check(target) == "https://portal.example.org:443"
    assert kind.redact(target) == {
        "kind": "tethys",
        "portal": "https://Portal.example.org/tethys",
        "job": "1",
        "form": "job",
        "token": None,
    }
