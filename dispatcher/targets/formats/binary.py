"""CloudEvents in binary form: the attributes stand in `ce-` headers, the body is the data.

Source: CloudEvents 1.0.2, HTTP protocol binding, section 3.1; JSON event format, section 3.1.
"""

from __future__ import annotations

import base64
from urllib.parse import quote

import msgspec
from msgspec import Raw

from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.targets.formats import Content, Format, Render

_JSON = "application/json"
_BODY = frozenset({"data", "data_base64", "datacontenttype"})
# What may stand in a header as it is: printable ASCII without the space, the quote and the percent sign.
_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")

_split = msgspec.json.Decoder(dict[str, Raw]).decode
_decode = msgspec.json.Decoder(str | int | bool).decode


def prepare(_: Subscription) -> Render:
    """The same for every subscription."""
    return _render


FORMAT = Format(prepare, "CloudEvents with its attributes in headers", ("ce-", "content-type"))


def _render(event: Event, _: str, __: int) -> Content:
    members = _split(event.document)
    headers = {f"ce-{name}": _header(raw) for name, raw in members.items() if name not in _BODY}
    media_type = _text(members["datacontenttype"]) if "datacontenttype" in members else None
    if "data" in members and media_type is None:
        media_type = _JSON  # what data in structured JSON is when nothing else is said
    if media_type is not None:
        headers["Content-Type"] = media_type if media_type.isascii() else _encoded(media_type)
    return Content(headers, _body(members, media_type))


def _body(members: dict[str, Raw], media_type: str | None) -> bytes:
    if "data_base64" in members:
        return base64.b64decode(_text(members["data_base64"]))
    data = members.get("data")
    if data is None:
        return b""
    # A JSON string stands for the text itself, unless the data is JSON.
    if bytes(data).startswith(b'"') and not _is_json(media_type or _JSON):
        return _text(data).encode("utf-8", "replace")
    return bytes(data)


def _is_json(media_type: str) -> bool:
    essence = media_type.partition(";")[0].strip().lower()
    return essence in (_JSON, "text/json") or essence.endswith("+json")


def _header(raw: Raw) -> str:
    value = _decode(raw)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _encoded(str(value))


def _encoded(text: str) -> str:
    return quote(text, safe=_SAFE, errors="replace")


def _text(raw: Raw) -> str:
    return msgspec.json.decode(raw, type=str)
