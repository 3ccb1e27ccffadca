"""Shares: how the places that a destination has are divided among those of whom something waits there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from dispatcher.domain.deliveries import Queue, Share


def divide(queues: Sequence[Queue], places: int, *, may_have_more: bool) -> list[Share]:
    """Give the places out one by one: owners take turns, and within an owner the subscriptions.

    None gets more than is due of it, unless there may be more than was counted.
    """
    turns: dict[tuple[str, str], deque[Queue]] = {}
    for queue in queues:
        turns.setdefault((queue.tenant, queue.owner), deque()).append(queue)
    left = {queue.subscription_id: queue.due for queue in queues}
    given = dict.fromkeys(left, 0)
    while places > 0 and turns:
        for owner in list(turns):
            if not places:
                break
            mine = turns[owner]
            queue = mine.popleft()
            key = queue.subscription_id
            given[key] += 1
            places -= 1
            if given[key] < left[key]:
                mine.append(queue)
            elif not mine:
                del turns[owner]
    if may_have_more and places > 0 and queues:
        for key in given:
            given[key] += places // len(queues)
    return [Share(key, count) for key, count in given.items() if count]


def few(queues: Sequence[Queue], places_of: Callable[[str], int]) -> list[Share]:
    """What those may have who have few places in a lane that others fill."""
    shares = [Share(one.subscription_id, min(one.due, places_of(one.subscription_id))) for one in queues]
    return [share for share in shares if share.places > 0]


def rotated(queues: Sequence[Queue], after: str) -> list[Queue]:
    """The queues in the order of their ids, beginning after one."""
    ordered = sorted(queues, key=lambda one: one.subscription_id)
    later = [one for one in ordered if one.subscription_id > after]
    return [*later, *ordered[: len(ordered) - len(later)]]
