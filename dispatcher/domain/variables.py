"""Variables: the names that stand in a subscriber's URL, header, body or e-mail, and what they stand for.

`$<NAME>` and `${NAME}` are the same thing. A NAME is one of VARIABLES, or `data.path.to.field` into the
event's data. `$` in any other place is plain text. There is no escape: `${` and `$<` always open a variable.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from dispatcher.domain.data_paths import value_at

# The table of a job monitoring guide, from JOB_OWNER on our own, and from OWNER on what else its job service knows.
VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "UUID": "The UUID of the job",
        "EVENT": "The event which occurred",
        "JOB_STATUS": "The status of the job at the time the event occurs",
        "JOB_URL": "The URL of the job within the API",
        "JOB_ID": "The unique id of the job",
        "JOB_SYSTEM": "The id of the job's execution system (ex. ssh.execute.example.com)",
        "JOB_NAME": "The user-supplied name of the job",
        "JOB_START_TIME": "The time when the job started running, in ISO 8601 format",
        "JOB_END_TIME": "The time when the job stopped running, in ISO 8601 format",
        "JOB_SUBMIT_TIME": "The time when the job was submitted by the user, in ISO 8601 format",
        "JOB_ARCHIVE_PATH": "The path on the archive system where the job output will be staged",
        "JOB_ARCHIVE_URL": "The URL of the archived data",
        "JOB_ERROR": "The error message explaining why a job failed; empty if it completed successfully",
        "JOB_OWNER": "The user whose job it is",
        "JOB_APP_ID": "The id of the app that the job runs",
        "JOB_MESSAGE": "The message that came with the event",
        "TENANT": "The tenant of the job",
        "OWNER": "The user whose job it is",
        "RAW_JSON": "The job document, as JSON",
        "APP_ID": "The id of the app that the job runs",
        "JOB_BATCH_QUEUE": "The batch queue that it runs in",
        "JOB_CREATED": "The time when the job was created, in ISO 8601 format",
        "JOB_EXECUTION_SYSTEM": "The id of the job's execution system",
        "JOB_INPUTS": "The inputs of the job, as JSON",
        "JOB_LOCAL_ID": "The id that the execution system's scheduler gave it",
        "JOB_MAX_RUNTIME": "The longest time that it may run",
        "JOB_MEMORY_PER_NODE": "The memory that it asked for, on each node",
        "JOB_NODE_COUNT": "The number of nodes that it asked for",
        "JOB_OUTPUT_PATH": "The path of its output on the execution system, or of the archived one",
        "JOB_PARAMETERS": "The parameters of the job, as JSON",
        "JOB_PROCESSORS_PER_NODE": "The number of processors that it asked for, on each node",
        "JOB_TENANT": "The tenant of the job",
        "JOB_ARCHIVE": "Whether its output is archived: true or false",
        "JOB_ARCHIVE_SYSTEM": "The id of the system where its output is archived",
        "JOB_JSON": "The job document, as JSON",
        "PERMISSION_ID": "The id of the permission that was granted or removed",
        "PERMISSION_PERMISSION": "The permission that was granted or removed",
        "PERMISSION_USERNAME": "The user to whom it was granted, or who had it",
    }
)

_VARIABLE = re.compile(r"\$([{<])([^$<>{}]*)([}>]?)")
_CLOSING = {"{": "}", "<": ">"}
_DATA_PATH = re.compile(r"data(?:\.[A-Za-z0-9_-]+)+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SHOWN_LENGTH = 40


class TemplateError(ValueError):
    """A template is wrong as it was written: says what stands where, and what would be right."""


class Values(Protocol):
    """What the variables stand for in one event."""

    def get(self, name: str, /) -> str:
        """The value of one of VARIABLES or of a `data.…` path; empty when the event does not have it."""


class Variable(NamedTuple):
    """A variable in a text: its name, and text[start:end] as it is written."""

    name: str
    start: int
    end: int


def parse(text: str) -> list[Variable]:
    """The variables in a text, in order.

    Raises TemplateError for an unknown name, a variable that is not closed, and a text that is not Unicode.
    """
    if found := _SURROGATE.search(text):
        position = found.start() + 1
        raise TemplateError(f"lone surrogate {found[0]!a} at character {position}: expected Unicode text")
    return list(_variables(text))


def _variables(text: str) -> Iterator[Variable]:
    for found in _VARIABLE.finditer(text):
        opening, name, closing = found.groups()
        position = found.start() + 1
        if closing != _CLOSING[opening]:
            raise TemplateError(
                f"the variable {_shown('$' + opening + name)} at character {position} is not closed: "
                f'expected "{_CLOSING[opening]}" after its name'
            )
        if name not in VARIABLES and not _DATA_PATH.fullmatch(name):
            raise TemplateError(_unknown(name, position))
        yield Variable(name, found.start(), found.end())


def _unknown(name: str, position: int) -> str:
    if name == "data" or name.startswith("data."):
        return (
            f"{_shown(name)} at character {position} is no path into the event's data: "
            'expected keys of letters, digits, "_" and "-" with dots between them, as in data.path.to.field'
        )
    return f"unknown variable {_shown(name)} at character {position}; {_advice(name.strip()[:_SHOWN_LENGTH])}"


def _advice(name: str) -> str:
    if name in VARIABLES:
        return f"did you mean {name}?"
    if name.upper() in VARIABLES:
        return f"did you mean {name.upper()}? Names are case-sensitive"
    if name.lower().startswith("data."):
        return f"did you mean data{name[4:]}? Names are case-sensitive"
    for nearest in difflib.get_close_matches(name.upper(), VARIABLES, n=1):
        return f"did you mean {nearest}?"
    return f"known are {', '.join(VARIABLES)} and data.path.to.field"


def _shown(name: str) -> str:
    """A name as an error shows it: short, and quoted when it is not a plain one."""
    short = name if len(name) <= _SHOWN_LENGTH else name[:_SHOWN_LENGTH] + "…"
    return short if short.isprintable() and short and " " not in short else ascii(short)


def lookup(data: object, path: Sequence[str]) -> str:
    """The text of what stands at a path in decoded JSON; empty when nothing, or null, stands there.

    Each step is an object's key or a list's index, counted from 0. A string comes as it is, everything else
    as JSON: `true`, `1.5`, `{"a":[1]}`.
    """
    found = value_at(data, path)
    if isinstance(found, str):
        return found
    # Not msgspec: this one takes a lone surrogate inside an object, and the templates replace it.
    return "" if found is None else json.dumps(found, ensure_ascii=False, separators=(",", ":"))
