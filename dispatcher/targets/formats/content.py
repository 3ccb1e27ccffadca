"""What a form makes of an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription


class Content(NamedTuple):
    """A body, and the headers that belong to it."""

    headers: Mapping[str, str]
    body: bytes


Render: TypeAlias = Callable[[Event, str, int], Content]
"""Makes the content of one attempt of an event, from the delivery's id and the attempt's number (from 1)."""


class Format(NamedTuple):
    """A form: what makes it ready for a subscription, and how the names of headers begin that only it may set.

    `summary` says in the API's documentation what it is: "the event as it may be published".
    """

    prepare: Callable[[Subscription], Render]
    summary: str
    headers: tuple[str, ...] = ()
