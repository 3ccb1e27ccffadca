"""Lanes and their bounds."""

from __future__ import annotations

from dispatcher.delivery.lanes import MAX_BYTES, Lane, Lanes
from dispatcher.domain.subscriptions import Subscription
from tests.factories import make_claimed, make_subscription

A, B = "https://a:443", "https://b:443"


def of(owner: str) -> Subscription:
    return make_subscription(destination=A, subscriber=owner)


ONE = of("alice")


def enter(lanes: Lanes, subscription: Subscription, *, fresh: bool = False) -> Lane | None:
    """A new delivery waits in its lane afterwards, if there is a place."""
    key, owner = subscription.id, subscription.subscriber
    lane = lanes.reserve(A, 100, fresh=fresh, subscription=key, owner=owner)
    if lane is not None:
        lane.enter(make_claimed(subscription=subscription))
    return lane


def taken(lane: Lane) -> list[str]:
    """The owners of what begins now, in this order."""
    found = []
    while one := lane.take():
        found.append(one.subscription.subscriber)
    return found


def test_a_full_lane_takes_nothing_from_another() -> None:
    lanes = Lanes(most=2, capacity=8, total=100)
    taken = [lanes.reserve(A, 100, fresh=True) for _ in range(10)]
    assert sum(lane is not None for lane in taken) == 6
    assert lanes.reserve(B, 100, fresh=True) is not None


def test_a_quarter_of_a_lane_is_kept_for_what_comes_back_from_the_store() -> None:
    lanes = Lanes(most=2, capacity=8, total=100)
    while lanes.reserve(A, 100, fresh=True):
        pass
    came_back = [lanes.reserve(A, 100, fresh=False) for _ in range(5)]
    assert sum(lane is not None for lane in came_back) == 2


def test_all_lanes_together_are_bounded() -> None:
    lanes = Lanes(most=2, capacity=8, total=9)
    taken = [lanes.reserve(f"https://{n}:443", 100, fresh=True) for n in range(20)]
    assert sum(lane is not None for lane in taken) == 9
    assert lanes.free == 0


def test_places_come_back() -> None:
    lanes = Lanes(most=2, capacity=8, total=100)
    lane = lanes.reserve(A, 100, fresh=True)
    assert lane is not None
    lanes.release(lane, 100)
    assert lanes.free == 100


def test_a_lane_without_work_takes_no_part_but_what_was_learned_is_kept() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    lane = lanes.reserve(A, 100, fresh=True)
    assert lane is not None
    lane.on_failure("", began=1, now=2, all_=True)
    lanes.release(lane, 100)
    assert list(lanes) == []
    assert lanes[A].limit == 4


def test_more_runs_at_once_with_each_success_until_the_first_failure() -> None:
    lane = Lanes(most=64, capacity=1000, total=5000)[A]
    assert lane.limit == 8
    for _ in range(100):
        lane.on_success("")
    assert lane.limit == 64
    lane.on_failure("", began=1, now=2, all_=True)
    assert lane.limit == 32
    for _ in range(32):
        lane.on_success("")
    assert 32.9 < lane.limit < 33.1


def test_failures_that_ran_together_count_once_and_one_always_may_run() -> None:
    lane = Lanes(most=64, capacity=1000, total=5000)[A]
    for _ in range(8):
        lane.on_failure("", began=1, now=2, all_=True)
    assert lane.limit == 4
    for time in range(3, 20):
        lane.on_failure("", began=time, now=time, all_=True)
    assert lane.limit == 1


def test_a_lane_holds_no_more_than_its_destination_has_earned() -> None:
    lanes = Lanes(most=64, capacity=1000, total=50_000)
    taken = 0
    while lanes.reserve(A, 100, fresh=False):
        taken += 1
    assert taken == 16 * 8
    for _ in range(56):
        lanes[A].on_success("")
    while lanes.reserve(A, 100, fresh=False):
        taken += 1
    assert taken == 1000


def test_long_documents_fill_the_lanes_before_their_number_does() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    taken = 0
    while lanes.reserve(f"https://{taken}:443", MAX_BYTES // 8, fresh=True):
        taken += 1
    assert taken == 8
    assert lanes.free == 0


def test_what_is_dropped_takes_no_room() -> None:
    lanes = Lanes(most=2, capacity=8, total=100)
    for _ in range(3):
        assert enter(lanes, ONE)
    assert lanes.load == 3
    lanes.drop_queued()
    assert (lanes.load, lanes.free) == (0, 100)


def test_each_lane_says_how_many_it_can_take() -> None:
    lanes = Lanes(most=2, capacity=8, total=100)
    for _ in range(5):
        assert lanes.reserve(A, 100, fresh=True) is not None
    assert (lanes.free, lanes.places(B), lanes.places(A)) == (95, 8, 3)


def test_a_lane_that_left_something_behind_tells_when_half_of_it_is_free() -> None:
    lanes = Lanes(most=8, capacity=8, total=100)
    while enter(lanes, ONE):
        pass
    last = lanes[A]
    assert lanes.places(A) == 0
    freed = []
    while one := last.take():
        freed.append(lanes.done(last, one.subscription.id, len(one.event.document)))
    assert freed == [False, False, False, True, False, False, False, False]


def test_however_many_destinations_hang_the_next_one_finds_room() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    for number in range(20):
        while lanes.reserve(f"https://hangs-{number}:443", 100, fresh=True):
            pass
    places = 0
    while lanes.reserve("https://works:443", 100, fresh=True):
        places += 1
    assert places >= 20


def test_a_lane_is_crowded_when_a_batch_does_not_fit_unless_it_is_nearly_empty() -> None:
    lanes = Lanes(most=2, capacity=8, total=1000)
    assert lanes.near_capacity({A: 100}) == []
    taken = [lanes.reserve(A, 100, fresh=True) for _ in range(2)]
    assert lanes.near_capacity({A: 4, B: 4}) == []
    assert lanes.near_capacity({A: 5}) == [taken[0]]


def test_owners_take_turns_and_within_an_owner_the_subscriptions() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    mallory = [of("mallory") for _ in range(3)]
    for one in mallory:
        for _ in range(5):
            enter(lanes, one)
    lane = lanes[A]
    for _ in range(2):
        enter(lanes, ONE)
    first = [lane.take() for _ in range(7)]
    got = [one.subscription for one in first if one is not None]
    assert [one.subscriber for one in got[:4]] == ["mallory", "alice", "mallory", "alice"]
    assert [one.id for one in got if one.subscriber == "mallory"] == [
        *(one.id for one in mallory),
        *(one.id for one in mallory[:2]),
    ]


def test_one_that_hangs_leaves_a_place_to_run_for_others() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    mallory = of("mallory")
    for _ in range(50):
        enter(lanes, mallory)
    lane = lanes[A]
    assert taken(lane) == ["mallory"] * 8
    assert enter(lanes, ONE, fresh=True) is lane
    assert taken(lane) == ["alice"]


def test_one_whose_every_place_hangs_leaves_one_all_the_same() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    mallory = of("mallory")
    for _ in range(64):
        enter(lanes, mallory)
    lane = lanes[A]
    running = lane.take()
    for _ in range(100):
        lane.on_success(mallory.id)
    assert running is not None
    assert len(taken(lane)) == 63
    enter(lanes, ONE)
    assert taken(lane) == ["alice"]


def test_failures_of_one_subscription_lower_its_own_limit_only() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    mallory = of("mallory")
    for _ in range(20):
        enter(lanes, mallory)
        enter(lanes, ONE)
    lane = lanes[A]
    for moment in range(5):
        lane.on_failure(mallory.id, began=moment, now=moment, all_=False)
    assert lane.limit == 8
    lane.on_success(ONE.id)
    assert taken(lane).count("mallory") == 1


def test_one_that_fills_a_lane_leaves_room_for_those_who_have_little_in_it() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    mallory = of("mallory")
    while enter(lanes, mallory, fresh=True):
        pass
    assert not enter(lanes, mallory, fresh=True)
    came_in = 0
    while enter(lanes, ONE, fresh=True):
        came_in += 1
    assert came_in == 96 // 8
    many = 0
    while enter(lanes, of("another"), fresh=True):
        many += 1
        assert many < 1000, "however many they are, a lane has a bound"
    assert lanes[A].load == 2 * 96


def test_a_subscription_that_is_held_back_leaves_the_lane_and_the_others_stay() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    mallory = of("mallory")
    for _ in range(5):
        enter(lanes, mallory)
        enter(lanes, ONE)
    lane = lanes[A]
    back = lanes.take_queued(lane, lambda one: one is ONE)
    assert {one.subscription.subscriber for one in back} == {"mallory"}
    assert (len(back), lanes.load) == (5, 5)
    assert taken(lane) == ["alice"] * 5
