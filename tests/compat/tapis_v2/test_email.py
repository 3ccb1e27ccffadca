"""An e-mail address as the `url` of a notification."""

from __future__ import annotations

from pathlib import Path

from tests.compat.tapis_v2.conftest import JOB, Tapis, serving
from tests.targets.email.relay import relay

NOTIFICATIONS = "/notifications/v2"


async def test_an_address_gets_a_mail_with_the_subject_of_tapis(database: Path) -> None:
    async with (
        relay() as mails,
        serving(database, smtp_url=f"smtp://{mails.url}", smtp_trusted_domains="example.org") as service,
    ):
        alice = await service.caller("alice", "publish", "subscribe")
        made = await alice.add("ann@example.org")
        await alice.publish(job={"id": JOB, "name": "demo"}, message="Job completed successfully.")
        [mail] = await mails.received(1)
        found = await alice.result("GET", f"{NOTIFICATIONS}?url=ann@example.org&status.in=ACTIVE,COMPLETE")

    assert made["url"] == "ann@example.org"
    assert mail.to == "ann@example.org"
    assert mail.message["Subject"] == f"Job {JOB} received a FINISHED event"
    assert f'The status of job {JOB}, "demo," has changed to FINISHED.' in mail.text
    assert "Message: Job completed successfully." in mail.text
    assert [one["id"] for one in found] == [made["id"]]


async def test_a_job_document_may_name_an_address(database: Path) -> None:
    async with (
        relay() as mails,
        serving(database, smtp_url=f"smtp://{mails.url}", smtp_trusted_domains="example.org") as service,
    ):
        alice = await service.caller("alice", "publish", "subscribe")
        await alice.publish("PENDING", job={"id": JOB, "notifications": ["ann@example.org"]})
        await alice.publish("FINISHED")
        [mail] = await mails.received(1)

    assert mail.message["Subject"] == f"Job {JOB} received a FINISHED event"


async def test_without_a_relay_an_address_is_refused_with_the_setting_that_is_missing(alice: Tapis) -> None:
    document = {"associatedUuid": JOB, "event": "*", "url": "ann@example.org"}

    refusal = await alice.refused("POST", NOTIFICATIONS, document)

    assert refusal == "url: no e-mail is sent here: smtp.url (DISPATCHER_SMTP_URL) is not set"


async def test_what_is_no_address_is_refused(database: Path) -> None:
    async with relay() as mails, serving(database, smtp_url=f"smtp://{mails.url}") as service:
        alice = await service.caller("alice", "publish", "subscribe")
        for url in (
            "ann@",
            "ann@example.org, bob@example.org",
            "a@b",
            "mailto:ann@example.org",
            "+15125550123",
        ):
            document = {"associatedUuid": JOB, "event": "*", "url": url}
            assert (await alice.refused("POST", NOTIFICATIONS, document)).startswith("url: ")
