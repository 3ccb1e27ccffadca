"""What all tables belong to, and how an index on some of the rows is declared."""

from __future__ import annotations

from sqlalchemy import Index, MetaData, text

metadata = MetaData()


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index on the rows for which a condition holds."""
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))
