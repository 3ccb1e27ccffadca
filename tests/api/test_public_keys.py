"""The keys that check signatures v1a, as the API shows them."""

from __future__ import annotations

from typing import Any

from dispatcher.targets.signing import public_key
from tests.api.conftest import HOOK, Caller


async def made_with(caller: Caller, **fields: str) -> Any:
    target = {"kind": "webhook", "url": HOOK} | fields
    return await caller.post("/v1/subscriptions", {"events": ["*"], "target": target}, 201)


async def test_a_subscription_that_asks_for_v1a_shows_its_public_key(alice: Caller) -> None:
    made = await made_with(alice, signature="v1a")
    seen = await alice.get(f"/v1/subscriptions/{made['id']}")

    assert made["public_key"] == seen["public_key"] == public_key(made["secret"])
    assert "secret" not in seen


async def test_a_new_secret_has_a_new_public_key(alice: Caller) -> None:
    made = await made_with(alice, signature="v1a")
    rotated = await alice.post(f"/v1/subscriptions/{made['id']}/rotate-secret")

    assert rotated["public_key"] == public_key(rotated["secret"]) != made["public_key"]


async def test_other_subscriptions_have_no_public_key(alice: Caller) -> None:
    made = await made_with(alice)

    assert made["public_key"] is None
