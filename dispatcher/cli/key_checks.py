"""What `dispatcher doctor` looks at of API keys: which may publish for their owner only."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from urllib.parse import quote

from dispatcher.cli.checks import TIMEOUT, Finding, State
from dispatcher.config import Settings, sqlite_file

_ADVICE = "where one is a service's that publishes for others: make it a key with the scope publish:any"


async def publishers(settings: Settings) -> Finding:
    """Which keys publish for their owner only and subscribe as well; before version 0.2 they named any owner."""
    from dispatcher.store.queries import MAX_NAMED_KEYS

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
    from dispatcher.store.postgres_server import connect_limited
    from dispatcher.store.postgres_sql import COLD_SETTINGS
    from dispatcher.store.queries import OWNER_BOUND_KEYS

    url = settings.database.url
    file = sqlite_file(url)
    if file is not None:
        address = f"file:{quote(str(file))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=TIMEOUT)) as reader:
            rows = reader.execute(OWNER_BOUND_KEYS).fetchall()
        return [(f"key_{key.hex()}", owner, tenant) for key, owner, tenant in rows]
    connection = await connect_limited(url.reveal(), COLD_SETTINGS)
    try:
        found = await connection.fetch(OWNER_BOUND_KEYS)
    finally:
        await connection.close()
    return [(f"key_{row['id'].hex}", row["owner"], row["tenant"]) for row in found]
