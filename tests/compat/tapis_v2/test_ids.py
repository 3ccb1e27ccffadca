from __future__ import annotations

import pytest

from dispatcher.compat.tapis_v2.ids import attempt_of, attempt_uuid, notification_uuid, subscription_id
from dispatcher.domain.ids import new_id


def test_an_agave_id_tells_the_subscription_or_attempt_that_it_stands_for() -> None:
    subscription, delivery = new_id("sub"), new_id("dlv")

    assert subscription_id(notification_uuid(subscription)) == subscription
    assert attempt_of(attempt_uuid(delivery, 12)) == (delivery, 12)


@pytest.mark.parametrize("text", ["", "sub_1", "0001-007", f"{'a' * 16}-{'b' * 16}-0001-007", "x" * 42])
def test_what_is_no_agave_id_of_ours_stands_for_nothing(text: str) -> None:
    assert subscription_id(text) is None
    assert attempt_of(text) is None


def test_a_notification_is_no_attempt() -> None:
    assert attempt_of(notification_uuid(new_id("sub"))) is None
    assert subscription_id(attempt_uuid(new_id("dlv"), 1)) is None
