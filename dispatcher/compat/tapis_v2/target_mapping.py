"""Where a notification goes: its `url` is a web address or an e-mail address, here it is a target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.targets import TargetKind
from dispatcher.domain.variables import VARIABLES

SUBJECT = "Job ${JOB_ID} received a ${EVENT} event"
"""Of e-mails, as Tapis writes it."""

_WEB = re.compile(r"(?P<scheme>https?)://(?:(?P<user>[^/?#]*)@)?(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# A variable, or the beginning of one that is not closed.
_VARIABLE = re.compile(r"\$\{(?:(?P<name>[^${}<>]*)\})?")
_DATA_PATH = re.compile(r"data(?:\.[A-Za-z0-9_-]+)+")
_ENCODED = re.compile(r"%24%7B(?:(?P<name>[^%{}]*)%7D)?")


def target_of(url: str, kinds: Mapping[str, TargetKind]) -> Struct:
    """The target for a `url`, as its kind's own model. InvalidInput when there is none; it is not checked further."""
    web = _WEB.fullmatch(url)
    if web is not None:
        return _target("webhook", _webhook(web), kinds)
    if "@" in url and not _OTHER_SCHEME.match(url):
        if "email" not in kinds:
            raise InvalidInput("url", f"{url[:80]!r} is an e-mail address, and this service sends no e-mail")
        return _target("email", {"to": [url], "subject": SUBJECT}, kinds)
    raise InvalidInput("url", f"expected an http or https URL, or an e-mail address; got {url[:80]!r}")


def url_of(target: Mapping[str, object]) -> str:
    """The `url` that a target, as it is shown, came from: credentials are `***` in both."""
    if target["kind"] == "email":
        to = target.get("to")
        return ", ".join(map(str, to)) if isinstance(to, (list, tuple)) else ""
    url = _ENCODED.sub(_decoded, str(target.get("url", "")))
    auth = target.get("auth")
    if isinstance(auth, Mapping) and auth.get("type") == "basic":
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{quote(str(auth['user']))}:{quote(str(auth['password']), safe='*')}@{rest}"
    return url


def as_url_fault(error: InvalidInput) -> InvalidInput:
    """What is wrong with a target, said of the `url` from which it was made."""
    return InvalidInput("url", error.problem) if error.field.startswith("target") else error


def _webhook(web: re.Match[str]) -> dict[str, object]:
    url = f"{web['scheme']}://{_VARIABLE.sub(_literal, web['rest'])}"
    target: dict[str, object] = {"url": url, "format": "tapis"}
    if web["user"] is not None:
        user, _, password = web["user"].partition(":")
        if "$" in web["user"]:
            raise InvalidInput("url", "no variable may stand in its user or password")
        target["auth"] = {"type": "basic", "user": unquote(user), "password": unquote(password)}
    return target


def _literal(found: re.Match[str]) -> str:
    """A variable that is known as it is; what is none stays what it is for the receiver: it is encoded."""
    name = found["name"]
    if name is None:
        return "%24%7B"
    if name in VARIABLES or _DATA_PATH.fullmatch(name):
        return found[0]
    return f"%24%7B{quote(name, safe='')}%7D"


def _decoded(found: re.Match[str]) -> str:
    return "${" if found["name"] is None else f"${{{found['name']}}}"


def _target(kind: str, fields: Mapping[str, object], kinds: Mapping[str, TargetKind]) -> Struct:
    try:
        made: Struct = msgspec.convert({"kind": kind, **fields}, kinds[kind].spec)
    except msgspec.ValidationError as error:
        raise InvalidInput("url", str(error)) from None
    return made
