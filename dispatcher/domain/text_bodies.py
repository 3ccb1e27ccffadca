"""Text bodies of webhooks: values are encoded for the Content-Type, so that none adds a field, a key or an element.

Forms, JSON, JSON Lines and XML are known; plain text takes values as they are. A variable in any other type, or in a
place where no encoding is right (a key, a tag, a comment), is refused when the subscription is made.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeAlias
from urllib.parse import quote_plus
from xml.parsers import expat
from xml.sax.saxutils import escape

import msgspec

from dispatcher.domain.templates import Pattern, encodable
from dispatcher.domain.variables import TemplateError, Values, parse

Encode: TypeAlias = Callable[[str], str]

PLAIN = frozenset({"text/plain", "text/markdown"})
FORM = "application/x-www-form-urlencoded"
_JSON_LINES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_XML = frozenset({"application/xml", "text/xml"})
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
# Stands for a value while a template is checked; random, so that no template holds one.
_MARK = f"x{secrets.token_hex(8)}x{{}}x"
_MARKS = re.compile(_MARK.format(r"(\d+)"))
# What XML 1.0 has no way to write, not even as a character reference.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XML_REFERENCES = {'"': "&quot;", "'": "&apos;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_JSON_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


class TextBodyTemplate(msgspec.Struct, frozen=True):
    """A text with variables, and how the value of each is encoded."""

    pattern: Pattern
    encoders: tuple[Encode, ...]

    @classmethod
    def compile(cls, text: str, content_type: str) -> Self:
        """The template of a body that goes out as `content_type`.

        Raises TemplateError when a variable is unknown or not closed, or stands where no value can be encoded.
        """
        pattern = Pattern.cut(text, parse(text))
        return cls(pattern, tuple(_encoders(pattern, content_type)) if pattern.variables else ())

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.pattern.variables)

    def render(self, values: Values) -> str:
        if not self.encoders:
            return self.pattern.pieces[0]
        pieces = list(self.pattern.pieces)
        pieces[1::2] = [
            encode(encodable(values.get(name)))
            for name, encode in zip(self.pattern.variables, self.encoders, strict=True)
        ]
        return "".join(pieces)


def _encoders(pattern: Pattern, content_type: str) -> Sequence[Encode]:
    media_type = content_type.partition(";")[0].strip().lower()
    count = len(pattern.variables)
    if media_type in PLAIN:
        return [str] * count
    charset = _CHARSET.search(content_type)
    if charset is not None and charset[1].lower() not in _UTF_8:
        raise TemplateError(f"the body goes out in UTF-8: expected that charset, got {charset[1]!r:.40}")
    if media_type == FORM:
        return _form(pattern)
    if media_type in _JSON_LINES:
        return _json(pattern, by_line=True)
    if media_type == "application/json" or media_type.endswith("+json"):
        return _json(pattern, by_line=False)
    if media_type in _XML or media_type.endswith("+xml"):
        return _xml(pattern)
    raise TemplateError(
        f"values cannot be encoded for the Content-Type {content_type!r:.80}: expected a form ({FORM}), JSON, XML or "
        "text/plain, or a text without variables"
    )


# Forms


def _form(pattern: Pattern) -> list[Encode]:
    for field in _with_marks(pattern).split("&"):
        key = field.partition("=")[0]
        if found := _MARKS.search(key):
            raise TemplateError(
                f"{_name(pattern, found)} stands in the name of a form's field: expected it after a ="
            )
    return [quote_plus] * len(pattern.variables)


# JSON


def _json(pattern: Pattern, *, by_line: bool) -> list[Encode]:
    quoted = list(_in_strings(pattern))
    marks = [_MARK.format(n) if inside else f'"{_MARK.format(n)}"' for n, inside in enumerate(quoted)]
    probe = _filled(pattern, marks)
    documents = [line for line in probe.split("\n") if line.strip()] if by_line else [probe]
    for document in documents:
        try:
            decoded = msgspec.json.decode(document)
        except (msgspec.DecodeError, RecursionError) as error:
            raise TemplateError(f"with values in place of its variables it is not JSON: {error}") from None
        for key in _keys(decoded):
            if found := _MARKS.search(key):
                raise TemplateError(f"{_name(pattern, found)} stands in a key: expected it in a value")
    return [_json_text if inside else _json_value for inside in quoted]


def _in_strings(pattern: Pattern) -> Iterator[bool]:
    """Whether each variable stands within a string."""
    inside = False
    for literal in pattern.pieces[:-1:2]:
        # An escaped quote ends no string.
        inside ^= re.sub(r"\\.", "", literal, flags=re.DOTALL).count('"') % 2 == 1
        yield inside


def _keys(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _keys(child)


def _json_text(value: str) -> str:
    return msgspec.json.encode(value).decode()[1:-1]


def _json_value(value: str) -> str:
    """A number, true, false or null as it is, nothing as null, and everything else as a string."""
    if not value:
        return "null"
    return value if _JSON_SCALAR.fullmatch(value) else msgspec.json.encode(value).decode()


# XML


def _xml(pattern: Pattern) -> list[Encode]:
    found: set[int] = set()
    in_cdata = False

    def note(text: str) -> None:
        if not in_cdata:
            found.update(int(mark) for mark in _MARKS.findall(text))

    def cdata(begins: bool) -> None:
        nonlocal in_cdata
        in_cdata = begins

    def declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _UTF_8:
            raise TemplateError(f"the body goes out in UTF-8: its declaration says {encoding!r:.40}")

    def doctype(*_: object) -> None:
        raise TemplateError("expected no document type beside variables")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.CharacterDataHandler = note
    parser.StartElementHandler = lambda _name, attributes: note(" ".join(attributes.values()))
    parser.StartCdataSectionHandler = lambda: cdata(True)
    parser.EndCdataSectionHandler = lambda: cdata(False)
    parser.XmlDeclHandler = declaration
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(_with_marks(pattern), True)
    except expat.ExpatError as error:
        raise TemplateError(f"with values in place of its variables it is not XML: {error}") from None
    for number, name in enumerate(pattern.variables):
        if number not in found:
            raise TemplateError(f"{name} stands in no text and no attribute's value: expected it in one")
    return [_xml_text] * len(pattern.variables)


def _xml_text(value: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", value), _XML_REFERENCES)


def _with_marks(pattern: Pattern) -> str:
    return _filled(pattern, [_MARK.format(number) for number in range(len(pattern.variables))])


def _filled(pattern: Pattern, values: Sequence[str]) -> str:
    pieces = list(pattern.pieces)
    pieces[1::2] = values
    return "".join(pieces)


def _name(pattern: Pattern, mark: re.Match[str]) -> str:
    return pattern.variables[int(mark[1])]
