"""Values of AMQP 1.0, which RabbitMQ passes on as they are: application properties, and bodies that are no bytes.

Sources: AMQP 1.0, part 1 "Types" and section 3.2 "Message Format"; what the plug-in rabbitmq_amqp1_0 writes: the header
`x-amqp-1.0-app-properties`, and bodies of the type `amqp-1.0`, as RabbitMQ 4 does too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from struct import Struct as Layout
from struct import error as layout_error
from typing import NoReturn
from uuid import UUID

from dispatcher.domain.errors import InvalidInput
from dispatcher.intake.amqp.field_table import as_text

BODY_TYPE = "amqp-1.0"
"""The property `type` of a message whose body is in this encoding."""

MAX_VALUES = 20_000
"""Values in one message: so many take some ten milliseconds. Arrays of nothing could have any number in a few bytes."""

_MAX_DEPTH = 20
_APPLICATION_PROPERTIES, _DATA, _SEQUENCE, _VALUE = 0x74, 0x75, 0x76, 0x77
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def application_properties(raw: bytes) -> dict[str, object]:
    """The properties of this section. Raises InvalidInput."""
    try:
        descriptor, found, _ = _Reader(raw, "headers").section(0)
    except (layout_error, IndexError) as error:
        raise InvalidInput("headers", f"expected application properties of AMQP 1.0: {error}") from None
    if descriptor != _APPLICATION_PROPERTIES or not isinstance(found, dict):
        raise InvalidInput("headers", "expected application properties of AMQP 1.0")
    return found


def body_of(raw: bytes) -> bytes:
    """What these sections hold: a text or bytes as they are, anything else as JSON. Raises InvalidInput."""
    reader, at = _Reader(raw, "body"), 0
    values: list[object] = []
    data: list[bytes] = []
    sequences = 0
    try:
        while at < len(raw):
            descriptor, found, at = reader.section(at)
            if descriptor == _SEQUENCE and isinstance(found, list):
                sequences += 1
                values += found
            elif descriptor == _DATA and isinstance(found, bytes):
                data.append(found)
            elif descriptor == _VALUE:
                return _as_body(found)
    except (layout_error, IndexError) as error:
        raise InvalidInput("body", f"expected a value of AMQP 1.0: {error}") from None
    if not data and not sequences:
        raise InvalidInput("body", "expected a section of AMQP 1.0 with data, a sequence or a value")
    return b"".join(data) if data else _as_body(values)


def _as_body(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, ensure_ascii=False, default=_as_json).encode("utf-8", "replace")


def _as_json(value: object) -> str:
    """What JSON has no type for, as text."""
    if isinstance(value, bytes):
        return as_text(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


class _Reader:
    """Reads values, each from where it stands to what follows it. Raises InvalidInput, IndexError or struct.error."""

    def __init__(self, data: bytes, field: str) -> None:
        self._data = data
        self._field = field
        self._left = MAX_VALUES
        self._depth = 0

    def section(self, at: int) -> tuple[object, object, int]:
        """The descriptor of a section, its value, and where the next one begins."""
        if self._data[at] != 0:
            self._refuse(f"expected a section of a message of AMQP 1.0, got the byte 0x{self._data[at]:02x}")
        descriptor, at = self._value(at + 1)
        value, at = self._value(at)
        return descriptor, value, at

    def _value(self, at: int) -> tuple[object, int]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._refuse(f"expected values that are nested at most {_MAX_DEPTH} deep")
        code, at = self._constructor(at)
        found = self._read(code, at)
        self._depth -= 1
        return found

    def _constructor(self, at: int) -> tuple[int, int]:
        """The code of a type. A descriptor before it is skipped."""
        while self._data[at] == 0:
            _, at = self._value(at + 1)
        return self._data[at], at + 1

    def _read(self, code: int, at: int) -> tuple[object, int]:
        self._left -= 1
        if self._left < 0:
            self._refuse(f"expected at most {MAX_VALUES} values of AMQP 1.0; send JSON as data")
        if code in _CONSTANTS:
            return _CONSTANTS[code], at
        if (fixed := _FIXED.get(code)) is not None:
            layout, convert = fixed
            return convert(layout.unpack_from(self._data, at)[0]), at + layout.size
        category, kind = code & 0xF0, code & 0x0F
        if category in (0xA0, 0xB0) and kind in _VARIABLE:
            size, at = self._size(at, category == 0xB0)
            return _VARIABLE[kind](self._data[at : at + size]), at + size
        if category in (0xC0, 0xD0) and kind in (0, 1):
            return self._compound(at, category == 0xD0, is_map=kind == 1)
        if category in (0xE0, 0xF0) and kind == 0:
            return self._array(at, category == 0xF0)
        return self._refuse(f"expected a type of AMQP 1.0, got the code 0x{code:02x}")

    def _size(self, at: int, wide: bool) -> tuple[int, int]:
        """How many bytes follow, all of which are there."""
        layout = _WIDE if wide else _NARROW
        size, at = layout.unpack_from(self._data, at)[0], at + layout.size
        if at + size > len(self._data):
            raise IndexError("a value is longer than the rest of the message")
        return size, at

    def _counted(self, at: int, wide: bool) -> tuple[int, int, int]:
        """How many values follow, where they begin, and where they end."""
        size, at = self._size(at, wide)
        layout = _WIDE if wide else _NARROW
        return layout.unpack_from(self._data, at)[0], at + layout.size, at + size

    def _compound(self, at: int, wide: bool, *, is_map: bool) -> tuple[object, int]:
        count, at, end = self._counted(at, wide)
        found: list[object] = []
        for _ in range(count):
            value, at = self._value(at)
            self._check_end(at, end)
            found.append(value)
        return self._map(found) if is_map else found, end

    def _map(self, found: list[object]) -> dict[str, object]:
        names = [name if isinstance(name, str) else self._name(name) for name in found[::2]]
        members = dict(zip(names, found[1::2], strict=False))
        if 2 * len(members) != len(found):
            self._refuse("expected maps of AMQP 1.0 with a value for each key, and each key once")
        return members

    def _name(self, name: object) -> str:
        if isinstance(name, (list, dict)) or name is None:
            self._refuse("expected maps of AMQP 1.0 whose keys are texts or numbers")
        return _as_json(name)

    def _array(self, at: int, wide: bool) -> tuple[object, int]:
        count, at, end = self._counted(at, wide)
        code, at = self._constructor(at)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._refuse(f"expected values that are nested at most {_MAX_DEPTH} deep")
        found: list[object] = []
        for _ in range(count):
            value, at = self._read(code, at)
            self._check_end(at, end)
            found.append(value)
        self._depth -= 1
        return found, end

    def _check_end(self, at: int, end: int) -> None:
        """Values that overlap what follows their list would be read again and again."""
        if at > end:
            raise IndexError("a value is longer than the list that it is in")

    def _refuse(self, problem: str) -> NoReturn:
        raise InvalidInput(self._field, problem)


def _itself(value: object) -> object:
    return value


def _moment(milliseconds: int) -> object:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return str(milliseconds)


def _character(number: int) -> str:
    return chr(number) if number < 0xD800 or 0xDFFF < number < 0x110000 else "\ufffd"


def _decimal(raw: bytes) -> str:
    """A decimal of IEEE 754, which nothing here computes with."""
    return f"0x{raw.hex()}"


_NARROW, _WIDE = Layout(">B"), Layout(">I")
# null, the booleans, the numbers zero, and the empty list.
_CONSTANTS: dict[int, object] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0, 0x45: []}
_FIXED: dict[int, tuple[Layout, Callable[..., object]]] = {
    **{
        code: (Layout(f">{layout}"), _itself)
        for code, layout in {
            0x50: "B", 0x51: "b", 0x52: "B", 0x53: "B", 0x54: "b", 0x55: "b", 0x56: "?",
            0x60: "H", 0x61: "h", 0x70: "I", 0x71: "i", 0x72: "f", 0x80: "Q", 0x81: "q", 0x82: "d",
        }.items()
    },
    0x73: (Layout(">I"), _character),
    0x74: (Layout("4s"), _decimal),
    0x83: (Layout(">q"), _moment),
    0x84: (Layout("8s"), _decimal),
    0x94: (Layout("16s"), _decimal),
    0x98: (Layout("16s"), lambda raw: str(UUID(bytes=raw))),
}  # fmt: skip
_VARIABLE: dict[int, Callable[[bytes], object]] = {0: bytes, 1: as_text, 3: as_text}
"""By the lower half of their code: bytes, text and symbols."""
