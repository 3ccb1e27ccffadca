"""Ids."""

from __future__ import annotations

import time
import uuid
from itertools import pairwise

from dispatcher.domain.ids import is_id, lowest_id, new_id


def test_ids_of_one_process_strictly_increase() -> None:
    ids = [new_id("dlv") for _ in range(20_000)]
    assert all(a < b for a, b in pairwise(ids))


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    before = time.time()
    value = uuid.UUID(new_id("evt").removeprefix("evt_"))
    after = time.time()
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert int(before * 1000) <= value.int >> 80 <= int(after * 1000)


def test_the_lowest_id_of_a_time_is_below_what_is_made_then_and_above_what_was_made_before() -> None:
    earlier = new_id("dlv")
    now = time.time()
    assert lowest_id("dlv", now) <= new_id("dlv")
    assert earlier < lowest_id("dlv", now + 1)


def test_only_an_id_of_the_right_kind_is_one() -> None:
    assert is_id("sub", new_id("sub"))
    assert not is_id("sub", new_id("dlv"))
    assert not is_id("sub", "sub_123")
    assert not is_id("sub", new_id("sub").upper())
