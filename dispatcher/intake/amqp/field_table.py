"""The headers of a message as AMQP 0-9-1 writes them: what cannot be kept as it is becomes a text.

Source: AMQP 0-9-1, section 4.2.5.5 "Field Tables", with the types that RabbitMQ takes in its errata.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct as Layout
from struct import error as layout_error
from typing import ClassVar

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.times import from_number

APPLICATION_PROPERTIES = "x-amqp-1.0-app-properties"
"""The header that stays bytes: RabbitMQ writes values of AMQP 1.0 there as they came."""

_MAX_DEPTH = 20
_SIZE = Layout(">I")
_DECIMAL = Layout(">Bi")

_NUMBERS = {
    ord(kind): Layout(f">{layout}")
    for kind, layout in {
        "b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q", "L": "q", "f": "f", "d": "d", "t": "?"
    }.items()
}  # fmt: skip


def read_table(data: bytes, start: int, end: int) -> dict[str, object]:
    """The table whose size stands at `start`. Raises InvalidInput when it is broken."""
    try:
        return _Reader(data, end).table(start)[0]
    except (layout_error, IndexError) as error:
        raise InvalidInput("headers", f"expected a field table of AMQP 0-9-1: {error}") from None


class _Reader:
    """Reads values from a table, each from where it stands to what follows it."""

    def __init__(self, data: bytes, end: int) -> None:
        self._data = data
        self._end = end
        self._depth = 0

    def table(self, at: int) -> tuple[dict[str, object], int]:
        found: dict[str, object] = {}
        at, end = self._nested(at)
        while at < end:
            name, at = self._span(at + 1, self._data[at])
            if name == APPLICATION_PROPERTIES.encode() and self._data[at] in b"Sx":
                found[APPLICATION_PROPERTIES], at = self._bytes(at + 1)
            else:
                found[as_text(name)], at = self._value(at)
        self._depth -= 1
        return found, at

    def _array(self, at: int) -> tuple[object, int]:
        found: list[object] = []
        at, end = self._nested(at)
        while at < end:
            value, at = self._value(at)
            found.append(value)
        self._depth -= 1
        return found, at

    def _nested(self, at: int) -> tuple[int, int]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidInput("headers", f"expected tables that are nested at most {_MAX_DEPTH} deep")
        start, size = at + _SIZE.size, _SIZE.unpack_from(self._data, at)[0]
        if start + size > self._end:
            raise IndexError("it is longer than the header")
        return start, start + size

    def _value(self, at: int) -> tuple[object, int]:
        kind, at = self._data[at], at + 1
        if (layout := _NUMBERS.get(kind)) is not None:
            return layout.unpack_from(self._data, at)[0], at + layout.size
        read = self._READERS.get(chr(kind))
        if read is None:
            raise InvalidInput("headers", f"expected a type of AMQP 0-9-1, got {chr(kind)!r}")
        return read(self, at)

    def _span(self, at: int, size: int) -> tuple[bytes, int]:
        if at + size > self._end:
            raise IndexError("it is longer than the header")
        return self._data[at : at + size], at + size

    def _bytes(self, at: int) -> tuple[bytes, int]:
        return self._span(at + _SIZE.size, _SIZE.unpack_from(self._data, at)[0])

    def _string(self, at: int) -> tuple[object, int]:
        raw, after = self._bytes(at)
        return as_text(raw), after

    def _decimal(self, at: int) -> tuple[object, int]:
        scale, digits = _DECIMAL.unpack_from(self._data, at)
        text = f"{abs(digits):0{scale + 1}d}"
        sign = "-" if digits < 0 else ""
        return f"{sign}{text[:-scale]}.{text[-scale:]}" if scale else f"{sign}{text}", at + _DECIMAL.size

    def _timestamp(self, at: int) -> tuple[object, int]:
        raw, after = self._span(at, 8)
        number = int.from_bytes(raw, signed=True)
        return from_number(number) or str(number), after

    _READERS: ClassVar[dict[str, Callable[[_Reader, int], tuple[object, int]]]] = {
        "S": _string,
        "x": _string,
        "D": _decimal,
        "T": _timestamp,
        "F": table,
        "A": _array,
        "V": lambda _, at: (None, at),
    }


def as_text(raw: bytes) -> str:
    """Bytes as UTF-8, or else as Latin-1, in which every byte is a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
