"""What is shown of a subscription where it stands in an error or a log."""

from __future__ import annotations

from tests.factories import make_delivery, make_event, make_subscription


def test_a_subscription_does_not_show_its_secrets() -> None:
    subscription = make_subscription(
        target={"kind": "webhook", "url": "https://example.org/hunter22"}, secrets=("whsec_hunter33",)
    )

    assert subscription.id in repr(subscription)
    assert "hunter" not in repr(make_delivery(make_event(), subscription))
