"""Templates: texts, headers and JSON bodies with variables, compiled once and rendered for each event.

A value never changes the shape of what it is put into. A lone surrogate in a value, which no encoding can
carry, becomes "?". The template of a URL is in `url_templates`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeAlias

import msgspec

from dispatcher.domain.variables import TemplateError, Values, Variable, parse

MAX_JSON_DEPTH = 64

# All control characters but tab. C1 is among them: to a receiver that reads Latin-1, U+0085 is a line break.
_HEADER_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_HEADER_RULE = "a header's value may hold no line break and no control character but tab"
_OPENING = re.compile(r"\$[{<]")

_encode_json = msgspec.json.Encoder().encode


class RenderError(ValueError):
    """A value cannot stand where the template puts it: names the variable. The same event will fail again."""


class Pattern(msgspec.Struct, frozen=True):
    """Literal text with gaps for the values of variables."""

    pieces: tuple[str, ...]  # literal text, gap, literal text, …, literal text
    variables: tuple[str, ...]  # what fills the gaps

    @classmethod
    def cut(cls, text: str, variables: Sequence[Variable]) -> Self:
        """The pattern of a text in which the variables stand."""
        pieces: list[str] = []
        start = 0
        for variable in variables:
            pieces += [text[start : variable.start], ""]
            start = variable.end
        return cls((*pieces, text[start:]), tuple(variable.name for variable in variables))

    def fill(self, values: Values, encode: Callable[[str], str]) -> str:
        """The text with the encoded values in its gaps; the same object each time when it has none."""
        if not self.variables:
            return self.pieces[0]
        pieces = list(self.pieces)
        pieces[1::2] = [encode(values.get(name)) for name in self.variables]
        return "".join(pieces)


class TextTemplate(msgspec.Struct, frozen=True):
    """Plain text with variables: the values stand in it as they are."""

    pattern: Pattern

    @classmethod
    def compile(cls, text: str) -> Self:
        """Raises TemplateError when a variable is unknown or not closed."""
        return cls(Pattern.cut(text, parse(text)))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.pattern.variables)

    def render(self, values: Values) -> str:
        return self.pattern.fill(values, encodable)


class HeaderTemplate(msgspec.Struct, frozen=True):
    """A header's value with variables.

    A value outside ASCII goes through: in UTF-8 it is what RFC 9110 section 5.5 calls opaque data. A control
    character other than tab does not, since it could end the header, and is never taken out silently.
    """

    pattern: Pattern

    @classmethod
    def compile(cls, value: str) -> Self:
        """Raises TemplateError when a variable is unknown or not closed, or there is a control character."""
        variables = parse(value)
        if found := _HEADER_CONTROL.search(value):
            raise TemplateError(f"{found[0]!a} at character {found.start() + 1}: {_HEADER_RULE}")
        return cls(Pattern.cut(value, variables))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.pattern.variables)

    def render(self, values: Values) -> str:
        """Raises RenderError naming the variable whose value holds a control character."""
        header = self.pattern.fill(values, encodable)
        if _HEADER_CONTROL.search(header):
            raise RenderError(self._complaint(values))
        return header

    def _complaint(self, values: Values) -> str:
        found = ((name, _HEADER_CONTROL.search(values.get(name))) for name in self.pattern.variables)
        return "; ".join(
            f"the value of {name} holds {control[0]!a} at character {control.start() + 1}: {_HEADER_RULE}"
            for name, control in found
            if control
        )


# A JSON document as it is compiled: what holds no variable is encoded already.
_Node: TypeAlias = "msgspec.Raw | TextTemplate | dict[str, _Node] | list[_Node]"


class JsonTemplate(msgspec.Struct, frozen=True):
    """A JSON document whose strings hold variables.

    The values are put into strings and the document is encoded after that, so every quote is escaped. A
    string stays a string: `"${data.count}"` becomes `"3"`, not `3`. Keys hold no variables.
    """

    document: _Node

    @classmethod
    def compile(cls, document: object) -> Self:
        """The template of a decoded JSON document.

        Raises TemplateError, with a JSON pointer (RFC 6901) to the place, when a string's variable is unknown
        or not closed, a key holds one, something is not JSON, or it is nested deeper than MAX_JSON_DEPTH.
        """
        return cls(_compile(document, ""))

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(template.names for template in _templates(self.document)))

    def render(self, values: Values) -> bytes:
        return _encode_json(_filled(self.document, values))


def _compile(node: object, where: str, depth: int = 1) -> _Node:
    if depth > MAX_JSON_DEPTH:
        raise TemplateError(f"{where}: the document is nested deeper than {MAX_JSON_DEPTH}")
    compiled: _Node
    if isinstance(node, str):
        template = _compile_string(node, where)
        return template if template.names else msgspec.Raw(_encode_json(node))
    if isinstance(node, dict):
        compiled = {_key(key, where): _compile(v, _below(where, key), depth + 1) for key, v in node.items()}
        static = all(isinstance(child, msgspec.Raw) for child in compiled.values())
    elif isinstance(node, list):
        compiled = [_compile(v, _below(where, index), depth + 1) for index, v in enumerate(node)]
        static = all(isinstance(child, msgspec.Raw) for child in compiled)
    elif node is None or isinstance(node, int | float):
        return msgspec.Raw(_encode_json(node))
    else:
        raise TemplateError(f"{where or 'the document'}: {type(node).__name__} is not a JSON type")
    return msgspec.Raw(_encode_json(compiled)) if static else compiled


def _compile_string(text: str, where: str) -> TextTemplate:
    try:
        return TextTemplate.compile(text)
    except TemplateError as error:
        raise TemplateError(f"{where}: {error}" if where else str(error)) from None


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise TemplateError(f"{where or 'the document'}: the key {key!r} is not a string")
    if _OPENING.search(key):
        raise TemplateError(f"{_below(where, key)}: a key may not hold a variable, only a value may")
    return key


def _below(where: str, step: object) -> str:
    return f"{where}/{str(step).replace('~', '~0').replace('/', '~1')}"


def _templates(node: _Node) -> Iterator[TextTemplate]:
    if isinstance(node, TextTemplate):
        yield node
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _templates(child)


def _filled(node: _Node, values: Values) -> object:
    if isinstance(node, TextTemplate):
        return node.render(values)
    if isinstance(node, dict):
        return {key: _filled(child, values) for key, child in node.items()}
    if isinstance(node, list):
        return [_filled(child, values) for child in node]
    return node


def encodable(value: str) -> str:
    """A value that any encoding can carry: itself, with "?" for lone surrogates."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
