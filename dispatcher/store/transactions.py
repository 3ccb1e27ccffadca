"""How parts of a store run their transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection

P = ParamSpec("P")
R = TypeVar("R")


class Run(Protocol):
    """Calls an operation with a connection and returns what it returns; see `SqlStore`."""

    async def __call__(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
