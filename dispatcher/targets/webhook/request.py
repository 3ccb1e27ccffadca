"""A webhook's target as a request: what never changes is made once, the rest for each event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dispatcher.domain.templates import HeaderTemplate, JsonTemplate, RenderError
from dispatcher.domain.text_bodies import TextBodyTemplate
from dispatcher.domain.url_templates import UrlTemplate
from dispatcher.domain.variables import TemplateError, Values
from dispatcher.http import Origin, header_lines
from dispatcher.http.messages import common_fields, request_line
from dispatcher.targets.http.auth import hide_in_url
from dispatcher.targets.webhook.config import (
    CONTENT_TYPE,
    WITHOUT_BODY,
    WebhookTarget,
    body_template,
    content_type,
)

_MAX_LINE = 1000


class RenderedRequest(NamedTuple):
    """`shown` is how people see it. `fields` lack what belongs to one attempt. Without a `body` it is the event's."""

    shown: str
    line: bytes
    fields: bytes
    body: bytes | None


class RequestTemplate:
    """A target, compiled; `auth` are headers of every request. `shown` is for a request that could not be rendered."""

    def __init__(self, target: WebhookTarget, auth: Mapping[str, str]) -> None:
        self.shown = f"{target.method} {hide_in_url(target.url)}"[:_MAX_LINE]
        self._method = target.method
        self._url = UrlTemplate.compile(target.url)
        self._hide = hide_in_url if hide_in_url(target.url) != target.url else str
        self._body, self._refusal = _body(target)
        self.origin = Origin.parse(self._url.origin)
        templates = {name: HeaderTemplate.compile(value) for name, value in target.headers.items()}
        self._headers = {name: template for name, template in templates.items() if template.names}
        fixed = {name: value for name, value in target.headers.items() if name not in self._headers}
        self._fields = common_fields(self.origin, {**auth, **_content_type(target), **fixed})

    @property
    def is_static(self) -> bool:
        """Whether it renders the same request for every event."""
        return (
            self._refusal is None
            and self._url.is_static
            and not self._headers
            and (self._body is None or not self._body.names)
        )

    def render(self, values: Values) -> RenderedRequest:
        """The request with these values. Raises RenderError when one cannot stand where it should."""
        url = self._url.render(values)
        line, fields = request_line(self._method, self._path(url)), self._fields
        if self._headers:
            fields += header_lines(
                {name: template.render(values) for name, template in self._headers.items()}
            )
        shown = f"{self._method} {self._hide(url)}"[:_MAX_LINE]
        return RenderedRequest(shown, line, fields, self._render_body(values))

    def _path(self, url: str) -> str:
        """Path and query, from a URL that is encoded already."""
        path = url[len(self._url.base) :].partition("#")[0]
        return path if path.startswith("/") else f"/{path}"

    def _render_body(self, values: Values) -> bytes | None:
        if self._refusal is not None:
            raise RenderError(self._refusal)
        if self._body is None:
            return b"" if self._method in WITHOUT_BODY else None
        body = self._body.render(values)
        return body.encode() if isinstance(body, str) else body


def _body(target: WebhookTarget) -> tuple[JsonTemplate | TextBodyTemplate | None, str | None]:
    """The template, or why there is none: a target that was stored before it would have been refused."""
    try:
        return body_template(target), None
    except TemplateError as error:
        return None, f"the body of the target: {error}"


def _content_type(target: WebhookTarget) -> dict[str, str]:
    """The header that follows from the rest of a target."""
    sends_body = target.method not in WITHOUT_BODY
    own_type = any(name.lower() == CONTENT_TYPE for name in target.headers)
    if sends_body and not own_type and target.format == "cloudevents":
        return {"Content-Type": content_type(target)}
    return {}
