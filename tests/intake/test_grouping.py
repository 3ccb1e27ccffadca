"""Groups of digests: whatever a subscriber chose and a publisher sent, they cost little and stop no one."""

from __future__ import annotations

import pytest

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.digests import MAX_VALUE, DigestPolicy
from dispatcher.domain.events import Event
from dispatcher.intake.grouping import grouped
from dispatcher.telemetry.metrics import INTERNAL_ERRORS
from tests.factories import make_delivery, make_event, make_subscription

LONG = 300_000


def delivery(event: Event, *names: str, subscription_id: str = f"sub_{0:032x}") -> OpenDelivery:
    subscription = make_subscription(id=subscription_id, digest=DigestPolicy(group_by=names))
    return OpenDelivery(f"dlv_{0:032x}", event, subscription)


def group(data: object, *names: str) -> bytes | None:
    [found] = grouped([delivery(make_event(data=data), *names)])
    return found.group


def test_long_values_group_as_short_ones_do() -> None:
    same = [group({"x": "a" * LONG}, "data.x") for _ in range(2)]
    assert same[0] == same[1] != group({"x": "a" * (LONG - 1) + "b"}, "data.x")
    assert group({"x": "a" * LONG}, "data.x") != group({"x": "a" * (LONG + 1)}, "data.x")


def test_a_value_is_bounded_whatever_stands_there() -> None:
    event = make_event(data={"text": "\N{CAT}" * LONG, "list": list(range(LONG)), "short": "x", "none": None})
    policy = DigestPolicy(group_by=("data.text", "data.list", "data.short", "data.none", "owner"))
    text, numbers, *rest = policy.values(event)
    assert (len(text) < MAX_VALUE, len(numbers) < MAX_VALUE) == (True, True)
    assert rest == ["x", "", "alice"]


def test_eight_paths_with_three_hundred_kilobytes_each_are_grouped() -> None:
    paths = ["data.a" + ".a" * depth for depth in range(8)]
    nested: object = "a" * LONG
    for _ in range(8):
        nested = {"a": nested}
    assert group(nested, *paths) == group(nested, *paths) != group(nested, *paths[:-1])


def test_a_long_document_is_decoded_once_for_all_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    held = 0
    hold = Event.with_cached_document

    def counted(event: Event) -> Event:
        nonlocal held
        held += 1
        return hold(event)

    monkeypatch.setattr(Event, "with_cached_document", counted)
    event = make_event(data={"x": "a" * LONG})
    new = [delivery(event, f"data.x{n}", "data.x", subscription_id=f"sub_{n:032x}") for n in range(20)]
    assert len({one.group for one in grouped(new)}) == 20
    assert held == 1


def test_those_without_a_digest_stay_as_they_are() -> None:
    plain = make_delivery(make_event(), make_subscription())
    assert grouped([plain]) == [plain]


def test_one_whose_group_cannot_be_worked_out_stops_no_other() -> None:
    broken, good = (
        delivery(make_event(document=document), "data.x") for document in (b"no JSON", b'{"data":{"x":"1"}}')
    )
    before = INTERNAL_ERRORS.labels("group")._value.get()
    first, second = grouped([broken, good])
    assert first.group == group({}, *()) != second.group == group({"x": "1"}, "data.x")
    assert INTERNAL_ERRORS.labels("group")._value.get() == before + 1
