"""A notification as a caller writes it: as JSON, as a form, or as a file in a form."""

from __future__ import annotations

import difflib
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from email.message import Message
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from dispatcher.compat.tapis_v2.policy import STRATEGIES, Policy, Strategy, check_policy
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import EVENTS
from dispatcher.domain.names import is_name

EVERY = "*"
"""As `event` every event, as `associatedUuid` every job."""

_EVENT = re.compile(r"\*|[a-zA-Z][a-zA-Z0-9_]*")
_MAX_EVENT, _MAX_UUID, _MIN_URL, _MAX_URL = 32, 64, 4, 1024

_WRITTEN = ("url", "event", "associatedUuid", "persistent", "policy")
# What an answer holds besides: clients send back what they were given.
_READ_ONLY = (
    *("id", "owner", "responseCode", "attempts", "lastSent", "success", "status", "lastUpdated", "created"),
    "_links",
)
_POLICY = ("retryLimit", "retryRate", "retryDelay", "saveOnFailure", "retryStrategy")
_OTHER_NAMES = {"retrystrategytype": "retryStrategy"}
# The forms in the guide of Tapis have this name, and its JSON objects the other: each is taken in both.

# Any other type of thing that Agave has: an app, a system, …
_UUID = re.compile(r"[0-9]+-[0-9a-z]+-[0-9]{4}-(?P<type>[0-9]{3})")
_JOB_TYPE = "007"

_FILE_NAME = re.compile(rb"^content-disposition:[^\r\n]*;\s*filename\*?=", re.IGNORECASE | re.MULTILINE)


class Notification(Struct, frozen=True, kw_only=True):
    """What is to be subscribed: checked, but for the URL's own form."""

    url: str
    event: str
    associated_uuid: str
    persistent: bool
    policy: Policy


def read_document(body: bytes, content_type: str) -> dict[str, object]:
    """The object in a body. InvalidInput when it holds none."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/x-www-form-urlencoded":
        return _from_form(body)
    if media_type == "multipart/form-data":
        body = _file_in(body, content_type)
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        raise InvalidInput("", "No notification object provided.")
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("", f"Unable to parse the notification json description. {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput("", "Notification should be a valid JSON object.")
    return document


def notification_in(document: Mapping[str, object], associated_uuid: str | None = None) -> Notification:
    """The notification that an object means. InvalidInput names the property.

    `associated_uuid` is of the job in whose document it stands.
    """
    if "result" in document:
        raise InvalidInput("", 'expected the notification itself, not its envelope: send what "result" holds')
    given = _properties(document, (*_WRITTEN, *_READ_ONLY), "")
    policy = given.get("policy")
    return Notification(
        url=_url(given.get("url")),
        event=_event(given.get("event")),
        associated_uuid=associated_uuid or _associated(given.get("associatedUuid")),
        persistent=_flag("persistent", given.get("persistent"), default=False),
        policy=Policy() if policy is None else _policy(policy),
    )


def _properties(document: Mapping[str, object], known: tuple[str, ...], prefix: str) -> dict[str, object]:
    """The properties by the names that we know; upper and lower case are the same."""
    names = {name.lower(): name for name in known}
    given: dict[str, object] = {}
    for name, value in document.items():
        if name.lower() not in names:
            raise InvalidInput("", f"Unknown property {prefix}{name[:80]}. {_advice(name, names, prefix)}")
        given[names[name.lower()]] = value
    return given


def _advice(name: str, names: Mapping[str, str], prefix: str) -> str:
    nearest = difflib.get_close_matches(name[:80].lower().replace("_", ""), names, n=1, cutoff=0.5)
    if nearest:
        return f"Did you mean {prefix}{names[nearest[0]]}?"
    return f"Valid values are: {', '.join(prefix + one for one in names.values())}"


def _text(field: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(field, f"expected a text, got {_shown(value)}")
    return value.strip()


def _shown(value: object) -> str:
    return msgspec.json.encode(value)[:80].decode(errors="replace")


def _url(value: object) -> str:
    url = _text("url", value)
    if not _MIN_URL <= len(url) <= _MAX_URL:
        raise InvalidInput(
            "url", f"expected a web or e-mail address of {_MIN_URL} to {_MAX_URL} characters, got {len(url)}"
        )
    return url


def _event(value: object) -> str:
    event = _text("event", value)
    if not event:
        raise InvalidInput("event", f'expected the name of an event, or "{EVERY}" for all')
    if not _EVENT.fullmatch(event):
        raise InvalidInput(
            "event",
            "Event names must contain only letters, numbers and underscores and must begin with a character; "
            f'"{EVERY}" alone is every event. Got {event[:80]!r}',
        )
    if len(event) > _MAX_EVENT:
        raise InvalidInput("event", f"expected at most {_MAX_EVENT} characters, got {len(event)}")
    return event.upper() if event.upper() in EVENTS else event


def _associated(value: object) -> str:
    uuid = _text("associatedUuid", value)
    if not uuid or uuid.lower() == "null":
        raise InvalidInput("associatedUuid", "expected the id of a job; it cannot be empty")
    if len(uuid) > _MAX_UUID or not is_name(uuid):
        raise InvalidInput(
            "associatedUuid", f"expected at most {_MAX_UUID} characters, none a control character"
        )
    if EVERY in uuid and uuid != EVERY:
        raise InvalidInput("associatedUuid", f'expected the id of a job, or "{EVERY}" alone; got {uuid!r}')
    found = _UUID.fullmatch(uuid)
    if found is not None and found["type"] != _JOB_TYPE:
        raise InvalidInput(
            "associatedUuid",
            f"{uuid} is no job: this service knows events of jobs only, whose ids end in -{_JOB_TYPE}",
        )
    return uuid


def _policy(value: object) -> Policy:
    if not isinstance(value, dict):
        raise InvalidInput("policy", "expected an object")
    renamed = {_OTHER_NAMES.get(str(name).lower(), str(name)): one for name, one in value.items()}
    given = _properties(renamed, _POLICY, "policy.")
    default = Policy()
    return check_policy(
        Policy(
            retry_limit=_whole("policy.retryLimit", given.get("retryLimit"), default.retry_limit),
            retry_rate=_whole("policy.retryRate", given.get("retryRate"), default.retry_rate),
            retry_delay=_whole("policy.retryDelay", given.get("retryDelay"), default.retry_delay),
            save_on_failure=_flag("policy.saveOnFailure", given.get("saveOnFailure"), default=False),
            retry_strategy=_strategy(given.get("retryStrategy")),
        )
    )


def _strategy(value: object) -> Strategy:
    name = _text("policy.retryStrategy", value).upper()
    if not name:
        return Policy().retry_strategy
    for strategy in STRATEGIES:
        if strategy == name:
            return strategy
    raise InvalidInput("policy.retryStrategy", f"expected one of {', '.join(STRATEGIES)}, got {name[:40]!r}")


def _whole(field: str, value: object, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value, re.ASCII):
        return int(value)
    raise InvalidInput(field, f"expected a whole number, got {_shown(value)}")


def _flag(field: str, value: object, *, default: bool) -> bool:
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off", ""):
        return False
    raise InvalidInput(field, f"expected true or false, got {word[:40]!r}")


# Forms


def _from_form(body: bytes) -> dict[str, object]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=False, max_num_fields=100, errors="strict")
    except ValueError as error:
        raise InvalidInput("", f"expected a form in UTF-8 with at most 100 fields: {error}") from None
    if not pairs:
        raise InvalidInput("", "No notification object provided.")
    document: dict[str, object] = {}
    policy: dict[str, object] = {}
    for name, value in pairs:
        place, key = (policy, name[7:]) if name.lower().startswith("policy.") else (document, name)
        place[key] = value
    return document | ({"policy": policy} if policy else {})


def _file_in(body: bytes, content_type: str) -> bytes:
    """The first file in a multipart form (RFC 7578)."""
    header = Message()
    header["Content-Type"] = content_type.encode("ascii", "replace").decode()
    boundary = header.get_boundary()
    if boundary is not None:
        separator = f"\r\n--{boundary}".encode("ascii", "replace")
        for part in (b"\r\n" + body).split(separator)[1:]:
            head, blank, content = part.partition(b"\r\n\r\n")
            if blank and _FILE_NAME.search(head):
                return content
    raise InvalidInput("", "No notification found in upload form.")
