"""Subscriptions of admins to others' jobs, and lesser keys of the same owner."""

from __future__ import annotations

import pytest

from dispatcher.domain.deliveries import State
from tests.api.conftest import Api, Caller


@pytest.fixture
async def root(api: Api) -> Caller:
    """An admin whose name is alice."""
    return await api.caller("alice", "admin")


async def test_a_lesser_key_of_an_admins_owner_does_not_reach_what_tells_of_others_jobs(
    api: Api, root: Caller, alice: Caller
) -> None:
    made = [await root.subscribe(), await root.subscribe(owner="bob"), await root.subscribe(owner="alice")]
    await root.patch(f"/v1/subscriptions/{made[2]['id']}", {"owner": "bob"})
    event = await root.publish(owner="bob", job_id="bob's")
    sent = await api.settle(State.EXHAUSTED)
    assert len(sent) == 3

    for subscription in made:
        path = f"/v1/subscriptions/{subscription['id']}"
        for method, below in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate-secret")):
            assert (await alice.ask(method, path + below)).status == 404
    for delivery in sent:
        assert (await alice.ask("GET", f"/v1/deliveries/{delivery}")).status == 404
    assert (await alice.get("/v1/subscriptions"))["items"] == []
    assert (await alice.get("/v1/deliveries"))["items"] == []
    assert await alice.post("/v1/deliveries/retry", {}) == {"count": 0}
    assert len((await root.get("/v1/subscriptions"))["items"]) == 3
    assert len((await root.get(f"/v1/deliveries?event_id={event}"))["items"]) == 3


async def test_an_admins_subscription_for_its_own_owner_is_that_owners(root: Caller, alice: Caller) -> None:
    made = await root.subscribe(owner="alice")

    assert (await alice.get(f"/v1/subscriptions/{made['id']}"))["subscriber"] == "alice"
