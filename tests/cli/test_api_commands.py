"""The commands that ask the API, against a service that runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import chain
from pathlib import Path
from queue import Queue
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from dispatcher.domain.ids import new_id
from tests.cli.conftest import Result, Run
from tests.cli.processes import started
from tests.environment import environment
from tests.receiver import Arrived, Receiver

KEY = "0123456789abcdef0123456789abcdef"

Cli = Callable[..., Awaitable[Result]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service on SQLite that may deliver to loopback."""
    settings = {
        "DISPATCHER_HTTP_PORT": "0",
        "DISPATCHER_AUTH_ADMIN_KEY": KEY,
        "DISPATCHER_NETWORK_ALLOW": "127.0.0.0/8",
        "DISPATCHER_SMTP_URL": "smtp://127.0.0.1:9",
        "DISPATCHER_SMTP_TRUSTED_DOMAINS": "example.org",
        "DISPATCHER_LOG_FORMAT": "json",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "dispatcher", "serve"],
        cwd=tmp_path_factory.mktemp("service"),
        env=environment(settings),
        stderr=subprocess.PIPE,
    )
    urls: Queue[str] = Queue()
    reader = threading.Thread(target=_read, args=(process, urls))
    reader.start()
    yield urls.get(timeout=30)
    process.terminate()
    assert process.wait(30) == 0
    reader.join()


def _read(process: subprocess.Popen[bytes], urls: Queue[str]) -> None:
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            said = json.loads(line)
            if said["event"] == "serving":
                urls.put(said["url"])


@pytest.fixture
def cli(run: Run, server: str) -> Cli:
    """Return a function that runs a command with the admin's key."""

    async def cli(*arguments: str, stdin: bytes = b"", **settings: str) -> Result:
        where = {"DISPATCHER_SERVER": server, "DISPATCHER_KEY": KEY} | settings
        return await asyncio.to_thread(run, *arguments, stdin=stdin, **where)

    return cli


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
def job_id() -> str:
    """A job of this test's own."""
    return f"job-{new_id('evt')}"


async def subscribe(cli: Cli, url: str, *arguments: str) -> dict[str, Any]:
    made = await cli("subscriptions", "add", "--url", url, "--json", *arguments)
    assert made.code == 0, made.err
    found: dict[str, Any] = made.json
    return found


async def exhausted(cli: Cli, receiver: Receiver, job_id: str) -> dict[str, Any]:
    """A delivery that was given up."""
    await subscribe_without_retries(cli, f"{receiver.url}/hook", job_id)
    receiver.answer = failing
    assert (await cli("publish", "--event", "FINISHED", "--job-id", job_id)).code == 0
    await receiver.count(1)
    while not (
        found := (await cli("deliveries", "list", "--job-id", job_id, "--state", "exhausted", "--json")).json
    ):
        pass
    delivery: dict[str, Any] = found[0]
    return delivery


async def failing(_: Arrived) -> web.Response:
    return web.Response(status=500, text="\x1b]0;oh\x07")


async def subscribe_without_retries(cli: Cli, url: str, job_id: str) -> dict[str, Any]:
    document = {
        "events": ["*"],
        "job_id": job_id,
        "target": {"kind": "webhook", "url": url},
        "retry": {"strategy": "none"},
    }
    made = await cli("subscriptions", "add", "--file", "-", "--json", stdin=json.dumps(document).encode())
    assert made.code == 0, made.err
    found: dict[str, Any] = made.json
    return found


# Subscriptions


async def test_a_subscription_is_made_from_options_and_its_secret_shown(cli: Cli, job_id: str) -> None:
    options = {
        "--url": "http://127.0.0.1:9/$<JOB_ID>",
        "--events": "FINISHED,FAILED",
        "--name": "mine",
        "--job-id": job_id,
        "--owner": "alice",
        "--method": "PUT",
        "--header": "X-Job: ${JOB_ID}",
        "--body": '{"job": "${JOB_ID}"}',
    }
    made = await cli("subscriptions", "add", "--once", *chain(*options.items()))
    assert made.code == 0, made.err
    fields = dict(line.split(None, 1) for line in made.out.splitlines())
    assert fields["secret"].startswith("whsec_")
    shown = (await cli("subscriptions", "show", fields["id"], "--json")).json
    assert shown["events"] == ["FINISHED", "FAILED"]
    assert (shown["name"], shown["job_id"], shown["owner"]) == ("mine", job_id, "alice")
    assert shown["persistent"] is False
    assert shown["target"]["method"] == "PUT"
    assert shown["target"]["headers"] == {"X-Job": "${JOB_ID}"}
    assert shown["target"]["body"] == {"job": "${JOB_ID}"}


async def test_subscriptions_are_listed_for_people_and_for_machines(cli: Cli, job_id: str) -> None:
    made = await subscribe(cli, "http://127.0.0.1:9/", "--job-id", job_id)
    listed = await cli("subscriptions", "list", "--job-id", job_id)
    assert made["id"] in listed.out
    assert "active" in listed.out
    as_json = (await cli("subscriptions", "list", "--job-id", job_id, "--json")).json
    assert [item["id"] for item in as_json] == [made["id"]]
    assert "secret" not in as_json[0]


async def test_a_subscription_is_shown_paused_resumed_and_removed(cli: Cli, job_id: str) -> None:
    id = (await subscribe(cli, "http://127.0.0.1:9/", "--job-id", job_id))["id"]
    for command, status in (("pause", "paused"), ("resume", "active")):
        assert (await cli("subscriptions", command, id)).code == 0
        assert (await cli("subscriptions", "show", id, "--json")).json["status"] == status
    assert (await cli("subscriptions", "remove", id)).code == 0
    gone = await cli("subscriptions", "show", id)
    assert gone.code == 1
    assert gone.err.startswith("dispatcher: refused with 404: ")


async def test_a_recipient_gets_mail_again(cli: Cli, job_id: str) -> None:
    document = {
        "events": ["FINISHED"],
        "job_id": job_id,
        "target": {"kind": "email", "to": ["ann@example.org"]},
    }
    made = await cli("subscriptions", "add", "--file", "-", "--json", stdin=json.dumps(document).encode())
    restored = await cli("subscriptions", "restore", made.json["id"], "Ann@example.org")
    assert restored.code == 0, restored.err
    assert "ann@example.org" in restored.out
    assert "active" in restored.out
    unknown = await cli("subscriptions", "restore", made.json["id"], "bob@example.org")
    assert unknown.code == 1
    assert "has no recipient 'bob@example.org'" in unknown.err


async def test_a_subscription_is_tried_on_events(cli: Cli, job_id: str) -> None:
    for code in ("0", "3"):
        published = await cli(
            "publish", "--event", "FAILED", "--job-id", job_id, "--data", f'{{"code": {code}}}'
        )
        assert published.code == 0, published.err
    of_job = ("subscriptions", "try", "--job-id", job_id)
    found = await cli(*of_job, "--filter", '{"data": {"code": {"gt": 0}}}')
    assert found.code == 0, found.err
    assert [line.split()[2] for line in found.out.splitlines()[2:]] == ["yes", "no"]
    assert "code is 0, expected more than 0" in found.out
    none = await cli(*of_job, "--events", "FINISHED", "--json")
    assert (none.code, none.json["matched"], len(none.json["items"])) == (1, 0, 2)
    given = await cli(
        *of_job, "--event", "-", stdin=json.dumps({"event": "FAILED", "job_id": job_id}).encode()
    )
    assert given.code == 0, given.err
    wrong = await cli(*of_job, "--filter", "event=FAILED")
    assert (wrong.code, "expected a JSON object" in wrong.err) == (2, True)


async def test_a_target_is_tried(cli: Cli, receiver: Receiver, job_id: str) -> None:
    id = (await subscribe(cli, receiver.url, "--job-id", job_id))["id"]
    tried = await cli("subscriptions", "test", id)
    assert tried.code == 0
    assert "204" in tried.out
    assert len(receiver.arrived) == 1
    receiver.answer = failing
    failed = await cli("subscriptions", "test", id, "--json")
    assert failed.code == 1
    assert failed.json["status"] == 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either --url or --file"),
        (["--url", "http://x/", "--file", "-"], "expected either --url or --file"),
        (["--file", "-", "--once"], "expected no other option beside it"),
        (["--file", "missing.json"], "missing.json cannot be read"),
        (["--file", "-"], "expected a JSON object"),
        (["--url", "http://x/", "--header", "X-Job"], "expected 'NAME: VALUE', got 'X-Job'"),
    ],
)
async def test_a_wrong_call_is_explained(cli: Cli, arguments: list[str], message: str) -> None:
    result = await cli("subscriptions", "add", *arguments, stdin=b"[]")
    assert result.code == 2
    assert message in result.err


async def test_a_refusal_names_the_field_and_what_would_be_right(cli: Cli) -> None:
    result = await cli("subscriptions", "add", "--url", "https://example.org/$<JOB_IDD>")
    assert result.code == 1
    assert result.err.startswith("dispatcher: refused with 400: target.url: ")
    assert "JOB_ID" in result.err


async def test_a_wrong_key_is_reported_with_where_keys_come_from(cli: Cli) -> None:
    result = await cli("subscriptions", "list", DISPATCHER_KEY="wrong")
    assert result.code == 1
    assert "refused with 401" in result.err
    assert "DISPATCHER_KEY" in result.err


async def test_without_its_own_key_a_command_takes_the_admins(cli: Cli, server: str, run: Run) -> None:
    result = await asyncio.to_thread(
        run, "keys", "list", DISPATCHER_SERVER=server, DISPATCHER_AUTH_ADMIN_KEY=KEY
    )
    assert result.code == 0


# Events and jobs


async def test_an_event_is_published_listed_shown_and_replayed(
    cli: Cli, receiver: Receiver, job_id: str
) -> None:
    await subscribe(cli, receiver.url, "--job-id", job_id, "--name", "the portal")
    options = ["--event", "FINISHED", "--job-id", job_id, "--owner", "alice", "--message", "done"]
    published = await cli("publish", *options)
    assert (published.code, published.err) == (0, "Events published: 1.\n")
    await receiver.count(1)
    (listed,) = (await cli("events", "list", "--job-id", job_id, "--since", "1h", "--json")).json
    assert (listed["event"], listed["owner"], listed["deliveries"]) == ("FINISHED", "alice", 1)
    shown = await cli("events", "show", listed["id"])
    assert "the portal" in shown.out
    assert '"message": "done"' in shown.out
    assert (await cli("events", "show", listed["id"], "--json")).json["id"] == listed["id"]
    replayed = await cli("events", "replay", listed["id"])
    assert replayed.err == "New deliveries: 1.\n"
    assert replayed.out.startswith("dlv_")
    await receiver.count(2)


async def test_events_go_to_the_server_in_batches_and_duplicates_are_reported(cli: Cli, job_id: str) -> None:
    lines = [{"event": "RUNNING", "job_id": job_id, "id": f"{job_id}-{number}"} for number in range(1200)]
    lines.append(lines[0])
    text = "\n".join(map(json.dumps, lines)).encode()
    assert (
        await cli("publish", "-", stdin=text)
    ).err == "Events published: 1201, of them known already: 1.\n"
    assert len((await cli("events", "list", "--job-id", job_id, "--limit", "700", "--json")).json) == 700


async def test_a_refused_batch_names_the_line(cli: Cli, job_id: str) -> None:
    lines = [
        {"event": "RUNNING", "job_id": job_id},
        {},
        {"event": "RUNNING", "job_id": job_id, "tenant": "other"},
    ]
    text = "\n".join(json.dumps(line) if line else "" for line in lines).encode()
    result = await cli("publish", "-", stdin=text)
    assert result.code == 1
    assert "line 3: tenant: expected 'default'" in result.err
    assert "published for certain: 0" in result.err


async def test_jobs_are_listed_and_shown_with_their_history(cli: Cli, job_id: str) -> None:
    for event in ("RUNNING", "FINISHED"):
        await cli("publish", "--event", event, "--job-id", job_id, "--owner", job_id)
    (job,) = (await cli("jobs", "list", "--owner", job_id, "--json")).json
    assert (job["id"], job["status"]) == (job_id, "FINISHED")
    assert job_id in (await cli("jobs", "list", "--status", "FINISHED")).out
    assert "FINISHED" in (await cli("jobs", "show", job_id)).out
    history = (await cli("jobs", "history", job_id, "--json")).json
    assert [item["event"] for item in history] == ["RUNNING", "FINISHED"]
    assert "Job complete" in (await cli("jobs", "history", job_id)).out


async def test_an_operator_names_the_tenant_whose_items_are_shown(cli: Cli, job_id: str) -> None:
    made = (
        await cli(
            *("keys", "create", "--owner", "root", "--scopes", "admin", "--tenant", job_id, "--json"),
        )
    ).json
    await cli("subscriptions", "add", "--url", "http://127.0.0.1:9/", "--key", made["key"])
    await cli("publish", "--event", "FINISHED", "--job-id", job_id, "--key", made["key"])
    for command in ("events", "jobs", "deliveries"):
        shown = await cli(command, "list", "--tenant", job_id, "--json")
        (one,) = shown.json
        assert job_id in (one["id"], one.get("job_id"))
        assert (await cli(command, "show", one["id"], "--tenant", job_id)).code == 0
    (subscription,) = (await cli("subscriptions", "list", "--tenant", job_id, "--json")).json
    assert (await cli("subscriptions", "show", subscription["id"], "--tenant", job_id)).code == 0
    assert "FINISHED" in (await cli("jobs", "history", job_id, "--tenant", job_id)).out
    assert (await cli("wait", job_id, "--tenant", job_id, "--timeout", "5s")).code == 0
    assert job_id in (await cli("jobs", "list", "--tenant", "*")).out

    nothing = await cli("jobs", "list", "--owner", "unknown")
    assert (nothing.out, nothing.err.startswith("No jobs.\n  this is of the tenant default only")) == (
        "",
        True,
    )
    missing = await cli("jobs", "show", job_id)
    assert "name one with tenant" in missing.err


async def test_an_id_is_one_segment_of_the_path(cli: Cli) -> None:
    result = await cli("jobs", "show", "../keys?limit=1")
    assert result.code == 1
    assert "refused with 404" in result.err


async def test_an_empty_list_is_reported_on_stderr_and_is_an_empty_array_in_json(cli: Cli) -> None:
    empty = await cli("deliveries", "list", "--job-id", "unknown")
    assert (empty.code, empty.out, empty.err.partition("\n")[0]) == (0, "", "No deliveries.")
    assert (await cli("deliveries", "list", "--job-id", "unknown", "--json")).json == []


async def test_a_time_that_is_none_is_refused_with_examples(cli: Cli) -> None:
    result = await cli("events", "list", "--since", "yesterday")
    assert result.code == 2
    assert "expected an age such as 90m, 12h or 7d" in " ".join(result.err.split())


# Deliveries


async def test_a_delivery_is_shown_with_its_attempts(cli: Cli, receiver: Receiver, job_id: str) -> None:
    delivery = await exhausted(cli, receiver, job_id)
    shown = await cli("deliveries", "show", delivery["id"])
    assert "exhausted" in shown.out
    assert f"POST {receiver.url}/hook" in shown.out
    assert "500" in shown.out
    assert "\x1b" not in shown.out
    attempts = (await cli("deliveries", "show", delivery["id"], "--json")).json["latest_attempts"]
    assert [attempt["status"] for attempt in attempts] == [500]
    assert delivery["id"] in (await cli("deliveries", "list", "--state", "exhausted", "--job-id", job_id)).out


async def test_one_delivery_is_sent_again(cli: Cli, receiver: Receiver, job_id: str) -> None:
    delivery = await exhausted(cli, receiver, job_id)
    assert (await cli("deliveries", "retry", delivery["id"])).code == 0
    arrived = await receiver.until(lambda arrived: len(arrived) == 2)
    assert {request.id for request in arrived} == {delivery["id"]}


async def test_many_deliveries_are_counted_and_sent_again(cli: Cli, receiver: Receiver, job_id: str) -> None:
    await exhausted(cli, receiver, job_id)
    which = ["--state", "exhausted", "--job-id", job_id]
    counted = await cli("deliveries", "retry", *which, "--dry-run")
    assert counted.err == "Deliveries that would be sent again: 1.\n"
    assert len(receiver.arrived) == 1
    assert (await cli("deliveries", "retry", *which)).err == "Deliveries that are sent again: 1.\n"
    await receiver.until(lambda arrived: len(arrived) == 2)


@pytest.mark.parametrize("arguments", [[], ["dlv_1", "--state", "exhausted"], ["dlv_1", "--job-id", "1"]])
async def test_a_retry_is_of_one_or_of_many(cli: Cli, arguments: list[str]) -> None:
    assert (await cli("deliveries", "retry", *arguments)).code == 2


async def test_a_delivery_that_waits_is_cancelled(cli: Cli, job_id: str) -> None:
    subscription = await subscribe(cli, "http://127.0.0.1:9/", "--job-id", job_id)
    await cli("subscriptions", "pause", subscription["id"])
    await cli("publish", "--event", "FINISHED", "--job-id", job_id)
    (delivery,) = (await cli("deliveries", "list", "--subscription", subscription["id"], "--json")).json
    assert (await cli("deliveries", "cancel", delivery["id"])).code == 0
    assert (await cli("deliveries", "show", delivery["id"], "--json")).json["state"] == "cancelled"
    again = await cli("deliveries", "cancel", delivery["id"])
    assert again.code == 1
    assert "refused with 409" in again.err


# Keys


async def test_a_key_is_made_works_and_is_removed(cli: Cli) -> None:
    made = await cli("keys", "create", "--owner", "alice", "--scopes", "publish,subscribe", "--name", "hers")
    key = made.out.strip()
    assert key.startswith("dspk_")
    assert key not in made.err
    assert (await cli("subscriptions", "list", DISPATCHER_KEY=key)).code == 0
    assert (await cli("keys", "list", DISPATCHER_KEY=key)).code == 1
    (id,) = [item["id"] for item in (await cli("keys", "list", "--json")).json if item["name"] == "hers"]
    assert id in (await cli("keys", "list")).out
    assert (await cli("keys", "remove", id)).code == 0
    assert (await cli("subscriptions", "list", DISPATCHER_KEY=key)).code == 1


# Listening


async def test_listen_prints_events_live_and_leaves_nothing_behind(
    cli: Cli, server: str, tmp_path: Path, job_id: str
) -> None:
    where = {"DISPATCHER_SERVER": server, "DISPATCHER_KEY": KEY}
    async with started(tmp_path, "listen", "--job-id", job_id, "--json", **where) as listening:
        (subscription,) = (await cli("subscriptions", "list", "--job-id", job_id, "--json")).json
        assert subscription["expires_at"] is not None
        await cli("publish", "--event", "RUNNING", "--job-id", job_id)
        await cli("publish", "--event", "FINISHED", "--job-id", job_id)
        lines = [await listening.line(), await listening.line()]
        assert await listening.rest() == ""
    assert {line["body"]["type"] for line in lines} == {"job.RUNNING", "job.FINISHED"}
    assert {line["signature"] for line in lines} == {"good"}
    assert (await cli("subscriptions", "list", "--job-id", job_id, "--json")).json == []


async def test_listen_shows_people_the_event_the_job_its_owner_and_the_message(
    cli: Cli, server: str, tmp_path: Path, job_id: str
) -> None:
    where = {"DISPATCHER_SERVER": server, "DISPATCHER_KEY": KEY}
    async with started(tmp_path, "listen", "--job-id", job_id, "--events", "FINISHED", **where) as listening:
        await cli(
            "publish",
            "--event",
            "FINISHED",
            "--job-id",
            job_id,
            "--owner",
            "alice",
            "--message",
            "done\x1b[0m",
        )
        shown = await listening.text()
    assert shown.split("Z  ", 1)[1] == f"FINISHED  {job_id}  alice  done\\x1b[0m\n"


async def test_listen_takes_nothing_that_is_not_signed_for_it(
    cli: Cli, server: str, tmp_path: Path, job_id: str
) -> None:
    where = {"DISPATCHER_SERVER": server, "DISPATCHER_KEY": KEY}
    async with started(tmp_path, "listen", "--job-id", job_id, "--json", **where) as listening:
        async with aiohttp.ClientSession() as session, session.post(listening.url, data=b"{}") as answer:
            assert answer.status == 401
        assert await listening.rest() == ""


async def test_listen_refuses_a_way_on_which_the_server_cannot_reach_it(cli: Cli, job_id: str) -> None:
    result = await cli("listen", "--job-id", job_id, "--url", "http://127.0.0.1:1")
    assert result.code == 1
    assert "the server cannot reach this command: " in result.err
    assert "DISPATCHER_NETWORK_ALLOW=127.0.0.0/8" in result.err
    assert (await cli("subscriptions", "list", "--job-id", job_id, "--json")).json == []


async def test_listen_refuses_an_address_that_the_server_may_not_reach(cli: Cli, job_id: str) -> None:
    result = await cli("listen", "--job-id", job_id, "--url", "http://10.1.2.3")
    assert result.code == 1
    assert "target.url" in result.err
    assert "DISPATCHER_NETWORK_ALLOW=127.0.0.0/8" in result.err


async def test_a_job_is_waited_for_until_it_ends(cli: Cli, server: str) -> None:
    waiting = asyncio.ensure_future(cli("wait", "job-w", "--timeout", "2m"))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(server, headers=headers) as session:
        for event in ("RUNNING", "FAILED"):
            document = {"event": event, "job_id": "job-w", "message": "out of memory"}
            async with session.post("/v1/events", json=document) as answer:
                assert answer.status == 202
    result = await waiting
    assert (result.code, result.out) == (1, "job-w FAILED: out of memory\n")
