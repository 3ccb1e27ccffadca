"""What a running service asks of its store, part by part, for tests of how the database answers.

The parts need nothing but the schema; with many rows beside theirs they show what a statement reads besides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from dispatcher.compat.tapis_v3.repository import TapisSubscription
from dispatcher.domain.deliveries import DigestJoin, ExpiredDelivery, OpenDelivery, Share, State
from dispatcher.domain.destinations import Breaker, RateLimit
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.errors import Conflict
from dispatcher.domain.events import utc_now
from dispatcher.domain.expansions import Candidates, NewExpansion, bitmap, queue_of
from dispatcher.domain.ids import lowest_id, new_id
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.quotas import Caps, QuotaOverride
from dispatcher.domain.recipients import WAITS_FOR_CONSENT, Quota, Recipient
from dispatcher.domain.retention import Keep
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store import purge as store_purge
from dispatcher.store.breakers import ABANDONED
from dispatcher.store.filters import DestinationFilter, Window
from dispatcher.store.postgres.accept import WHOLE
from dispatcher.store.postgres.store import PostgresStore
from dispatcher.store.store import Store
from tests.claiming import claim, claim_at
from tests.factories import NOW, make_delivery, make_event, make_subscription
from tests.plugins import tapis_of
from tests.store.helpers import FUTURE, PAST, attempt, outcome
from tests.store.questions import QUESTIONS

BATCH = 20
"""Events, deliveries or the like of one call."""

LONG_AGO = utc_now() - 2 * ABANDONED


class Use(NamedTuple):
    """A store, a process that uses it, and a name that keeps one round apart from others."""

    store: Store
    process: int
    name: str

    def jobs(self, kind: str) -> list[str]:
        return [f"{self.name}-{kind}-{number}" for number in range(BATCH)]

    async def subscribed(self, **fields: object) -> Subscription:
        destination = f"https://{new_id('sub')[4:]}.example.org:443"
        subscription = make_subscription(**{"owner": "*", "destination": destination} | fields)
        await self.store.subscriptions.add(subscription, Caps(subscriptions=10_000, destinations=1000))
        return subscription

    async def accepted(self, subscription: Subscription, **fields: object) -> list[OpenDelivery]:
        """Accept events of jobs that are not there yet, with deliveries that are due."""
        events = [make_event(job_id=job, owner="ann") for job in self.jobs(new_id("evt"))]
        values = {"claimed": False, "due_at": PAST} | fields
        new = [make_delivery(event, subscription, **values) for event in events]
        await self.store.events.accept(self.process, events, new)
        return new

    async def end(
        self, new: Sequence[OpenDelivery], state: State = State.DELIVERED, **fields: object
    ) -> None:
        values = {"attempt": attempt()} | fields
        await self.store.queue.finish(self.process, [outcome(one.id, state, **values) for one in new])


async def accept_events(use: Use) -> None:
    """Events of each kind of publisher, of jobs that are claimed, by whom, and that are unclaimed."""
    straight, ordered = await use.subscribed(), await use.subscribed(ordered=True)
    jobs = use.jobs("job")
    await use.store.subscriptions.find_matching([f"default\x1fjob:{job}" for job in jobs])
    owned = [make_event(job_id=job, owner="ann") for job in jobs]
    await use.store.events.accept(use.process, owned, [make_delivery(one, ordered) for one in owned])
    for publisher, some in (("ann", jobs), ("bob", jobs), ("bob", use.jobs("unclaimed"))):
        own_key = [make_event(job_id=job, owner=publisher, published_by=publisher) for job in some]
        await use.store.events.accept(use.process, own_key, [make_delivery(one, ordered) for one in own_key])
    for some in (jobs, use.jobs("nobodys")):
        unowned = [make_event(job_id=job, owner=None) for job in some]
        await use.store.events.accept(use.process, unowned, [make_delivery(one, straight) for one in unowned])
    for owner, speaker in (("ann", None), (None, None), ("bob", "bob")):
        said: dict[str, Any] = {"event": "PERMISSION_GRANT", "data": {"user": "cid"}, "published_by": speaker}
        granting = [make_event(job_id=job, owner=owner, **said) for job in jobs]
        await use.store.events.accept(use.process, granting, [])
    await use.store.jobs.granted([("default", job, "ann", "cid") for job in jobs])
    again = [make_event(id=one.id) for one in owned]
    assert len(await use.store.events.accept(use.process, [*again, make_event()], [])) == BATCH
    if isinstance(use.store, PostgresStore):  # which stores what is large in parts
        large = [make_event(job_id=use.jobs("large")[n % BATCH], owner="ann") for n in range(WHOLE + 1)]
        await use.store.events.accept(use.process, large, [])
    await use.store.events.add_deliveries(use.process, [make_delivery(one, straight) for one in owned])


async def hold(use: Use) -> None:
    """Deliveries of subscriptions that are paused, and what becomes of them."""
    paused = await use.subscribed(status="paused")
    new = await use.accepted(paused, due_at=None)
    claimed = await use.accepted(paused, claimed=True, due_at=None)
    await use.end(claimed, State.PENDING, attempt=None)
    resumed = make_subscription(
        id=paused.id, revision=2, owner="*", status="active", destination=paused.destination
    )
    await use.store.subscriptions.save(resumed, Caps(subscriptions=10_000, destinations=1000))
    moved = make_subscription(
        id=paused.id, revision=3, owner="*", destination="https://moved.example.org:443"
    )
    await use.store.subscriptions.save(moved)
    assert await use.store.deliveries.cancel("default", new[0].id, "no")
    assert await use.store.deliveries.retry("default", new[0].id)
    await use.store.subscriptions.end(paused.id, "disabled", "gone")
    await use.store.subscriptions.remove("default", paused.id)


async def resume_within_a_quota(use: Use) -> None:
    """Deliveries that were held, some of which have turns, of a subscriber with a quota."""
    for ordered in (False, True):
        paused = await use.subscribed(status="paused", ordered=ordered)
        await use.accepted(paused, due_at=None)
        await use.store.subscriptions.save(replace(paused, status="active", revision=2), None, BATCH // 2)


async def deliver(use: Use) -> None:
    """Claims, and outcomes of each kind."""
    subscription, other = await use.subscribed(), await use.subscribed()
    await use.accepted(subscription)
    new = await use.accepted(other)
    await use.store.queue.waiting_destinations("", 10)
    for after in ("", subscription.id):
        await use.store.queue.find_queues({subscription.destination: after}, BATCH, 10)
    assert await claim_at(use.store, use.process, [subscription.destination], BATCH)
    shares = [Share(other.id, BATCH), Share(subscription.id, BATCH)]
    claimed = [one.id for one in await use.store.queue.claim(use.process, 2 * BATCH, shares)]
    later = [one for one in new if one.id in claimed]
    await use.end(later, State.PENDING, due_at=FUTURE, attempt_state="a memo")
    await use.store.deliveries.retry("default", later[0].id)
    again = await claim_at(use.store, use.process, [subscription.destination], BATCH)
    await use.store.queue.finish(
        use.process,
        [outcome(one.id, State.DELIVERED, attempts=2, attempt=attempt(2), attempt_state="") for one in again],
    )
    await use.store.queue.find_expired(
        {other.destination: (PAST, new[0].id), subscription.destination: None}, BATCH
    )
    assert await use.store.queue.expire([ExpiredDelivery(later[1].id, "webhook", 1.0)])
    await use.store.subscriptions.remove("default", other.id)


async def recover(use: Use) -> None:
    """What is asked again because an answer was lost, and what is taken over of a process that has died."""
    subscription = await use.subscribed()
    await use.accepted(subscription)
    unsure: set[int] | list[str] = {use.process} if isinstance(use.store, PostgresStore) else [new_id("dlv")]
    setattr(use.store.queue, "_unsure", unsure)  # noqa: B010 - as after a claim whose answer was lost
    await claim(use.store, use.process, BATCH)
    dead = await use.store.leases.register("a-host", 2, lease=-1)
    late = [make_delivery(make_event(), subscription) for _ in range(BATCH)]
    await use.store.events.accept(dead, [one.event for one in late], late)
    await claim(use.store, dead, BATCH)
    assert await use.store.leases.release_expired() > 0
    assert await use.store.leases.renew(use.process, 60, new_id("dlv"))
    await use.store.check_write(use.process)
    await use.store.leases.is_oldest(use.process)
    leaving = await use.store.leases.register("a-host", 3, lease=60)
    await use.store.leases.release(leaving)


async def order(use: Use) -> None:
    """Turns of one job's deliveries."""
    subscription = await use.subscribed(ordered=True)
    events = [make_event(job_id=f"{use.name}-ordered", owner="ann") for _ in range(BATCH)]
    new = [make_delivery(event, subscription) for event in events]
    await use.store.events.accept(use.process, events, new)
    await use.end(new[:1], ordered=True)
    await use.store.ordering.repair(0)
    await use.store.subscriptions.end(subscription.id, "disabled", "gone")


async def gather(use: Use) -> None:
    """Digests: they gather, go, end, are left and dissolved."""
    subscription = await use.subscribed(digest=DigestPolicy(wait=0, interval=3600))
    new = await use.accepted(subscription)
    claimed = [one.id for one in await claim_at(use.store, use.process, [subscription.destination], BATCH)]
    leader = next(one for one in new if one.id in claimed)
    await use.store.digests.take(leader.id)
    await use.end([leader], State.EXHAUSTED, leads=True, attempt_state="a memo")
    following = await use.accepted(subscription)
    await use.store.deliveries.retry("default", following[0].id)
    await use.store.queue.expire([ExpiredDelivery(following[1].id, "webhook", 1.0)])
    await use.end(following[:1], State.CANCELLED, attempt=None)
    await use.store.digests.repair(None)
    await use.store.digests.repair(new_id("dlv"))
    late = await use.subscribed(digest=DigestPolicy(wait=0, interval=3600))
    first, alone, *_ = await use.accepted(late)
    await use.store.deliveries.retry("default", alone.id)
    await claim_at(use.store, use.process, [late.destination], BATCH)
    for one in (alone, first):
        joining = outcome(one.id, State.PENDING, due_at=FUTURE, joins=DigestJoin(late.id, 99))
        await use.store.queue.finish(use.process, [joining])
    without = make_subscription(
        id=subscription.id, revision=2, owner="*", destination=subscription.destination, digest=None
    )
    await use.store.subscriptions.save(without)


async def expand(use: Use) -> None:
    """Orders to make deliveries later."""
    several = [await use.subscribed(ordered=True) for _ in range(3)]
    event = make_event(job_id=f"{use.name}-many", owner=use.name)
    candidates = Candidates(bytes.fromhex(new_id("sub")[4:]), [one.id for one in several])
    await use.store.events.accept(
        use.process, [event], [], [NewExpansion(event, candidates, bitmap(range(3), 3))]
    )
    behind = make_event(job_id=event.job_id, owner=use.name)
    await use.store.events.accept(use.process, [behind], [make_delivery(behind, several[0])])
    for subscriber in (None, "alice"):
        await use.store.expansions.count(event.key, subscriber)
    before = (int.from_bytes(queue_of(event)) - 1).to_bytes(16)
    claimed = await use.store.expansions.claim(before)
    assert {one.event.job_id for one in claimed} == {event.job_id}
    await use.store.expansions.claim(before)
    await use.store.expansions.claim(b"\xff" * 16)
    ids = {key for one in claimed for key in one.subscription_ids}
    wanted = {one.id: one for one in await use.store.subscriptions.in_use(ids)}
    new = [
        make_delivery(one.event, wanted[key], claimed=False, due_at=PAST)
        for one in claimed
        for key in one.subscription_ids
    ]
    assert await use.store.expansions.expand(use.process, claimed, new)


async def guard(use: Use) -> None:
    """Breakers, rates and pauses of destinations."""
    subscription = await use.subscribed()
    here = subscription.destination
    own = Breaker(key=here, destination=here, open_until=LONG_AGO)
    within = Breaker(key=subscription.id, destination=here, open_until=LONG_AGO, alone=True)
    for probed in ([], [here, subscription.id]):
        await use.store.breakers.open([own, within], probed)
    earlier = LONG_AGO - timedelta(seconds=1)
    assert await use.store.breakers.begin_probes([own, within], earlier) == {here, subscription.id}
    await use.store.breakers.close(here)
    await use.store.breakers.note_others(here)
    await use.accepted(await use.subscribed(destination=here))
    await use.store.purge_orphans()
    unused = f"https://{use.name}.example.com:443"
    await use.store.breakers.open([Breaker(key=unused, destination=unused, open_until=LONG_AGO)], [])
    await use.store.breakers.open([within], [])
    await use.store.purge_orphans()
    await use.store.breakers.close_within(within.key)
    changes = await use.store.breakers.changes(None)
    await use.store.breakers.changes(changes.until)
    await use.store.breakers.destinations_to_watch()
    await use.store.breakers.to_watch()
    await use.store.destinations.pause(here, "a rest")
    await use.store.destinations.resume(here)
    await use.store.destinations.set_rate_limit(here, RateLimit(5))
    await use.store.destinations.set_rate_limit(here, None)
    for wanted in (0, 3):
        await use.store.rate_limits.take_slots(here, RateLimit(5), wanted)
    await use.store.rate_limits.take_slots(subscription.id, RateLimit(5), 0)
    await use.store.destinations.get(DestinationFilter(tenant="default"), here)
    await use.store.queue.record_outcomes(
        use.process, [outcome(new_id("dlv"), State.DELIVERED, attempt_state="a memo")]
    )
    await use.store.purge_orphans()
    await use.store.deliveries.backlog()


async def count_mails(use: Use) -> None:
    """Recipients: consent, refusals, and how many mails there were."""
    subscription, other = await use.subscribed(), await use.subscribed()
    new = await use.accepted(subscription, due_at=FUTURE)
    reason = f"{WAITS_FOR_CONSENT} of ann"
    await use.end(new, State.PENDING, due_at=FUTURE, reason=reason, attempt=None)
    recipients = use.store.recipients
    one = Recipient("default", subscription.subscriber, subscription.id, f"{use.name}@example.org")
    two = Recipient("default", other.subscriber, other.id, f"{use.name}@example.org")
    await recipients.standings([one, two])
    for _ in range(3):
        await recipients.take([Quota(f"from {use.name}", 9, 3600), Quota(f"to {use.name}", 2, 3600)], NOW)
    await recipients.give_back([Quota(f"to {use.name}", 2, 3600)], NOW)
    assert await recipients.begin_asking(one, FUTURE)
    await recipients.end_asking(one, asked=True)
    await recipients.confirm(one)
    await recipients.refuse(one, "no such user")
    await recipients.lift_refusals([one])
    await recipients.unsubscribe(one)
    await recipients.unsubscribe(two)
    await recipients.restore(one, own=False)
    await recipients.restore(one, own=True)
    await recipients.subscription(subscription.id)
    await recipients.unsubscribe(two)
    await use.store.subscriptions.remove("default", other.id)
    await use.store.purge_orphans()


async def count_usage(use: Use) -> None:
    """Quotas of owners."""
    quotas = use.store.quotas
    await quotas.set_override("default", use.name, QuotaOverride(subscriptions=9))
    await quotas.override("default", use.name)
    await quotas.overrides("default", Window())
    await quotas.note_stored({("default", use.name): 99})
    await quotas.note_stored({("default", use.name): 99})
    await quotas.stored_mib("default", use.name)
    owner = ("default", use.name)
    await quotas.take_deliveries({owner: 5}, 60)
    await quotas.deliveries_per_minute([owner], 60)
    await quotas.remove_override("default", use.name)


async def keep_statuses(use: Use) -> None:
    """What targets with state were sent."""
    statuses = use.store.target_statuses
    key = bytes.fromhex(new_id("evt")[4:])
    first, second, delivery = new_id("evt"), new_id("evt"), new_id("dlv")
    assert await statuses.begin(key, second, delivery, 30) == "go"
    await statuses.finish(key, second, delivery, delivered=True)
    assert await statuses.begin(key, first, new_id("dlv"), 30) == "superseded"
    await statuses.purge()


async def keep_tokens(use: Use) -> None:
    """Access tokens of OAuth 2.0."""
    tokens, credentials = use.store.oauth_tokens, new_id("evt").encode()
    assert await tokens.begin(credentials, 30)
    await tokens.finish(credentials, b"a token", NOW)
    assert await tokens.read(credentials) == b"a token"
    await tokens.purge()


async def keep_keys(use: Use) -> None:
    """Keys of the API."""
    key = ApiKey(
        id=new_id("key"), tenant="default", owner="ann", name="a key", scopes=("publish",), created_at=NOW
    )
    await use.store.keys.add(key, f"digest of {key.id}")
    assert await use.store.keys.by_digest(f"digest of {key.id}") is not None
    await use.store.keys.remove("default", key.id)


async def serve_tapis(use: Use) -> None:
    """Subscriptions, series and test sequences of Tapis v3."""
    tapis = tapis_of(use.store)
    member, other = (make_subscription(owner="*", expires_at=FUTURE) for _ in range(2))
    named = TapisSubscription(
        id=new_id("sub"),
        created_at=NOW,
        expires_at=FUTURE,
        tenant="default",
        owner=use.name,
        name="a name",
        subject_filter=use.name,
        members=(member.id,),
        document=b"{}",
    )
    await tapis.add(named, [member])
    assert await tapis.by_name("default", use.name, "a name") == named
    assert await tapis.by_id("default", named.id) == named
    await tapis.listed("default", owner=use.name)
    await tapis.listed("default", subject_filter=use.name)
    await tapis.members([named])
    changed = make_subscription(id=member.id, owner="*", revision=2)
    both = TapisSubscription(
        **{name: getattr(named, name) for name in named.__struct_fields__}
        | {"members": (member.id, other.id)}
    )
    await tapis.save(both, changed=[changed], added=[other])
    assert await tapis.record(named.id, "a uuid", b"{}")
    await tapis.recorded(named.id)
    assert await tapis.count_on("default", "Jobs", use.name, "1") == 1
    await tapis.end_series("default", "Jobs", use.name, "1")
    assert await tapis.end_subject("default", use.name) == 1
    assert not await tapis.remove(both)


async def age(use: Use) -> None:
    """What is as old as it may be: retention goes through all that is as old, some rows at once."""
    subscription = await use.subscribed()
    ages = utc_now() - timedelta(days=100)
    first = int(lowest_id("evt", ages.timestamp())[4:], 16) + int(new_id("evt")[-8:], 16)
    keys = [f"{first + number:032x}" for number in range(BATCH)]
    events = [make_event(key=f"evt_{key}", job_id=f"{use.name}-{key}") for key in keys]
    new = [
        make_delivery(event, subscription, id=f"dlv_{event.key[4:]}", claimed=False, due_at=PAST)
        for event in events
    ]
    await use.store.events.accept(use.process, events, new)
    assert len(await claim_at(use.store, use.process, [subscription.destination], BATCH)) == BATCH
    await use.end(new, ended_at=ages)
    kept = await use.store.retain(Keep())
    assert kept.deleted["deliveries"] >= BATCH


async def purge(use: Use) -> None:
    """What retention and a plugin delete of tables that have no partitions, going through all of their rows."""
    await store_purge.carry_out(Keep(), utc_now(), use.store.session.write)
    await use.store.quotas.purge(Keep())
    await tapis_of(use.store).purge(Keep())


PARTS: Mapping[str, Callable[[Use], Awaitable[None]]] = {
    part.__name__.replace("_", " "): part
    for part in (
        accept_events,
        hold,
        resume_within_a_quota,
        deliver,
        recover,
        order,
        gather,
        expand,
        guard,
        count_mails,
        count_usage,
        keep_statuses,
        keep_tokens,
        keep_keys,
        serve_tapis,
        purge,
    )
}


async def answer(use: Use, question: str) -> None:
    """Ask one of QUESTIONS. What it asks about need not be there."""
    with suppress(Conflict):
        await QUESTIONS[question](use.store)
