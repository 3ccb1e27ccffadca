"""What the variables of subscribers stand for in one event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from dispatcher.domain.data_paths import is_plain
from dispatcher.domain.event_names import TERMINAL, document_status, status_of
from dispatcher.domain.events import Event, text_in
from dispatcher.domain.templates import RenderError
from dispatcher.domain.variables import lookup

MAX_TEXT = 1 << 20
"""Characters that all values in one request or message may have together: a template can repeat each of them."""

_FAILURES = TERMINAL - {"FINISHED"} | {"ARCHIVING_FAILED"}


class EventValues:
    """The values of VARIABLES, and of `data.…` paths, in one event.

    `data.x` is looked for in the data of the CloudEvent. When it came in plain form, so that its data has the
    fields `event`, `status`, `message`, `job` and `data`, it is looked for in the publisher's own data too.

    The document is decoded when a value needs it, which EVENT, JOB_ID, UUID, JOB_OWNER and TENANT do not.
    One request or message takes all its values from the same object, MAX_TEXT characters at most.
    """

    __slots__ = ("_event", "_left")

    def __init__(self, event: Event) -> None:
        self._event = event.with_cached_document()
        self._left = MAX_TEXT

    def get(self, name: str, /) -> str:
        """The value of a variable, empty when the event does not have it.

        KeyError: no such variable. RenderError: it and those before it are more than MAX_TEXT together.
        """
        value = self._value(name)
        self._left -= len(value)
        if self._left < 0:
            raise RenderError(
                f"with the value of {name} the variables have more than {MAX_TEXT} characters together"
            )
        return value

    def _value(self, name: str) -> str:
        if name.startswith("data."):
            return data_text(self._event.data, name.split(".")[1:])
        return _READERS[name](self._event) or ""


def data_text(data: object, path: Sequence[str]) -> str:
    """The text of what stands at a path in an event's data, or else in the publisher's own; empty when nothing does."""
    found = lookup(data, path)
    if not found and isinstance(data, dict) and is_plain(data):
        return lookup(data.get("data"), path)
    return found


def _job_field(*names: str) -> Callable[[Event], str | None]:
    return lambda event: text_in(event.job, *names)


def _job_value(name: str) -> Callable[[Event], str]:
    """The same for a field that may be a number, a list or an object."""
    return lambda event: lookup(event.job, (name,))


def _job_document(event: Event) -> str:
    return lookup(event.job, ()) if event.job else ""


def _permission_field(*names: str) -> Callable[[Event], str | None]:
    def read(event: Event) -> str | None:
        if event.event not in ("PERMISSION_GRANT", "PERMISSION_REVOKE") or not isinstance(event.data, dict):
            return None
        own = event.data.get("data")
        return (text_in(own, *names) if isinstance(own, dict) else None) or text_in(event.data, *names)

    return read


def _job_link(name: str) -> Callable[[Event], str | None]:
    return lambda event: lookup(event.job, ("_links", name, "href"))


def _status(event: Event) -> str | None:
    data = event.data
    if isinstance(data, dict) and is_plain(data) and (status := text_in(data, "status")):
        return status
    # An event that names a status is right about it; the document beside it may be from a moment before.
    return status_of(event.event) or document_status(event.job.get("status"))


def _error(event: Event) -> str | None:
    if event.event not in _FAILURES:
        return None
    return text_in(event.job, "errorMessage") or event.message or text_in(event.job, "lastStatusMessage")


_READERS: Mapping[str, Callable[[Event], str | None]] = MappingProxyType(
    {
        "UUID": lambda event: event.job_id,
        "EVENT": lambda event: event.event,
        "JOB_STATUS": _status,
        "JOB_URL": _job_link("self"),
        "JOB_ID": lambda event: event.job_id,
        "JOB_SYSTEM": _job_field("executionSystem", "system"),
        "JOB_NAME": _job_field("name", "jobName"),
        "JOB_START_TIME": _job_field("startTime"),
        "JOB_END_TIME": _job_field("endTime"),
        "JOB_SUBMIT_TIME": _job_field("submitTime"),
        "JOB_ARCHIVE_PATH": _job_field("archivePath", "outputPath"),
        "JOB_ARCHIVE_URL": _job_link("archiveData"),
        "JOB_ERROR": _error,
        "JOB_OWNER": lambda event: event.owner,
        "JOB_APP_ID": _job_field("appId", "app_id"),
        "JOB_MESSAGE": lambda event: event.message,
        "TENANT": lambda event: event.tenant,
        "OWNER": lambda event: event.owner,
        "RAW_JSON": _job_document,
        "APP_ID": _job_field("appId", "app_id"),
        "JOB_BATCH_QUEUE": _job_value("batchQueue"),
        "JOB_CREATED": _job_value("created"),
        "JOB_EXECUTION_SYSTEM": _job_field("executionSystem", "system"),
        "JOB_INPUTS": _job_value("inputs"),
        "JOB_LOCAL_ID": _job_value("localId"),
        "JOB_MAX_RUNTIME": _job_value("maxRunTime"),
        "JOB_MEMORY_PER_NODE": _job_value("memoryPerNode"),
        "JOB_NODE_COUNT": _job_value("nodeCount"),
        "JOB_OUTPUT_PATH": _job_value("outputPath"),
        "JOB_PARAMETERS": _job_value("parameters"),
        "JOB_PROCESSORS_PER_NODE": _job_value("processorsPerNode"),
        "JOB_TENANT": lambda event: event.tenant,
        "JOB_ARCHIVE": _job_value("archive"),
        "JOB_ARCHIVE_SYSTEM": _job_value("archiveSystem"),
        "JOB_JSON": _job_document,
        "PERMISSION_ID": _permission_field("id", "permissionId"),
        "PERMISSION_PERMISSION": _permission_field("permission"),
        "PERMISSION_USERNAME": _permission_field("username", "user"),
    }
)
