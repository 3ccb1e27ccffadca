"""Who may say and see what of whose job: the data of the tables in docs/security.md, and of the test of each cell.

`python -m tests.trust.table` writes the tables into the page.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from msgspec import Struct

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- the tables begin: tests/trust/table.py makes them -->", "<!-- the tables end -->"

WHO = {
    "amqp": "AMQP",
    "admin": "admin key",
    "any": "key with `publish:any`",
    "owner": "alice's key",
    "other": "bob's key",
    "reader": "alice's key with `subscribe` only",
    "grantee": "carol's key (granted)",
    "service": "Tapis v3 service token",
    "user": "Tapis v3 user token (alice)",
    "tethys": "Tethys token of alice's key",
    "tethys_other": "Tethys token of bob's key",
    "loopback": "Tethys from loopback",
    "anonymous": "no key",
    "tenant": "admin key of another tenant",
}


class Table(Struct, frozen=True):
    """A heading, an explanation, and rows: what is done, and what becomes of it by who does it."""

    name: str
    text: str
    rows: dict[str, dict[str, str]]


def _trusted(outcome: str, *more: str) -> dict[str, str]:
    return dict.fromkeys(("amqp", "admin", "any", *more), outcome)


_NO_PUBLISHER = {"reader": "403", "anonymous": "401", "tenant": "elsewhere"}
_SHUT_OUT = {"anonymous": "401", "any": "403", "tenant": "404"}

PUBLISH = Table(
    "publish",
    "A status of a job of alice. *Claimed*: a trusted publisher gave it to her. *Unclaimed*: only her own key named "
    "it. **hers**: it is an event of alice, and the job, which is claimed from then on, changes. **hers, unclaimed**: "
    "the same, but the job stays unclaimed. **bob's**: an event of bob; the job changes and stays alice's. **claimed "
    "by bob**: the job is bob's from then on. **of no owner**: only admins see it, and alice if the job is claimed. "
    "**apart**: an event of bob that only he and admins see; the job does not change. **elsewhere**: it is another "
    "tenant's job.",
    {
        "naming alice, claimed": _trusted("hers", "service")
        | {"owner": "hers", "other": "403", "user": "401"}
        | _NO_PUBLISHER,
        "naming alice, unclaimed": _trusted("hers", "service")
        | {"owner": "hers, unclaimed", "other": "403", "user": "401"}
        | _NO_PUBLISHER,
        "naming bob, claimed": _trusted("bob's", "service")
        | {"owner": "403", "other": "403", "user": "401"}
        | _NO_PUBLISHER,
        "naming bob, unclaimed": _trusted("claimed by bob", "service")
        | {"owner": "403", "other": "apart", "user": "401"}
        | _NO_PUBLISHER,
        "naming no owner, claimed": _trusted("of no owner")
        | {"owner": "hers", "other": "403", "tethys": "hers", "tethys_other": "403", "loopback": "hers"}
        | _NO_PUBLISHER,
        "naming no owner, unclaimed": _trusted("of no owner")
        | {"owner": "hers, unclaimed", "other": "apart"}
        | {"tethys": "hers, unclaimed", "tethys_other": "apart", "loopback": "of no owner"}
        | _NO_PUBLISHER,
    },
)
GRANT = Table(
    "grant",
    "A `PERMISSION_GRANT` or `PERMISSION_REVOKE` about carol; trusted publishers name alice. **holds**: carol sees the "
    "job. **until claimed**: she sees it, and no longer once a trusted publisher names the job's owner. **bob's "
    "only**: she sees what bob said of the job, until it is claimed. **ends**: she sees it no longer.",
    {
        "grant, claimed": _trusted("holds") | {"owner": "holds", "other": "403"} | _NO_PUBLISHER,
        "grant, unclaimed": _trusted("holds")
        | {"owner": "until claimed", "other": "bob's only"}
        | _NO_PUBLISHER,
        "revoke, claimed": _trusted("ends") | {"owner": "ends", "other": "403"} | _NO_PUBLISHER,
    },
)
_EVERYBODY = {"admin": "yes", "owner": "yes", "reader": "yes", "other": "404", "grantee": "yes"} | _SHUT_OUT
_NOT_GRANTED = _EVERYBODY | {"grantee": "404"}
_ADMINS = _NOT_GRANTED | {"owner": "404", "reader": "404"}
READ = Table(
    "read",
    "Carol's grant is of alice's job. In the shape of Tapis v2 the same holds. Replaying sends to the caller's own "
    "subscriptions only, an admin's to all. **nothing**: it is waited for as a job that is not known.",
    {
        "a claimed job": _EVERYBODY,
        "a claimed job, in Tapis v2": _EVERYBODY,
        "its status": _EVERYBODY,
        "wait for it": _EVERYBODY | {"other": "nothing", "tenant": "nothing"},
        "its history": _EVERYBODY,
        "its event of alice": _EVERYBODY,
        "its event that names no owner": _NOT_GRANTED,
        "its deliveries to alice": _NOT_GRANTED,
        "an unclaimed job": _NOT_GRANTED,
        "wait for an unclaimed job": _NOT_GRANTED
        | {"grantee": "nothing", "other": "nothing", "tenant": "nothing"},
        "its own event": _NOT_GRANTED,
        "a trusted event without owner of an unclaimed job": _ADMINS,
        "replay its event of alice": _EVERYBODY,
        "subscribe to a claimed job": _EVERYBODY | {"other": "403", "tenant": "yes"},
        "subscribe to an unclaimed job": _EVERYBODY | {"other": "yes", "tenant": "yes"},
    },
)
_OWN = {"owner": "own only", "other": "own only", "user": "401", "reader": "401", "anonymous": "401"}
END_OF = Table(
    "end",
    "Tapis v3: an event with `deleteSubscriptionsMatchingSubject` for a subject to which alice and bob subscribe, and "
    "the end of a series that a service counts.",
    {
        "subscriptions to a subject": {"service": "everybody's", "admin": "everybody's", "any": "everybody's"}
        | _OWN,
        "a series": {"service": "everybody's", "admin": "everybody's", "any": "everybody's"} | _OWN,
    },
)
TABLES = (PUBLISH, GRANT, READ, END_OF)


def markdown() -> str:
    """The tables as they stand in the page."""
    return "\n".join(_one(table) for table in TABLES)


def _one(table: Table) -> str:
    who = [name for name in WHO if any(name in cells for cells in table.rows.values())]
    columns, lines = (
        list(table.rows),
        {WHO[name]: [cells.get(name, "") for cells in table.rows.values()] for name in who},
    )
    if len(columns) > len(who):
        lines = {what: [cells[name] for name in who] for what, cells in table.rows.items()}
        columns = [WHO[name] for name in who]
    rows = [f"| {name} | {' | '.join(cells)} |" for name, cells in lines.items()]
    head = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    return "\n".join([*textwrap.wrap(table.text, 118), "", *head, *rows, ""])


def with_tables(page: str) -> str:
    """The page with the tables in their place."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
