"""Whether anything is missing: what the service and the receivers say against what the story asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dispatcher.client.models import Job
from dispatcher.demo.picture import Picture
from dispatcher.demo.plans import OWNER
from dispatcher.demo.receivers import Inbox
from dispatcher.demo.story import PlannedEvent
from dispatcher.demo.summary import Counts
from dispatcher.domain.deliveries import State

Published = Mapping[str, PlannedEvent]
"""What was published, by the ids that the service gave to it."""


def problems(
    published: Published, picture: Picture, counts: Counts, receivers: Mapping[str, Inbox]
) -> Iterator[str]:
    """What is missing or too much, in words; the receivers are by the ids of their subscriptions."""
    for event_id in published.keys() - picture.events.keys():
        yield f"the event {event_id} ({_named(published[event_id])}) was accepted, and is not listed"
    for subscription_id, receiver in receivers.items():
        yield from _wrong_deliveries(published, picture, subscription_id, receiver)
        yield from _wrong_receipts(picture, subscription_id, receiver)
    yield from _wrong_counts(published, picture, counts)


def wrongly_seen(jobs: Iterable[Job], published: Iterable[PlannedEvent]) -> Iterator[str]:
    """Where the jobs that the owner's key shows are not those that belong to the owner or were granted."""
    expected = {
        event.job_id for event in published if event.owner == OWNER or event.event == "PERMISSION_GRANT"
    }
    shown = {job.id for job in jobs}
    for job_id in shown - expected:
        yield f"the key of {OWNER} shows the job {job_id}, which belongs to somebody else"
    for job_id in expected - shown:
        yield f"the key of {OWNER} does not show the job {job_id}"


def _wrong_deliveries(
    published: Published, picture: Picture, subscription_id: str, receiver: Inbox
) -> Iterator[str]:
    plan = receiver.plan
    deliveries = picture.of(subscription_id)
    wanted = {event_id for event_id, event in published.items() if plan.wants(event)}
    made = [delivery.event_id for delivery in deliveries]
    for event_id in wanted - set(made):
        yield f"{plan.name} has no delivery of {_named(published[event_id])}"
    if len(made) > len(wanted & set(made)):
        yield f"{plan.name} has {len(made)} deliveries, expected {len(wanted)}"
    for delivery in deliveries:
        if delivery.state != State.DELIVERED:
            yield (
                f"{plan.name}: the delivery {delivery.id} of {delivery.event} {delivery.job_id} "
                f"is {delivery.state} after {delivery.attempts} attempts: {delivery.reason}"
            )


def _wrong_receipts(picture: Picture, subscription_id: str, receiver: Inbox) -> Iterator[str]:
    plan = receiver.plan
    delivered = {d.id for d in picture.of(subscription_id) if d.state == State.DELIVERED}
    for delivery_id in delivered - receiver.received:
        yield f"{plan.name}: {delivery_id} is called delivered, and its receiver never got it"
    for delivery_id in receiver.received - delivered:
        yield f"{plan.name}: its receiver got {delivery_id}, which is not called delivered"
    if receiver.repeats:
        yield f"{plan.name}: its receiver got {receiver.repeats} deliveries twice"
    for reason in receiver.forged:
        yield f"{plan.name}: its receiver refused a signature: {reason}"


def _wrong_counts(published: Published, picture: Picture, counts: Counts) -> Iterator[str]:
    attempts = sum(delivery.attempts for delivery in picture.deliveries.values())
    counted = {
        "events accepted": (counts.events["accepted"], len(published)),
        "duplicate events": (counts.events["duplicate"], 1),
        "attempts": (counts.attempts.total(), attempts),
    }
    for what, (count, expected) in counted.items():
        if count != expected:
            yield f"/metrics counts {count} {what}, expected {expected}"


def _named(event: PlannedEvent) -> str:
    return f"{event.event} {event.job_id}"
