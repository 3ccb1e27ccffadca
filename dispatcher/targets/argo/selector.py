r"""Node field selectors of Argo Workflows, in which the values hold variables.

`field=value` or `field!=value`, with commas between several, all of which must hold. In a value `\`, `,` and `=`
are written with a backslash before them; the values of variables get theirs here. Argo parses selectors with
Kubernetes' `fields.ParseSelector`.
"""

from __future__ import annotations

import difflib
import re
from typing import Self

from msgspec import Struct

from dispatcher.domain.templates import Pattern, RenderError
from dispatcher.domain.variables import TemplateError, Values, parse

_FIELDS = (
    "displayName",
    "templateName",
    "phase",
    "name",
    "id",
    "templateRef.name",
    "templateRef.template",
)
_PARAMETER = re.compile(r"inputs\.parameters\.[A-Za-z0-9_-]+\.value")
# NUL stands where variables are.
_TERM = re.compile(r"(?P<field>[^=!,\\]*)(?P<sign>!=|==|=)(?P<value>(?:\\[\\,=]|[^\\,=])*)(?:,|\Z)")
_SPECIAL = re.compile(r"[\\,=]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Condition(Struct, frozen=True):
    """What one field of a node must be, or must not."""

    field: str
    equal: bool
    value: str


class Selector(Struct, frozen=True):
    """A selector for one event: as it is sent, and what it means."""

    text: str
    conditions: tuple[Condition, ...]


class _Term(Struct, frozen=True):
    field: str
    sign: str
    value: Pattern


class SelectorTemplate(Struct, frozen=True):
    """A selector with variables."""

    terms: tuple[_Term, ...]

    @classmethod
    def compile(cls, text: str) -> Self:
        """Raises TemplateError, which says what is wrong, for what Argo would refuse or never find."""
        if "\0" in text:
            raise TemplateError("expected no control characters")
        masked = text
        for variable in parse(text):
            hidden = "\0" * (variable.end - variable.start)
            masked = masked[: variable.start] + hidden + masked[variable.end :]
        terms: list[_Term] = []
        position = 0
        while position < len(text):
            found = _TERM.match(masked, position)
            if found is None:
                raise TemplateError(
                    f"{text[position : position + 60]!r} is no condition: expected field=value or field!=value, "
                    r'with "\" before each "\", "," and "=" in the value'
                )
            _check_field(found["field"])
            value = text[found.start("value") : found.end("value")]
            if not value:
                raise TemplateError(f"expected a value for {found['field']}")
            terms.append(_Term(found["field"], found["sign"], Pattern.cut(value, parse(value))))
            position = found.end()
            if position == len(text) > found.end("value"):
                raise TemplateError("expected field=value after the last comma")
        return cls(tuple(terms))

    def render(self, values: Values) -> Selector:
        """The selector for an event. Raises RenderError when a value is empty: it would fit nodes without one."""
        written: list[str] = []
        conditions: list[Condition] = []
        for term in self.terms:
            value = term.value.fill(values, _escaped)
            if not value:
                names = " and ".join(term.value.variables)
                raise RenderError(f"the value of {names} is empty, and {term.field} would fit other nodes")
            written.append(f"{term.field}{term.sign}{value}")
            plain = _ESCAPED.sub(r"\1", value)
            conditions.append(Condition(term.field, term.sign != "!=", plain))
        return Selector(",".join(written), tuple(conditions))


def _check_field(field: str) -> None:
    if "\0" in field:
        raise TemplateError("a variable stands in the name of a field: variables may stand in values only")
    if field in _FIELDS or _PARAMETER.fullmatch(field):
        return
    known = (*_FIELDS, "inputs.parameters.<name>.value")
    nearest = difflib.get_close_matches(field, known, n=1)
    advice = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
    raise TemplateError(f"{field[:80]!r} is no field of a node; {advice}")


def _escaped(value: str) -> str:
    encodable = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return _SPECIAL.sub(r"\\\g<0>", encodable)
