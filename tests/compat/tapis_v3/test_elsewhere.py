"""The same on PostgreSQL, and to an e-mail address."""

from __future__ import annotations

from pathlib import Path

from aiohttp import ClientSession

from dispatcher.app import running
from tests.compat.tapis_v3.conftest import Site, event, read, subscription, until
from tests.receiver import Receiver
from tests.targets.email.relay import relay


async def test_everything_works_on_postgresql(
    settings: dict[str, str], postgres_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings |= {"DISPATCHER_DATABASE_URL": postgres_url, "DISPATCHER_SECRETS_KEY": "s" * 32}
    async with running(read(settings, tmp_path)) as app, ClientSession() as session:
        jobs = Site(app, session).jobs()
        await jobs.subscribe(f"{receiver.url}/job-1", name="one", subjectFilter="job-1")
        await jobs.subscribe(f"{receiver.url}/any", name="any")
        again = await jobs.ask("POST", "/subscriptions", subscription(receiver.url, name="any"))
        assert again.status == 409
        await jobs.patch("/subscriptions/byName/any", {"description": "changed"})
        [found] = await jobs.get("/subscriptions?search=description.like.chan*")
        assert found["name"] == "any"
        await jobs.publish("RUNNING")
        await jobs.publish(deleteSubscriptionsMatchingSubject=True)
        arrived = await receiver.count(4)
        assert {one.event["event"]["seriesSeqCount"] for one in arrived} == {1, 2}  # type: ignore[index]
        assert [one["name"] for one in await jobs.get("/subscriptions")] == ["any"]

        name = (await jobs.post("/test/begin", status=201))["name"]

        async def is_notified() -> bool:
            return bool((await jobs.get(f"/test/{name}"))["notificationCount"])

        await until(is_notified)
        assert await jobs.delete(f"/test/{name}") == {"changes": 1}
        assert await jobs.delete("/subscriptions/byName/any") == {"changes": 1}


async def test_an_address_gets_a_mail_with_the_subject_of_tapis(
    settings: dict[str, str], tmp_path: Path
) -> None:
    async with relay() as mails:
        settings |= {
            "DISPATCHER_SMTP_URL": f"smtp://{mails.url}",
            "DISPATCHER_SMTP_TRUSTED_DOMAINS": "example.org",
        }
        async with running(read(settings, tmp_path)) as app, ClientSession() as session:
            jobs = Site(app, session).jobs()
            target = {"deliveryMethod": "EMAIL", "deliveryAddress": "ann@example.org"}
            await jobs.subscribe("", name="s1", deliveryTargets=[target])
            await jobs.post("/events/publish", event())
            [mail] = await mails.received(1)
            shown = await jobs.get("/subscriptions/byName/s1")
            wrong = target | {"deliveryAddress": "ann@"}
            refused = await jobs.ask("POST", "/subscriptions", subscription("", deliveryTargets=[wrong]))
    assert mail.to == "ann@example.org"
    subject = "Tapis v3 notification. Event type: jobs.JOB_NEW_STATUS.FINISHED subject: job-1"
    assert mail.message["Subject"] == subject
    assert shown["deliveryTargets"] == [target]
    assert (refused.status, refused.message.startswith("deliveryTargets[0].deliveryAddress: ")) == (400, True)
