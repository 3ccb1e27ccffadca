"""How far users get with a subscription that a service made for them: no further than with one that they made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compat.tapis_v3.conftest import Site
from tests.receiver import Receiver


async def jobs_delivered(site: Site) -> set[str]:
    """The jobs of whose events there are deliveries."""
    headers = {"Authorization": f"Bearer {await site.key('root', 'admin')}"}
    async with site.session.get(f"{site.url}/v1/deliveries", headers=headers) as answer:
        return {one["job_id"] for one in (await answer.json())["items"]}


async def publish_two(site: Site) -> None:
    """An event of a job of alice's, and one of a job of bob's."""
    await site.jobs().publish("FAILED", subject="job-2", data='{"jobOwner": "alice"}')
    await site.jobs().publish("FAILED", subject="job-3", data='{"jobOwner": "bob"}')


@pytest.mark.parametrize(
    ("change", "delivered"),
    [({"subjectFilter": "*"}, {"job-3"}), ({"subjectFilter": "job-2"}, set())],
    ids=["every job", "a job of somebody else"],
)
async def test_who_chooses_other_jobs_is_notified_of_own_ones_only(
    site: Site, receiver: Receiver, change: dict[str, Any], delivered: set[str]
) -> None:
    name = await site.jobs("bob").subscribe(receiver.url, subjectFilter="job-1")
    await site.user("bob").patch(f"/subscriptions/byName/{name}", change)
    await publish_two(site)
    assert await jobs_delivered(site) == delivered


async def test_who_chooses_other_types_of_events_is_notified_of_own_jobs_only(
    site: Site, receiver: Receiver
) -> None:
    name = await site.jobs("bob").subscribe(receiver.url, typeFilter="jobs.JOB_NEW_STATUS.QUEUED")
    await site.user("bob").patch(f"/subscriptions/byName/{name}", {"typeFilter": "jobs.*.*"})
    await publish_two(site)
    assert await jobs_delivered(site) == {"job-3"}


async def test_what_a_service_chose_stays_when_its_user_changes_something_else(
    site: Site, receiver: Receiver
) -> None:
    bob, name = site.user("bob"), await site.jobs("bob").subscribe(receiver.url)
    await bob.patch(f"/subscriptions/byName/{name}", {"description": "mine"})
    await bob.post(f"/subscriptions/{name}/disable")
    await bob.post(f"/subscriptions/{name}/enable")
    await publish_two(site)
    assert await jobs_delivered(site) == {"job-2", "job-3"}
