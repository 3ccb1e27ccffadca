"""Lanes and their bounds."""

from __future__ import annotations

from dispatcher.delivery.lanes import MAX_BYTES, Lanes, Work
from tests.factories import make_claimed

A, B = "https://a:443", "https://b:443"


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
    assert lanes.rooms("")[0] == 0


def test_places_come_back() -> None:
    lanes = Lanes(most=2, capacity=8, total=100)
    lane = lanes.reserve(A, 100, fresh=True)
    assert lane is not None
    lanes.release(lane, 100)
    assert lanes.rooms("")[0] == 100


def test_a_lane_without_work_takes_no_part_but_what_was_learned_is_kept() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    lane = lanes.reserve(A, 100, fresh=True)
    assert lane is not None
    lane.failed(began=1, now=2)
    lanes.release(lane, 100)
    assert lanes.rooms("")[1].of == {}
    assert lanes[A].limit == 4


def test_more_runs_at_once_with_each_success_until_the_first_failure() -> None:
    lane = Lanes(most=64, capacity=1000, total=5000)[A]
    assert lane.limit == 8
    for _ in range(100):
        lane.succeeded()
    assert lane.limit == 64
    lane.failed(began=1, now=2)
    assert lane.limit == 32
    for _ in range(32):
        lane.succeeded()
    assert 32.9 < lane.limit < 33.1


def test_failures_that_ran_together_count_once_and_one_always_may_run() -> None:
    lane = Lanes(most=64, capacity=1000, total=5000)[A]
    for _ in range(8):
        lane.failed(began=1, now=2)
    assert lane.limit == 4
    for time in range(3, 20):
        lane.failed(began=time, now=time)
    assert lane.limit == 1


def test_a_lane_holds_no_more_than_its_destination_has_earned() -> None:
    lanes = Lanes(most=64, capacity=1000, total=50_000)
    taken = 0
    while lanes.reserve(A, 100, fresh=False):
        taken += 1
    assert taken == 16 * 8
    for _ in range(56):
        lanes[A].succeeded()
    while lanes.reserve(A, 100, fresh=False):
        taken += 1
    assert taken == 1000


def test_long_documents_fill_the_lanes_before_their_number_does() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    taken = 0
    while lanes.reserve(f"https://{taken}:443", MAX_BYTES // 8, fresh=True):
        taken += 1
    assert taken == 8
    assert lanes.rooms("")[0] == 0


def test_a_blocked_destination_takes_nothing_fresh_and_only_its_probe_is_claimed() -> None:
    lanes = Lanes(most=64, capacity=1000, total=5000)
    lanes.block({A: 0, B: 1})
    assert lanes.reserve(A, 100, fresh=True) is None
    assert lanes.reserve(B, 100, fresh=True) is None
    assert lanes.rooms("")[1].of == {A: 0, B: 1}
    assert lanes.full() == [A]
    assert lanes.reserve(B, 100, fresh=False) is not None
    assert lanes.rooms("")[1].of == {A: 0, B: 0}


def test_what_is_dropped_takes_no_room() -> None:
    lanes = Lanes(most=2, capacity=8, total=100)
    for _ in range(3):
        lane = lanes.reserve(A, 100, fresh=True)
        assert lane is not None
        lanes.enter(lane, Work(1, make_claimed()))
    assert lanes.load == 3
    lanes.drop_queued()
    assert (lanes.load, lanes.rooms("")[0]) == (0, 100)


def test_each_lane_says_how_many_it_can_take() -> None:
    lanes = Lanes(most=2, capacity=8, total=100)
    for _ in range(5):
        assert lanes.reserve(A, 100, fresh=True) is not None
    limit, rooms = lanes.rooms("")
    assert (limit, rooms.each, rooms.of) == (95, 8, {A: 3})


def test_a_lane_that_left_something_behind_tells_when_half_of_it_is_free() -> None:
    lanes = Lanes(most=8, capacity=8, total=100)
    while lane := lanes.reserve(A, 100, fresh=False):
        lanes.enter(lane, Work(1, make_claimed()))
    assert lanes.full() == [A]
    told = []
    while lanes[A].queue:
        told.append(lanes.done(lanes[A], lanes[A].queue.popleft()))
    assert told == [False, False, False, True, False, False, False, False]


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
    assert lanes.crowded({A: 100}) == []
    taken = [lanes.reserve(A, 100, fresh=True) for _ in range(2)]
    assert lanes.crowded({A: 4, B: 4}) == []
    assert lanes.crowded({A: 5}) == [taken[0]]
    lanes.block({A: 0})
    assert lanes.crowded({A: 5}) == []
