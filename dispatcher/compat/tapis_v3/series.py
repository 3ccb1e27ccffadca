"""Series of events of Tapis v3: how many were published. Each function with a connection is a part of a transaction."""

from __future__ import annotations

from hashlib import blake2b

from sqlalchemy import Connection, delete

from dispatcher.compat.tapis_v3.tables import tapis_series
from dispatcher.domain.events import utc_now
from dispatcher.store.dialect import insert

MAX_KEY = 120
"""Characters of a part of a series' key that are kept as they are; a hash stands for a longer one."""


def series_name(series: str, publisher: str | None) -> str:
    """The name of a publisher's series; a trusted publisher, None, has it as it is."""
    # An owner has no control characters, so it is clear where it ends.
    return series if publisher is None else f"{publisher}\x1f{series}"


def count_on(connection: Connection, tenant: str, source: str, subject: str, series: str) -> int:
    """The number of the next event of a series, from 1."""
    this, now = _key(tenant, source, subject, series), utc_now()
    column = tapis_series.c.count
    counted = (
        insert(connection, tapis_series)
        .values(**this, count=1, updated_at=now)
        .on_conflict_do_update(index_elements=list(this), set_={"count": column + 1, "updated_at": now})
        .returning(column)
    )
    number: int = connection.execute(counted).scalar_one()
    return number


def end(connection: Connection, tenant: str, source: str, subject: str, series: str) -> bool:
    """Delete the count of a series. Whether there was one."""
    this = [tapis_series.c[name] == value for name, value in _key(tenant, source, subject, series).items()]
    return connection.execute(delete(tapis_series).where(*this)).rowcount == 1


def _key(tenant: str, source: str, subject: str, series: str) -> dict[str, str]:
    """The key of a series. An index of PostgreSQL takes 2704 bytes a row: a hash stands for what is long."""
    parts = {"tenant": tenant, "source": source, "subject": subject, "series": series}
    return {name: text if len(text) <= MAX_KEY else _hashed(text) for name, text in parts.items()}


def _hashed(text: str) -> str:
    return f"blake2b:{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
