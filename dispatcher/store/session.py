"""How repositories run their transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection

P = ParamSpec("P")
R = TypeVar("R")


class Run(Protocol):
    """Calls an operation with a connection and returns what it returns."""

    async def __call__(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R: ...


class Session(Protocol):
    """Runs operations on a database. Raises StoreUnavailable when it cannot be reached."""

    async def read(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """What `operation` returns, called with a connection for reading."""
        ...

    async def write(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same in one transaction, which is committed when it returns."""
        ...


class Repository:
    """What all repositories have: a session. Their methods raise StoreUnavailable as it does."""

    def __init__(self, session: Session) -> None:
        self._read: Run = session.read
        self._write: Run = session.write
