"""The types of the columns: ids, times and states, as each of the two databases stores them best."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Dialect, LargeBinary, SmallInteger, TypeDecorator, Uuid
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeEngine

from dispatcher.domain.deliveries import State
from dispatcher.domain.ids import Prefix

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_FIRST = datetime.min.replace(tzinfo=UTC) + MICROSECOND
_LAST = datetime.max.replace(tzinfo=UTC) - MICROSECOND

PENDING, DELIVERING, DELIVERED = 0, 1, 2

CODES = {
    State.PENDING: PENDING,
    State.DELIVERING: DELIVERING,
    State.DELIVERED: DELIVERED,
    State.EXHAUSTED: 3,
    State.CANCELLED: 4,
    State.SUPERSEDED: 5,
}
"""How states are stored. The numbers stand in databases and in predicates of indexes: never change one."""

STATES = {code: state for state, code in CODES.items()}


class Id(TypeDecorator[str]):
    """An id of ours: a UUID in PostgreSQL, 16 bytes in SQLite; both sort as the text does."""

    impl = Uuid
    cache_ok = True

    def __init__(self, prefix: Prefix) -> None:
        super().__init__()
        self.prefix = prefix

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(LargeBinary(16) if dialect.name == "sqlite" else Uuid())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | UUID | None:
        if value is None:
            return None
        digits = value.removeprefix(f"{self.prefix}_")
        return bytes.fromhex(digits) if dialect.name == "sqlite" else UUID(digits)

    def process_result_value(self, value: bytes | UUID | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return f"{self.prefix}_{value.hex if isinstance(value, UUID) else value.hex()}"


class Digest(TypeDecorator[bytes]):
    """16 bytes: a UUID in PostgreSQL, because its arrays have a fixed width there."""

    impl = Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(LargeBinary(16) if dialect.name == "sqlite" else Uuid())

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | UUID | None:
        return value if value is None or dialect.name == "sqlite" else UUID(bytes=value)

    def process_result_value(self, value: bytes | UUID | None, dialect: Dialect) -> bytes | None:
        return value.bytes if isinstance(value, UUID) else value


class Moment(TypeDecorator[datetime]):
    """A time in UTC, to the microsecond: `timestamptz` in PostgreSQL, microseconds since 1970 in SQLite."""

    impl = TIMESTAMP
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else TIMESTAMP(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        if value is None:
            return None
        return microseconds(value) if dialect.name == "sqlite" else finite(value)

    def process_result_value(self, value: datetime | int | None, dialect: Dialect) -> datetime | None:
        return EPOCH + MICROSECOND * value if isinstance(value, int) else value


class StateCode(TypeDecorator[State]):
    """A delivery's state as a small number."""

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: State | None, dialect: Dialect) -> int | None:
        return None if value is None else CODES[value]

    def process_result_value(self, value: int | None, dialect: Dialect) -> State | None:
        return None if value is None else STATES[value]


def finite(moment: datetime) -> datetime:
    """The time itself, but for the first and the last there is: asyncpg takes these for infinite ones."""
    return moment if 1 < moment.year < 9999 else min(max(moment, _FIRST), _LAST)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, exactly."""
    return (moment - EPOCH) // MICROSECOND
