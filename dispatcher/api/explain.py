"""What a request's types say of what does not fit them: the field, what was expected, the nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect

from dispatcher.domain.errors import InvalidInput

_PLACE = re.compile(r" - at (?:`key` in )?`\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_NAMED = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_REFUSED_VALUE = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)
# msgspec says what Python calls it; the sender of JSON knows it by another name.
_JSON_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "datetime": "time"}
_A_TIME = "expected a time with its offset, such as 2026-05-04T12:00:00Z"


def explain(error: msgspec.ValidationError, expected: object, document: object) -> InvalidInput:
    """The error of converting `document` (JSON, decoded) to the type `expected`, in the sender's terms."""
    message = str(error)
    place = _PLACE.search(message)
    problem = message[: place.start()] if place else message
    steps = [name or index for name, index in _STEP.findall(place[1] if place else "")]
    found = list(_walk(inspect.type_info(expected), document, steps))
    if named := _NAMED.fullmatch(problem):
        return _named_field(named[1] == "missing required", named[2], steps, found[-1])
    if refused := _REFUSED_VALUE.fullmatch(problem):
        return InvalidInput(_field(steps), _refused_value(refused[1], found))
    if "RFC3339" in problem or "timezone" in problem:
        return InvalidInput(_field(steps), _A_TIME)
    return InvalidInput(_field(steps), _taught(found[-1]) or _plain(problem))


def _named_field(missing: bool, name: str, steps: list[str], owner: inspect.Type) -> InvalidInput:
    field = _field([*steps, name[:100]])
    return InvalidInput(field, "is missing" if missing else f"unknown field; {_nearest(name, _names(owner))}")


def _nearest(name: str, known: list[str]) -> str:
    """What to say of an unknown name: the nearest known one, or all of them."""
    close = difflib.get_close_matches(name[:100], known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}" if known else "none is known"


def _refused_value(value: str, found: list[inspect.Type]) -> str:
    allowed = _values(found[-1]) or _tags(found[-2])
    return f"expected one of {', '.join(allowed)}, got {value[:100]}"


def _walk(info: inspect.Type, document: object, steps: list[str]) -> Iterator[inspect.Type]:
    """The types along a path, that of the whole first; of several, the one that the document takes."""
    info = _chosen(info, document)
    yield info
    for step in steps:
        info, document = _below(info, step), _value(document, step)
        info = _chosen(info, document)
        yield info


def _chosen(info: inspect.Type, document: object) -> inspect.Type:
    """The member of a union that an object must mean, by its tag or for want of others; else all."""
    bare = _bare(info)
    if not isinstance(bare, inspect.UnionType) or not isinstance(document, dict):
        return info
    structs = [member for member in map(_bare, bare.types) if isinstance(member, inspect.StructType)]
    tagged = [s for s in structs if s.tag_field and document.get(s.tag_field) == s.tag]
    fitting = tagged or structs
    return fitting[0] if len(fitting) == 1 else info


def _bare(info: inspect.Type) -> inspect.Type:
    while isinstance(info, inspect.Metadata):
        info = info.type
    return info


def _below(info: inspect.Type, step: str) -> inspect.Type:
    for member in _members(info):
        if isinstance(member, inspect.StructType):
            return next(
                (field.type for field in member.fields if field.encode_name == step), inspect.AnyType()
            )
        if isinstance(member, inspect.CollectionType):
            return member.item_type
        if isinstance(member, inspect.DictType):
            return member.value_type
    return inspect.AnyType()


def _members(info: inspect.Type) -> list[inspect.Type]:
    """The types of a union, or the one that it is."""
    bare = _bare(info)
    return [_bare(member) for member in bare.types] if isinstance(bare, inspect.UnionType) else [bare]


def _value(document: object, step: str) -> object:
    if isinstance(document, dict):
        return document.get(step)
    if isinstance(document, list) and step.isdigit() and int(step) < len(document):
        return document[int(step)]
    return None


def _names(info: inspect.Type) -> list[str]:
    bare = _bare(info)
    if not isinstance(bare, inspect.StructType):
        return []
    tag = [bare.tag_field] if bare.tag_field else []
    return tag + [field.encode_name for field in bare.fields]


def _values(info: inspect.Type) -> list[str]:
    found: list[str] = []
    for member in _members(info):
        if isinstance(member, inspect.EnumType):
            found += [str(one.value) for one in member.cls]
        elif isinstance(member, inspect.LiteralType):
            found += map(str, member.values)
    return found


def _tags(info: inspect.Type) -> list[str]:
    return [str(member.tag) for member in _members(info) if isinstance(member, inspect.StructType)]


def _taught(info: inspect.Type) -> str | None:
    """What the field's own type says is expected: `Meta(extra={"expected": …})`."""
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    for member in members:
        if isinstance(member, inspect.Metadata) and member.extra and "expected" in member.extra:
            return str(member.extra["expected"])
    return None


def _plain(problem: str) -> str:
    spoken = re.sub(r"\w+", lambda word: _JSON_NAMES.get(word[0], word[0]), problem.replace("`", ""))
    return spoken[:1].lower() + spoken[1:]


def _field(steps: list[str]) -> str:
    """A path as an error names it: `target.to[1]`; `.*` is some value of an object."""
    parts = (f"[{step}]" if step.isdigit() else ".*" if step == "..." else f".{step}" for step in steps)
    return "".join(parts).removeprefix(".")
