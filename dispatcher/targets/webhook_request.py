"""A webhook's target as a request: what never changes is made once, the rest for each event."""

from __future__ import annotations

from typing import NamedTuple

from dispatcher.domain.templates import HeaderTemplate
from dispatcher.domain.url_templates import UrlTemplate
from dispatcher.domain.variables import Values
from dispatcher.targets.credentials import auth_header, hide_in_url
from dispatcher.targets.http_messages import Origin, header_lines, opening, request_line
from dispatcher.targets.webhook_target import WITHOUT_BODY, Body, WebhookTarget, body_template

_MAX_LINE = 1000
_CONTENT_TYPE = "content-type"


class Request(NamedTuple):
    """`line` is how it is shown. `head` lacks what belongs to one attempt. Without a `body` it is the event's."""

    line: str
    head: bytes
    body: bytes | None


class RequestTemplate:
    """A target, compiled. `line` is how a request is shown that could not be rendered."""

    def __init__(self, target: WebhookTarget) -> None:
        self.line = f"{target.method} {hide_in_url(target.url)}"[:_MAX_LINE]
        self._method = target.method
        self._url = UrlTemplate.compile(target.url)
        self._hide = hide_in_url if hide_in_url(target.url) != target.url else str
        self._body = body_template(target.body)
        self.origin = Origin.parse(self._url.origin)
        templates = {name: HeaderTemplate.compile(value) for name, value in target.headers.items()}
        self._headers = {name: template for name, template in templates.items() if template.names}
        fixed = {name: value for name, value in target.headers.items() if name not in self._headers}
        self._opening = opening(self.origin, _implied_headers(target) | fixed)

    @property
    def is_static(self) -> bool:
        """Whether it renders the same request for every event."""
        return self._url.is_static and not self._headers and (self._body is None or not self._body.names)

    def render(self, values: Values) -> Request:
        """The request with these values. Raises RenderError when one cannot stand where it should."""
        url = self._url.render(values)
        head = request_line(self._method, self._path(url)) + self._opening
        if self._headers:
            head += header_lines({name: template.render(values) for name, template in self._headers.items()})
        return Request(f"{self._method} {self._hide(url)}"[:_MAX_LINE], head, self._render_body(values))

    def _path(self, url: str) -> str:
        """Path and query, from a URL that is encoded already."""
        path = url[len(self._url.base) :].partition("#")[0]
        return path if path.startswith("/") else f"/{path}"

    def _render_body(self, values: Values) -> bytes | None:
        if self._body is None:
            return b"" if self._method in WITHOUT_BODY else None
        body = self._body.render(values)
        return body.encode() if isinstance(body, str) else body


def _implied_headers(target: WebhookTarget) -> dict[str, str]:
    """The headers that follow from the rest of a target."""
    implied = {} if target.auth is None else dict([auth_header(target.auth)])
    sends_body = target.method not in WITHOUT_BODY
    own_type = any(name.lower() == _CONTENT_TYPE for name in target.headers)
    if sends_body and not own_type and target.format == "cloudevents":
        implied["Content-Type"] = _content_type(target.body)
    return implied


def _content_type(body: Body) -> str:
    if body is None:
        return "application/cloudevents+json"
    return "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
