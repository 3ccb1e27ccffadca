"""The forms that a webhook can ask for in place of the event as structured CloudEvents JSON.

Each is a module of this package with a FORMAT, under the module's name; plugins bring further ones.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import MappingProxyType
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


def _load_formats() -> dict[str, Format]:
    names = [found.name for found in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}").FORMAT for name in names}


FORMATS: Mapping[str, Format] = MappingProxyType(_load_formats())
"""The forms by the name that stands in a target's `format`; "cloudevents", which needs none, is not here."""
