"""Output parameters of a suspended node: their templates, and what they become for an event.

A node takes a value for a parameter that its template declares with `valueFrom.supplied`. Argo expects all values as
one JSON object in a string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self, TypeAlias

import msgspec
from msgspec import Meta, Struct

from dispatcher.domain.templates import RenderError, TextTemplate
from dispatcher.domain.variables import TemplateError, Values

MAX_OUTPUTS_SIZE = 64 * 1024
"""Bytes of all outputs of one event. They are kept in the workflow, for which Kubernetes has some 1.5 MB."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NAME_RULE = "expected letters, digits, _ and -"

OutputTemplates: TypeAlias = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=128)], Annotated[str, Meta(max_length=8192)]],
    Meta(max_length=50),
]

_encode = msgspec.json.Encoder().encode


class OutputsTemplate(Struct, frozen=True):
    """Names of output parameters, and the templates of their values."""

    values: Mapping[str, TextTemplate]

    @classmethod
    def compile(cls, outputs: Mapping[str, str]) -> Self:
        """Raises TemplateError for what Argo never takes as a name, and for what is no template."""
        return cls({_checked(name): _compiled(name, text) for name, text in outputs.items()})

    def render(self, values: Values) -> dict[str, str]:
        """The values for an event. Raises RenderError when they are too long together."""
        rendered = {name: template.render(values) for name, template in self.values.items()}
        if len(_encode(rendered)) > MAX_OUTPUTS_SIZE:
            raise RenderError(f"the outputs have more than {MAX_OUTPUTS_SIZE} bytes together")
        return rendered


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise TemplateError(f"{name[:80]!r} is no name of an output parameter: {_NAME_RULE}")
    return name


def _compiled(name: str, text: str) -> TextTemplate:
    try:
        return TextTemplate.compile(text)
    except TemplateError as error:
        raise TemplateError(f"{name}: {error}") from None
