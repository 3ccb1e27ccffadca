"""What `dispatcher doctor` looks at of API keys: which may publish for their owner only."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.cli.checks import Finding, State
from dispatcher.cli.database_reader import read_rows
from dispatcher.config.settings import Settings

_ADVICE = "where one is a service's that publishes for others: make it a key with the scope publish:any"


async def publishers(settings: Settings) -> Finding:
    """Which keys publish for their owner only and subscribe as well; before version 0.2 they named any owner."""
    from dispatcher.store.keys import MAX_NAMED_KEYS

    try:
        found = await _owner_bound(settings)
    except Exception:  # noqa: BLE001 - the check of the database says what is wrong with it
        return Finding(
            "publishers", State.OK, "not looked at: the database has no keys yet, or does not answer"
        )
    if not found:
        return Finding("publishers", State.OK, "no key that subscribes publishes as well")
    more = " and more" if len(found) > MAX_NAMED_KEYS else ""
    named = ", ".join(f"{key} ({owner} of {tenant})" for key, owner, tenant in found[:MAX_NAMED_KEYS])
    return Finding("publishers", State.OK, f"for their owner only: {named}{more}", _ADVICE)


async def _owner_bound(settings: Settings) -> Sequence[tuple[str, str, str]]:
    from dispatcher.store.keys import OWNER_BOUND_KEYS

    rows = await read_rows(settings, OWNER_BOUND_KEYS)
    return [
        (f"key_{key.hex() if isinstance(key, bytes) else key.hex}", owner, tenant)
        for key, owner, tenant in rows
    ]
