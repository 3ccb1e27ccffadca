"""Every question that people and processes ask of a store, for tests of how it is answered.

They are meant for a database with many rows (see `some_id`): subscriptions 1 to ROWS, events of as many, twice as many
deliveries, one in two of them delivered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dispatcher.domain.deliveries import ExpiredDelivery, State
from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.events import utc_now
from dispatcher.domain.quotas import Caps
from dispatcher.domain.recipients import Quota, Recipient
from dispatcher.store.filters import (
    DeliveryFilter,
    DestinationFilter,
    EventFilter,
    JobFilter,
    SubscriptionFilter,
    Window,
)
from dispatcher.store.quotas import check_caps
from dispatcher.store.store import Store
from tests.breakers import open_breaker
from tests.claiming import next_due
from tests.factories import NOW, make_subscription
from tests.store.helpers import ALL

ROWS = 15_000


def some_id(prefix: str, number: int) -> str:
    """Return the id of a row of these databases."""
    return f"{prefix}_01900000{number:024x}"


def deliveries(**fields: object) -> Callable[[Store], Awaitable[object]]:
    which = DeliveryFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # real fields
    return lambda store: store.deliveries.page(which, ALL)


def count(**fields: object) -> Callable[[Store], Awaitable[object]]:
    which = DeliveryFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # real fields
    return lambda store: store.deliveries.count(which)


def events(**fields: object) -> Callable[[Store], Awaitable[object]]:
    which = EventFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # real fields
    return lambda store: store.events.page(which, ALL)


def jobs(**fields: object) -> Callable[[Store], Awaitable[object]]:
    which = JobFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # real fields
    return lambda store: store.jobs.page(which, ALL)


def subscriptions(**fields: object) -> Callable[[Store], Awaitable[object]]:
    which = SubscriptionFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # real fields
    return lambda store: store.subscriptions.page(which, ALL)


KEYS = [f"default\x1f{selector}" for selector in ("*", "job:job-2", "owner:o3")]
_ANN = Recipient("default", "s9", some_id("sub", 9), "ann@example.org")
_OWNERS = {("default", f"o{number}"): 1 for number in range(20)}
AFTER = Window(cursor=some_id("dlv", ROWS // 2))
ALIKE = {
    "tenant": "default",
    "subscriber": "s8",
    "match_key": "default\x1fjob:job-8",
    "job_id": "job-8",
    "destination": "https://example.org:443",
    "status": "active",
}

QUESTIONS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "candidates": lambda store: store.subscriptions.find_matching(KEYS),
    "granted": lambda store: store.jobs.granted([("default", f"job-{g}", "o3", "u1") for g in range(20)]),
    "next due": next_due,
    "backlog": lambda store: store.deliveries.backlog(),
    "one event": lambda store: store.events.get("default", some_id("evt", 7)),
    "counts": lambda store: store.deliveries.counts_by_event([some_id("evt", g) for g in range(1, 100)]),
    "events": events(),
    "events after": lambda store: store.events.page(
        EventFilter(tenant="default"), Window(cursor=some_id("evt", ROWS // 2))
    ),
    "another tenant's events": events(tenant="other"),
    "events of a job": events(job_id="job-9"),
    "an owner's events after": lambda store: store.events.page(
        EventFilter(tenant="default", visible_to="o9"), Window(cursor=some_id("evt", ROWS // 2))
    ),
    "a stranger's events": events(visible_to="stranger"),
    "a friend's events after": lambda store: store.events.page(
        EventFilter(tenant="default", visible_to="u9"), Window(cursor=some_id("evt", ROWS // 2))
    ),
    "events since": events(since=utc_now()),
    "an owner's events": events(visible_to="o9"),
    "a friend's events": events(visible_to="u9"),
    "a friend's events of a job": events(visible_to="u9", job_id="job-9"),
    "an owner's events of a job": events(visible_to="o9", job_id="job-9"),
    "a friend's events of a job by their names": events(
        visible_to="u9", job_id="job-9", selected=("FINISHED", "ARCHIVING*"), after=some_id("evt", 1)
    ),
    "which jobs have changed": lambda store: store.waits.versions(
        [("default", name) for g in range(20) for name in (f"job-{g}", f"mine-{g}")]
    ),
    "a job that is waited for": lambda store: store.waits.seen(("default", "job-9"), "u9", 10),
    "which keys are there": lambda store: store.waits.known_keys([some_id("key", g) for g in range(20)]),
    "one job": lambda store: store.jobs.get("default", "job-9"),
    "one job of an owner": lambda store: store.jobs.get("default", "job-9", "o9"),
    "one job of a friend": lambda store: store.jobs.get("default", "job-3", "u9"),
    "one unclaimed job": lambda store: store.jobs.get("default", "mine-9", "u9"),
    "owners of jobs": lambda store: store.jobs.owners("default", [f"job-{g}" for g in range(20)]),
    "whether a job is known": lambda store: store.jobs.is_known("default", "mine-9", "o9"),
    "jobs": jobs(),
    "an owner's own jobs": jobs(visible_to="o9"),
    "an owner's jobs": jobs(owner="o9"),
    "another tenant's jobs": jobs(tenant="other"),
    "jobs of who was there before they were claimed": jobs(visible_to="early"),
    "a friend's jobs": jobs(visible_to="u9"),
    "one subscription": lambda store: store.subscriptions.get("default", some_id("sub", 9)),
    "subscriptions": subscriptions(),
    "a subscriber's subscriptions": subscriptions(subscriber="s9"),
    "another tenant's subscriptions": subscriptions(tenant="other"),
    "subscriptions after": lambda store: store.subscriptions.page(
        SubscriptionFilter(tenant="default"), Window(cursor=some_id("sub", ROWS // 2))
    ),
    "subscriptions of a job": subscriptions(job_id="job-8"),
    "subscriptions alike": lambda store: store.session.read(
        check_caps, ALIKE, some_id("sub", 9), Caps(subscriptions=10_000, destinations=1000)
    ),
    "one delivery": lambda store: store.deliveries.get("default", some_id("dlv", 9)),
    "attempts": lambda store: store.deliveries.attempts(some_id("dlv", 9)),
    "deliveries": deliveries(),
    "deliveries after": lambda store: store.deliveries.page(DeliveryFilter(tenant="default"), AFTER),
    "deliveries since": deliveries(since=utc_now()),
    "a subscriber's deliveries": deliveries(subscriber="s9"),
    "deliveries of a job": deliveries(job_id="job-9"),
    "deliveries of an event": deliveries(event_key=some_id("evt", 9)),
    "deliveries of a subscription": deliveries(subscription_id=some_id("sub", 9)),
    "delivered of a subscription": deliveries(subscription_id=some_id("sub", 9), state=State.DELIVERED),
    "exhausted of a subscription": deliveries(subscription_id=some_id("sub", 9), state=State.EXHAUSTED),
    "a subscriber's deliveries of a job": deliveries(subscriber="s9", job_id="job-9"),
    "deliveries to a destination": deliveries(destination="https://h9:443"),
    "deliveries to no destination": deliveries(destination="https://nowhere:443"),
    "another tenant's deliveries": deliveries(tenant="other"),
    "another tenant's exhausted deliveries": deliveries(tenant="other", state=State.EXHAUSTED),
    "a stranger's deliveries": deliveries(subscriber="stranger"),
    "a stranger's exhausted deliveries": deliveries(subscriber="stranger", state=State.EXHAUSTED),
    "a subscriber's deliveries after": lambda store: store.deliveries.page(
        DeliveryFilter(tenant="default", subscriber="s9"), AFTER
    ),
    **{f"{state} deliveries": deliveries(state=state) for state in State},
    **{f"a subscriber's {state} deliveries": deliveries(state=state, subscriber="s9") for state in State},
    "exhausted deliveries to a destination": deliveries(state=State.EXHAUSTED, destination="https://h9:443"),
    "how many are exhausted": count(state=State.EXHAUSTED),
    "how many wait for a subscriber": count(state=State.PENDING, subscriber="s9"),
    "keys": lambda store: store.keys.page("default", ALL),
    "another tenant's keys": lambda store: store.keys.page("other", ALL),
    "tenants": lambda store: store.tenants.names(5),
    "a key": lambda store: store.keys.by_digest("digest7"),
    "a key by its id": lambda store: store.keys.get(some_id("key", 7)),
    "retry many": lambda store: store.deliveries.retry_matching(DeliveryFilter(tenant="default"), 9),
    "retry a subscriber's": lambda store: store.deliveries.retry_matching(
        DeliveryFilter(tenant="default", subscriber="s8"), 9
    ),
    "retry one": lambda store: store.deliveries.retry("default", some_id("dlv", 9)),
    "cancel one": lambda store: store.deliveries.cancel("default", some_id("dlv", ROWS + 9), "no"),
    "end a subscription": lambda store: store.subscriptions.end(some_id("sub", 11), "disabled", "gone"),
    "remove a subscription": lambda store: store.subscriptions.remove("default", some_id("sub", 12)),
    "destinations to watch": lambda store: store.breakers.destinations_to_watch(),
    "destinations": lambda store: store.destinations.page(DestinationFilter(tenant="", everyone=True), ALL),
    "a tenant's destinations": lambda store: store.destinations.page(
        DestinationFilter(tenant="default"), ALL
    ),
    "a subscriber's destinations": lambda store: store.destinations.page(
        DestinationFilter(tenant="default", subscriber="s9"), ALL
    ),
    "one destination": lambda store: store.destinations.get(
        DestinationFilter(tenant="default"), "https://h9:443"
    ),
    "what waits": lambda store: store.destinations.count_waiting(["https://h8:443"]),
    "open a breaker": lambda store: open_breaker(store, "https://h90:443", utc_now(), "down"),
    "close a breaker": lambda store: store.breakers.close("https://h9:443"),
    "a rate limit": lambda store: store.rate_limits.take_slots("https://h9:443", RateLimit(10), 1),
    "deliveries that owners may have": lambda store: store.quotas.take_deliveries(_OWNERS, 60),
    "quotas of owners": lambda store: store.quotas.deliveries_per_minute(list(_OWNERS), 60),
    "overdue": lambda store: store.queue.find_expired({"https://h8:443": None}, 100),
    "expire": lambda store: store.queue.expire([ExpiredDelivery(some_id("dlv", 2 * ROWS - 2), "webhook", 9)]),
    "recipients": lambda store: store.recipients.standings([_ANN]),
    "a recipient confirms": lambda store: store.recipients.confirm(_ANN),
    "a mail is counted": lambda store: store.recipients.take([Quota("to ann@example.org", 9, 3600)], NOW),
    "mend turns": lambda store: store.ordering.repair(0),
    "save a subscription": lambda store: store.subscriptions.save(
        make_subscription(id=some_id("sub", 13), revision=2)
    ),
}
