"""What a long run leaves behind, measured again and again: memory, files, tasks, lag of the loop, sizes of tables."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import aiohttp
import asyncpg
from msgspec import Struct

from dispatcher.store.schema import metadata

TIMEOUT = 5.0
"""Seconds that a process or the database has to answer; what does not is left out of a sample."""

AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver raises while connections are closed on it."""

MIB = 1024 * 1024

_METRIC = re.compile(
    r"^(process_resident_memory_bytes|process_open_fds|dispatcher_tasks"
    r"|dispatcher_loop_lag_seconds_(?:sum|count)) (\S+)$",
    re.MULTILINE,
)

# A partitioned table has its size in its partitions.
_SIZE = """
select coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size($1))::bigint from pg_partition_tree($1)
"""


class Sample(Struct, frozen=True):
    """What was seen `at` so many seconds after the begin, by the name of the series (`memory of 1`, `rows of jobs`)."""

    at: float
    values: Mapping[str, float]


class Tolerance(Struct, frozen=True):
    """How much higher the end may be than the middle: a factor, and something that is always allowed."""

    factor: float
    slack: float


TOLERANCES: Mapping[str, Tolerance] = {
    "memory": Tolerance(1.15, 16 * MIB),
    "files": Tolerance(1.3, 150),
    "tasks": Tolerance(1.2, 50),
    "lag": Tolerance(2.0, 0.02),
    "size": Tolerance(1.3, 4 * MIB),
    "rows": Tolerance(1.3, 500),
}
"""By the first word of the name of a series."""


class Growth(Struct, frozen=True):
    """The medians of the second and the last quarter of a series, and whether they count as the same."""

    series: str
    middle: float
    end: float

    @property
    def flat(self) -> bool:
        """Whether it did not grow more than its tolerance."""
        tolerance = TOLERANCES[self.series.split()[0]]
        return self.end <= self.middle * tolerance.factor + tolerance.slack


class Sampler:
    """Takes samples of these processes (their addresses) and this database."""

    def __init__(self, urls: Sequence[str], database: str) -> None:
        self._urls = urls
        self._database = database
        self._began = time.monotonic()
        self._lags: dict[str, tuple[float, float]] = {}
        self.samples: list[Sample] = []

    async def take(self) -> None:
        """Take one sample. What does not answer meanwhile is left out of it."""
        at, values = time.monotonic() - self._began, dict[str, float]()
        for number, url in enumerate(self._urls, 1):
            try:
                values |= self._read(f"of {number}", await _page(url))
            except (aiohttp.ClientError, TimeoutError):
                continue
        # While it is away the sample has no tables.
        with suppress(OSError, TimeoutError, *AWAY):
            values |= await _tables(self._database)
        self.samples.append(Sample(at, values))

    def _read(self, whose: str, page: str) -> Iterator[tuple[str, float]]:
        found = {name: float(value) for name, value in _METRIC.findall(page)}
        yield f"memory {whose}", found["process_resident_memory_bytes"]
        yield f"files {whose}", found["process_open_fds"]
        yield f"tasks {whose}", found["dispatcher_tasks"]
        now = found["dispatcher_loop_lag_seconds_sum"], found["dispatcher_loop_lag_seconds_count"]
        before = self._lags.get(whose, (0.0, 0.0))
        self._lags[whose] = now
        yield f"lag {whose}", (now[0] - before[0]) / max(1.0, now[1] - before[1])

    def growth(self) -> list[Growth]:
        """What became of each series."""
        end = self.samples[-1].at
        middle = [one for one in self.samples if end / 4 <= one.at < end / 2]
        last = [one for one in self.samples if one.at >= 3 * end / 4]
        names = {name for one in (*middle, *last) for name in one.values}
        return [Growth(name, _median(middle, name), _median(last, name)) for name in sorted(names)]


def _median(samples: Sequence[Sample], name: str) -> float:
    return statistics.median([one.values[name] for one in samples if name in one.values] or [0.0])


async def _page(url: str) -> str:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT)) as session,
        session.get(f"{url}/metrics") as answer,
    ):
        return await answer.text()


async def _tables(database: str) -> dict[str, float]:
    connection = await asyncpg.connect(database, timeout=TIMEOUT, command_timeout=TIMEOUT)
    try:
        found: dict[str, float] = {}
        for name in metadata.tables:
            found[f"size of {name}"] = float(await connection.fetchval(_SIZE, name))
            found[f"rows of {name}"] = float(await connection.fetchval(f"select count(*) from {name}"))  # noqa: S608 - a name of our schema
        return found
    finally:
        connection.terminate()
