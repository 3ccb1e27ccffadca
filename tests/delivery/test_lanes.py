"""Lanes and their bounds."""

from __future__ import annotations

from dispatcher.delivery.lanes import Lanes, Work
from tests.factories import make_claimed

A, B = "https://a:443", "https://b:443"


def test_a_full_lane_takes_nothing_from_another() -> None:
    lanes = Lanes(limit=2, capacity=8, total=100)
    taken = [lanes.reserve(A, fresh=True) for _ in range(10)]
    assert sum(lane is not None for lane in taken) == 6
    assert lanes.reserve(B, fresh=True) is not None


def test_a_quarter_of_a_lane_is_kept_for_what_comes_back_from_the_store() -> None:
    lanes = Lanes(limit=2, capacity=8, total=100)
    while lanes.reserve(A, fresh=True):
        pass
    came_back = [lanes.reserve(A, fresh=False) for _ in range(5)]
    assert sum(lane is not None for lane in came_back) == 2


def test_all_lanes_together_are_bounded() -> None:
    lanes = Lanes(limit=2, capacity=8, total=9)
    taken = [lanes.reserve(f"https://{n}:443", fresh=True) for n in range(20)]
    assert sum(lane is not None for lane in taken) == 9
    assert lanes.rooms("")[0] == 0


def test_places_come_back_and_an_empty_lane_is_forgotten() -> None:
    lanes = Lanes(limit=2, capacity=8, total=100)
    lane = lanes.reserve(A, fresh=True)
    assert lane is not None
    lanes.release(lane)
    assert lanes.rooms("")[0] == 100
    assert lanes[A] is not lane


def test_what_is_dropped_takes_no_room() -> None:
    lanes = Lanes(limit=2, capacity=8, total=100)
    for _ in range(3):
        lane = lanes.reserve(A, fresh=True)
        assert lane is not None
        lanes.enter(lane, Work(1, make_claimed()))
    assert lanes.load == 3
    lanes.drop_queued()
    assert (lanes.load, lanes.rooms("")[0]) == (0, 100)


def test_each_lane_says_how_many_it_can_take() -> None:
    lanes = Lanes(limit=2, capacity=8, total=100)
    for _ in range(5):
        assert lanes.reserve(A, fresh=True) is not None
    limit, rooms = lanes.rooms("")
    assert (limit, rooms.each, rooms.of) == (95, 8, {A: 3})


def test_a_lane_that_left_something_behind_tells_when_half_of_it_is_free() -> None:
    lanes = Lanes(limit=8, capacity=8, total=100)
    while lane := lanes.reserve(A, fresh=False):
        lanes.enter(lane, Work(1, make_claimed()))
    assert lanes.full() == [A]
    told = []
    while lanes[A].queue:
        lanes[A].queue.popleft()
        told.append(lanes.done(lanes[A]))
    assert told == [False, False, False, True, False, False, False, False]


def test_however_many_destinations_hang_the_next_one_finds_room() -> None:
    lanes = Lanes(limit=64, capacity=1000, total=5000)
    for number in range(20):
        while lanes.reserve(f"https://hangs-{number}:443", fresh=True):
            pass
    places = 0
    while lanes.reserve("https://works:443", fresh=True):
        places += 1
    assert places >= 20
