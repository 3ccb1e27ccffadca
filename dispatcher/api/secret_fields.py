"""Fields of events and jobs that hold a secret, such as the token of a job: what is shown of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from dispatcher.targets.http.auth import HIDDEN, hide_in_url

# The end of a name. Unlike a header, a field called "key" or "signature" is mostly no credential.
_SECRET = re.compile(r"(?:token|passw(?:or)?d|secret)$", re.IGNORECASE)

_decode = msgspec.json.Decoder(dict[str, object]).decode


def hide_in_document(document: bytes) -> bytes:
    """A JSON object with the secrets in it hidden; as it is when there are none."""
    found = _decode(document)
    hidden = hide_secrets(found)
    return document if hidden == found else msgspec.json.encode(hidden)


def hide_secrets(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields, and those below them: without texts whose names say that they are secrets, and those in URLs."""
    return {
        name: HIDDEN if isinstance(value, str) and value and _SECRET.search(name) else _hidden(value)
        for name, value in fields.items()
    }


def _hidden(value: object) -> object:
    if isinstance(value, str):
        return hide_in_url(value) if "://" in value else value
    if isinstance(value, dict):
        return hide_secrets(value)
    return [_hidden(one) for one in value] if isinstance(value, list) else value
