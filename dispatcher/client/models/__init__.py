"""What the API answers, as types. Names and meanings are those of the OpenAPI document.

Fields that a server does not send have a default, and fields that are not known here are skipped, so that client and
server may differ in version. For the same reason states are texts.
"""

from __future__ import annotations

from dispatcher.client.models.deliveries import (
    Attempt,
    Counted,
    Delivery,
    DeliveryDetail,
    Destination,
    Lane,
)
from dispatcher.client.models.events import (
    Accepted,
    Event,
    EventDelivery,
    EventDetail,
    Expanding,
    HistoryItem,
    Job,
    JobStatus,
    ListedEvent,
    Page,
    Replayed,
)
from dispatcher.client.models.service import (
    Health,
    Key,
    KeyWithText,
    Quota,
)
from dispatcher.client.models.subscriptions import (
    DigestPolicy,
    FailedCondition,
    MatchList,
    RateLimit,
    Recipient,
    RetryPolicy,
    Schedule,
    Subscription,
    SubscriptionWithSecret,
    TestResult,
    TriedEvent,
    TriedSubscription,
)

__all__ = [
    "Accepted",
    "Attempt",
    "Counted",
    "Delivery",
    "DeliveryDetail",
    "Destination",
    "DigestPolicy",
    "Event",
    "EventDelivery",
    "EventDetail",
    "Expanding",
    "FailedCondition",
    "Health",
    "HistoryItem",
    "Job",
    "JobStatus",
    "Key",
    "KeyWithText",
    "Lane",
    "ListedEvent",
    "MatchList",
    "Page",
    "Quota",
    "RateLimit",
    "Recipient",
    "Replayed",
    "RetryPolicy",
    "Schedule",
    "Subscription",
    "SubscriptionWithSecret",
    "TestResult",
    "TriedEvent",
    "TriedSubscription",
]
