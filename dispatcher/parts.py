"""Makes the parts of a process that its settings describe."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from dispatcher import compat
from dispatcher.compat.plugin import Plugin
from dispatcher.config.settings import Settings
from dispatcher.delivery.limits import Limits
from dispatcher.domain.targets import TargetKind
from dispatcher.intake.adapters import load_adapters
from dispatcher.intake.decode_context import IntakeAdapter
from dispatcher.intake.hooks import EventHook
from dispatcher.targets.registry import Resources, load_kinds


def make_limits(settings: Settings) -> Limits:
    """The bounds of the delivery engine."""
    delivery = settings.delivery
    return Limits(
        concurrency=delivery.concurrency,
        queue=delivery.queue,
        in_memory=delivery.max_in_memory,
        timeout=delivery.timeout,
        lease=delivery.lease,
        grace=delivery.grace,
    )


def make_kinds(resources: Resources, plugins: Sequence[Plugin]) -> dict[str, TargetKind]:
    """The kinds of targets, with those of plugins; webhooks know the plugins' payloads."""
    formats = {**resources.formats, **{name: form for one in plugins for name, form in one.formats.items()}}
    makers = [make_kind for plugin in plugins for make_kind in plugin.kinds]
    return load_kinds(replace(resources, formats=formats), makers)


def make_adapters() -> list[IntakeAdapter]:
    """The intake adapters, with those of plugins."""
    return [*load_adapters(), *compat.adapters()]


def make_hooks(plugins: Sequence[Plugin]) -> list[EventHook]:
    """The event hooks of plugins."""
    return [hook for plugin in plugins for hook in plugin.event_hooks]
