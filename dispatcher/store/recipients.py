"""What is stored of recipients of e-mail: who wants mails, whom the relay refuses, how many an address got."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TypeAlias

from sqlalchemy import Connection, delete, func, literal_column, or_, select, tuple_, update

from dispatcher.domain.deliveries import State
from dispatcher.domain.events import utc_now
from dispatcher.domain.recipients import WAITS_FOR_CONSENT, Quota, Recipient, Standing
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store import lists
from dispatcher.store.column_types import DELIVERING
from dispatcher.store.delivery_writes import CHUNK
from dispatcher.store.dialect import upsert
from dispatcher.store.mapping import Row, safe
from dispatcher.store.schema import deliveries, mail_consents, mail_counts, mail_unsubscribed, subscriptions
from dispatcher.store.session import Repository, Session
from dispatcher.store.subscription_mapping import SubscriptionRows
from dispatcher.store.subscriptions import rows as subscription_rows

MAX_TAKEN = 200
"""Messages that are counted in one transaction."""

TIDIED = 10_000
"""How many counts are dropped at once."""

KEPT = 2 * 3600
"""Seconds that counts are kept after their period began."""

Taken: TypeAlias = "asyncio.Future[tuple[Quota, float] | None]"

_consents, _counts, _unsubscribed = mail_consents.c, mail_counts.c, mail_unsubscribed.c


class RecipientRepository(Repository):
    """Recipients. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, session: Session, rows: SubscriptionRows) -> None:
        super().__init__(session)
        self._rows = rows
        self._wanted: list[tuple[Sequence[Quota], datetime, Taken]] = []
        self._taking: asyncio.Task[None] | None = None

    async def standings(self, recipients: Sequence[Recipient]) -> list[Standing]:
        """How it stands with each of these, in their order."""
        return await self._read(_standings, recipients)

    async def take(self, quotas: Sequence[Quota], at: datetime) -> tuple[Quota, float] | None:
        """Count one for each of these, in the periods of the time `at`.

        For none when one is used up: which one, and the seconds from then to its next period.
        """
        future: Taken = asyncio.get_running_loop().create_future()
        self._wanted.append((quotas, at, future))
        if self._taking is None:
            self._taking = asyncio.create_task(self._take_all())
        return await future

    async def _take_all(self) -> None:
        """Count for all who wait in one transaction, as long as there are some: a commit each would cost most."""
        try:
            while self._wanted:
                batch, self._wanted = self._wanted[:MAX_TAKEN], self._wanted[MAX_TAKEN:]
                await self._take_some(batch)
        finally:
            self._taking = None

    async def _take_some(self, batch: Sequence[tuple[Sequence[Quota], datetime, Taken]]) -> None:
        found: Sequence[tuple[Quota, float] | Exception | None]
        try:
            found = await self._write(_take_each, [(quotas, at) for quotas, at, _ in batch])
        except Exception as error:  # noqa: BLE001 - it rises from each of those who wait
            found = [error] * len(batch)
        for (*_, future), one in zip(batch, found, strict=True):
            if future.done():
                continue  # the caller has gone
            if isinstance(one, Exception):
                future.set_exception(one)
            else:
                future.set_result(one)

    async def give_back(self, quotas: Sequence[Quota], at: datetime) -> None:
        """Count one less for each of these, in the periods of the time at which they were taken."""
        await self._write(_give_back, quotas, at)

    async def begin_asking(self, recipient: Recipient, until: datetime) -> bool:
        """Whether the caller is to ask for consent: no one has, and no one else will before `until`."""
        return await self._write(_begin_asking, recipient, until, utc_now())

    async def end_asking(self, recipient: Recipient, *, asked: bool) -> None:
        """Note that consent was asked for, or that it could not be."""
        await self._write(_end_asking, recipient, utc_now() if asked else None)

    async def confirm(self, recipient: Recipient) -> None:
        """The recipient wants the subscriber's mails, also those of this subscription.

        What waited for it is due now.
        """
        released = await self._write(_confirm, recipient, utc_now())
        while released == CHUNK:
            released = await self._write(_release, recipient, utc_now())

    async def unsubscribe(self, recipient: Recipient) -> None:
        """The recipient wants no more mails of this subscription."""
        await self._write(_unsubscribe, recipient, utc_now())

    async def refuse(self, recipient: Recipient, refusal: str) -> None:
        """The relay refuses the address for good."""
        await self._write(_refuse, recipient, refusal, utc_now())

    async def lift_refusals(self, recipients: Sequence[Recipient]) -> None:
        """Forget that the relay refused these; what else is known of them stays."""
        await self._write(_lift_refusals, recipients)

    async def restore(self, recipient: Recipient, *, own: bool) -> None:
        """Send to a recipient again whom the relay refused, or who unsubscribed or did not confirm.

        With `own` at once; otherwise consent has to be asked for once more, if it is missing.
        """
        await self._write(_restore, recipient, own=own)

    async def purge(self) -> None:
        """Drop counts of periods that are over."""
        await self._write(_purge)

    async def subscription(self, subscription_id: str) -> Subscription | None:
        """A subscription of any tenant: for those who have a link into it."""
        found = await self._read(subscription_rows, [subscription_id])
        return self._rows.restore(found[0]) if found else None


def _purge(connection: Connection) -> None:
    before = utc_now() - timedelta(seconds=KEPT)
    past = select(_counts.name, _counts.began).where(_counts.began < before).limit(TIDIED)
    connection.execute(delete(mail_counts).where(tuple_(_counts.name, _counts.began).in_(past)))


def _standings(connection: Connection, recipients: Sequence[Recipient]) -> list[Standing]:
    consents = _consents_of(connection, recipients)
    left = _unsubscribed_of(connection, recipients)
    found: list[Standing] = []
    for one in recipients:
        row = consents.get((one.tenant, one.subscriber, one.key), {})
        fields = {name: row.get(name) for name in ("asked_at", "confirmed_at", "refused_at", "refusal")}
        found.append(Standing(**fields, unsubscribed_at=left.get((one.subscription_id, one.key))))
    return found


def _consents_of(
    connection: Connection, recipients: Sequence[Recipient]
) -> Mapping[tuple[str, str, str], Row]:
    found: dict[tuple[str, str, str], Row] = {}
    whose = sorted({(one.tenant, one.subscriber, one.key) for one in recipients})
    for (tenant, subscriber), group in groupby(whose, key=lambda one: one[:2]):
        for some in lists.chunks([key for _, _, key in group]):
            statement = select(mail_consents).where(
                _consents.tenant == safe(tenant),
                _consents.subscriber == safe(subscriber),
                _consents.address.in_([safe(key) for key in some]),
            )
            rows = lists.rows_of(connection, statement)
            found |= {(tenant, subscriber, row["address"]): row for row in rows}
    return found


def _unsubscribed_of(
    connection: Connection, recipients: Sequence[Recipient]
) -> Mapping[tuple[str, str], datetime]:
    found: dict[tuple[str, str], datetime] = {}
    for some in lists.chunks(sorted({one.subscription_id for one in recipients})):
        statement = select(mail_unsubscribed).where(_unsubscribed.subscription_id.in_(some))
        rows = lists.rows_of(connection, statement)
        found |= {(row["subscription_id"], row["address"]): row["at"] for row in rows}
    return found


def _take(connection: Connection, quotas: Sequence[Quota], now: datetime) -> tuple[Quota, float] | None:
    for index, quota in enumerate(quotas):
        began = _began(quota, now)
        row = {"name": safe(quota.name), "began": began, "count": 1}
        counted = upsert(
            connection, mail_counts, row, {"count": _counts.count + 1}, _counts.count < quota.limit
        )
        if not counted:
            _give_back(connection, quotas[:index], now)
            return quota, (began - now).total_seconds() + quota.period
    return None


def _take_each(
    connection: Connection, wanted: Sequence[tuple[Sequence[Quota], datetime]]
) -> list[tuple[Quota, float] | None]:
    return [_take(connection, quotas, at) for quotas, at in wanted]


def _give_back(connection: Connection, quotas: Sequence[Quota], now: datetime) -> None:
    for quota in quotas:
        this = (_counts.name == safe(quota.name), _counts.began == _began(quota, now), _counts.count > 0)
        connection.execute(update(mail_counts).values(count=_counts.count - 1).where(*this))


def _began(quota: Quota, now: datetime) -> datetime:
    seconds = int(now.timestamp())
    return datetime.fromtimestamp(seconds - seconds % quota.period, UTC)


def _begin_asking(connection: Connection, recipient: Recipient, until: datetime, now: datetime) -> bool:
    row = {**_whose(recipient), "asking_until": until}
    unasked = or_(_consents.asking_until.is_(None), _consents.asking_until < now)
    free = (_consents.asked_at.is_(None)) & unasked
    return upsert(connection, mail_consents, row, {"asking_until": until}, free)


def _end_asking(connection: Connection, recipient: Recipient, asked_at: datetime | None) -> None:
    ended = update(mail_consents).values(asked_at=asked_at, asking_until=None)
    connection.execute(ended.where(*_this(recipient)))


def _confirm(connection: Connection, recipient: Recipient, now: datetime) -> int:
    row = {**_whose(recipient), "asked_at": now, "confirmed_at": now}
    first = func.coalesce(_consents.confirmed_at, now)
    upsert(connection, mail_consents, row, {"confirmed_at": first}, None)
    connection.execute(delete(mail_unsubscribed).where(*_left(recipient)))
    return _release(connection, recipient, now)


def _release(connection: Connection, recipient: Recipient, now: datetime) -> int:
    """Make some of what waits for a consent to the subscriber due now; CHUNK when there may be more."""
    table, whose = deliveries.c, subscriptions.c
    theirs = select(whose.id).where(
        whose.tenant == safe(recipient.tenant),
        whose.subscriber == safe(recipient.subscriber),
        whose.removed_at.is_(None),
    )
    # The condition of the index deliveries_waiting, as it stands there.
    waiting = table.listed_as < literal_column(str(DELIVERING))
    some = (
        select(table.id)
        .where(
            table.subscription_id.in_(theirs),
            waiting,
            table.due_at > now,
            table.reason.startswith(WAITS_FOR_CONSENT, autoescape=True),
        )
        .limit(CHUNK)
    )
    released = update(deliveries).values(due_at=now)
    return connection.execute(released.where(table.id.in_(some), table.state == State.PENDING)).rowcount


def _unsubscribe(connection: Connection, recipient: Recipient, now: datetime) -> None:
    row = {"subscription_id": recipient.subscription_id, "address": safe(recipient.key), "at": now}
    upsert(connection, mail_unsubscribed, row, {"at": _unsubscribed.at}, None)


def _refuse(connection: Connection, recipient: Recipient, refusal: str, now: datetime) -> None:
    refused = {"refused_at": now, "refusal": safe(refusal)}
    upsert(connection, mail_consents, {**_whose(recipient), **refused}, refused, None)


def _lift_refusals(connection: Connection, recipients: Sequence[Recipient]) -> None:
    lifted = update(mail_consents).values(refused_at=None, refusal=None)
    for recipient in recipients:
        connection.execute(lifted.where(*_this(recipient)))


def _restore(connection: Connection, recipient: Recipient, *, own: bool) -> None:
    accepted = update(mail_consents).values(refused_at=None, refusal=None).where(*_this(recipient))
    connection.execute(accepted)
    if own:
        connection.execute(delete(mail_unsubscribed).where(*_left(recipient)))
        return
    left = select(_unsubscribed.at).where(*_left(recipient)).exists()
    again = update(mail_consents).values(asked_at=None, asking_until=None)
    connection.execute(again.where(*_this(recipient), or_(_consents.confirmed_at.is_(None), left)))


def _whose(recipient: Recipient) -> dict[str, str]:
    return {
        "tenant": safe(recipient.tenant),
        "subscriber": safe(recipient.subscriber),
        "address": safe(recipient.key),
    }


def _this(recipient: Recipient) -> list[lists.Condition]:
    return [_consents[name] == value for name, value in _whose(recipient).items()]


def _left(recipient: Recipient) -> list[lists.Condition]:
    return [
        _unsubscribed.subscription_id == recipient.subscription_id,
        _unsubscribed.address == safe(recipient.key),
    ]
