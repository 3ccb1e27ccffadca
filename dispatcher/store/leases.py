"""The processes that share the work, each with one lease for all that it has claimed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.store.delivery_writes import free_claims
from dispatcher.store.dialect import clock
from dispatcher.store.mapping import safe
from dispatcher.store.schema import processes
from dispatcher.store.session import Repository

LONGEST_LEASE = timedelta(hours=2)
"""Longer than a lease can be set to."""


class LeaseRepository(Repository):
    """Leases of processes."""

    async def register(self, host: str, pid: int, lease: float) -> int:
        """Enter a process, with a lease of so many seconds. Returns the lease's id, which goes into every claim."""
        return await self._write(_register, host, pid, lease)

    async def renew(self, lease_id: int, lease: float, oldest_claim: str) -> bool:
        """Renew a lease.

        `oldest_claim` is at most the lowest delivery id that the process claimed on acceptance and still has.
        False when the lease was lost: others have taken its claims over.
        """
        return await self._write(_renew, lease_id, lease, oldest_claim)

    async def release(self, lease_id: int) -> int:
        """End a lease, and its process: what it still has claimed is pending again, due now. How many."""
        return await self._write(_release, lease_id)

    async def release_expired(self) -> int:
        """The same for every process whose lease has ended. How many deliveries were freed."""
        return await self._write(_release_expired)

    async def is_oldest(self, lease_id: int) -> bool:
        """Whether no process with a lease is older: that one does what only one has to do."""
        return await self._read(_is_oldest, lease_id)


def _register(connection: Connection, host: str, pid: int, lease: float) -> int:
    now = clock(connection)
    row = {
        "pid": pid,
        "started_at": now,
        "lease_until": now + timedelta(seconds=lease),
        "oldest_claim": new_id("dlv"),
        "host": safe(host),
    }
    entered: int = connection.execute(insert(processes).values(row).returning(processes.c.id)).scalar_one()
    return entered


def _renew(connection: Connection, lease_id: int, lease: float, oldest_claim: str) -> bool:
    """Renew a lease, unless the process was ended by others."""
    until = clock(connection) + timedelta(seconds=lease)
    renewed = (
        update(processes)
        .values(lease_until=until, oldest_claim=oldest_claim)
        .where(processes.c.id == lease_id)
    )
    return connection.execute(renewed).rowcount == 1


def touch(connection: Connection, lease_id: int) -> None:
    """Write a row of this process. Its lease gets a microsecond longer: what stays as it is SQLite does not write."""
    this = processes.c.id == lease_id
    until = connection.execute(select(processes.c.lease_until).where(this)).scalar()
    if until is not None:
        connection.execute(
            update(processes).values(lease_until=until + timedelta(microseconds=1)).where(this)
        )


def _release(connection: Connection, lease_id: int) -> int:
    this = select(processes).where(processes.c.id == lease_id).with_for_update()
    return sum(_end(connection, row.id, row.oldest_claim) for row in connection.execute(this).all())


def _release_expired(connection: Connection) -> int:
    """End the processes whose lease has ended, except those that others end or that are storing a batch."""
    lasting = processes.c.lease_until.between(*_leases(connection))
    late = select(processes).where(~lasting).with_for_update(skip_locked=True)
    return sum(_end(connection, row.id, row.oldest_claim) for row in connection.execute(late).all())


def _leases(connection: Connection) -> tuple[datetime, datetime]:
    """The times between which a lease ends now. One that ends later is from before the clock was set back."""
    now = clock(connection)
    return now, now + LONGEST_LEASE


def release_all(connection: Connection) -> int:
    """End every process: where there can only be one, those that are there have died."""
    everyone = connection.execute(select(processes)).all()
    return sum(_end(connection, row.id, row.oldest_claim) for row in everyone)


def _end(connection: Connection, lease_id: int, oldest_claim: str) -> int:
    freed = free_claims(connection, lease_id, oldest_claim, utc_now())
    connection.execute(delete(processes).where(processes.c.id == lease_id))
    return freed


def _is_oldest(connection: Connection, lease_id: int) -> bool:
    oldest = select(func.min(processes.c.id)).where(processes.c.lease_until.between(*_leases(connection)))
    found: int | None = connection.execute(oldest).scalar()
    return found == lease_id
