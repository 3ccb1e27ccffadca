"""What a request's types say of what does not fit them: the field, what was expected, the nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import inspect

from dispatcher.domain.errors import InvalidInput

_MESSAGE = re.compile(r"(?P<problem>.*?)\s*(?: - at (?:`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_NAMED = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_REFUSED_VALUE = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)
# msgspec says what Python calls it; the sender of JSON knows it by another name.
_JSON_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "datetime": "time"}
_A_TIME = "expected a time with its offset, such as 2026-05-04T12:00:00Z"


def explain(error: msgspec.ValidationError, expected: object, document: object) -> InvalidInput:
    """The error of converting `document` (JSON, decoded) to the type `expected`, in the sender's terms."""
    message = _MESSAGE.fullmatch(str(error))
    problem, path = (message["problem"], message["path"] or "") if message else (str(error), "")
    steps = [name or index for name, index in _STEP.findall(path)]
    found = list(_walk(inspect.type_info(expected), document, steps))
    if named := _NAMED.fullmatch(problem):
        return _named_field(named[1] == "missing required", named[2], steps, found[-1])
    if refused := _REFUSED_VALUE.fullmatch(problem):
        return InvalidInput(_field(steps), _refused_value(refused[1], found))
    if "RFC3339" in problem or "timezone" in problem:
        return InvalidInput(_field(steps), _A_TIME)
    return InvalidInput(_field(steps), _taught(found[-1]) or _plain(problem))


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of an unknown name: the nearest known one, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name[:100], names, n=1)
    return (
        f"did you mean {close[0]}?"
        if close
        else f"known are {', '.join(names)}"
        if names
        else "none is known"
    )


def _named_field(missing: bool, name: str, steps: list[str], owner: inspect.Type) -> InvalidInput:
    field = _field([*steps, name[:100]])
    if missing:
        return InvalidInput(field, "is missing")
    return InvalidInput(field, f"unknown field; {nearest(name, _names(owner))}")


def _refused_value(value: str, found: list[inspect.Type]) -> str:
    allowed = _values(found[-1]) or _tags(found[-2])
    return f"expected one of {', '.join(allowed)}, got {value[:100]}"


def _walk(info: inspect.Type, document: object, steps: list[str]) -> Iterator[inspect.Type]:
    """The types along a path, that of the whole first; of several, the one that the document takes."""
    yield info
    for step in steps:
        info = _chosen(info, document)
        info, document = _below(info, step), _value(document, step)
        yield info


def _chosen(info: inspect.Type, document: object) -> inspect.Type:
    while isinstance(info, inspect.Metadata):
        info = info.type
    if not isinstance(info, inspect.UnionType):
        return info
    structs = [bare for bare in map(_bare, info.types) if isinstance(bare, inspect.StructType)]
    for struct in structs:
        if isinstance(document, dict) and struct.tag_field and document.get(struct.tag_field) == struct.tag:
            return struct
    others = [bare for bare in map(_bare, info.types) if not isinstance(bare, inspect.NoneType)]
    return (
        structs[0]
        if len(structs) == 1 and isinstance(document, dict)
        else others[0]
        if len(others) == 1
        else info
    )


def _bare(info: inspect.Type) -> inspect.Type:
    return info.type if isinstance(info, inspect.Metadata) else info


def _below(info: inspect.Type, step: str) -> inspect.Type:
    if isinstance(info, inspect.StructType):
        return next((field.type for field in info.fields if field.encode_name == step), inspect.AnyType())
    if isinstance(info, inspect.CollectionType):
        return info.item_type
    return info.value_type if isinstance(info, inspect.DictType) else inspect.AnyType()


def _value(document: object, step: str) -> object:
    if isinstance(document, dict):
        return document.get(step)
    return (
        document[int(step)]
        if isinstance(document, list) and step.isdigit() and int(step) < len(document)
        else None
    )


def _names(info: inspect.Type) -> list[str]:
    if not isinstance(info, inspect.StructType):
        return []
    tag = [info.tag_field] if info.tag_field else []
    return tag + [field.encode_name for field in info.fields]


def _values(info: inspect.Type) -> list[str]:
    bare = _bare(info)
    if isinstance(bare, inspect.UnionType):
        return [value for member in bare.types for value in _values(member)]
    if isinstance(bare, inspect.EnumType):
        return [str(member.value) for member in bare.cls]
    return [str(value) for value in bare.values] if isinstance(bare, inspect.LiteralType) else []


def _tags(info: inspect.Type) -> list[str]:
    bare = _bare(info)
    members = bare.types if isinstance(bare, inspect.UnionType) else (bare,)
    return [str(member.tag) for member in map(_bare, members) if isinstance(member, inspect.StructType)]


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
