"""What a decoding error becomes: the field, what was expected, the nearest name."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from dispatcher.api.explain import explain


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Bell(Struct, forbid_unknown_fields=True, tag_field="kind", tag="bell"):
    loudness: int = 1


class Letter(Struct, forbid_unknown_fields=True, tag_field="kind", tag="letter"):
    address: str
    pages: tuple[Annotated[int, Meta(ge=1)], ...] = ()
    stamps: dict[Annotated[str, Meta(min_length=2)], str] = {}


class Plan(Struct, forbid_unknown_fields=True):
    days: tuple[int, ...]


class Order(Struct, forbid_unknown_fields=True):
    target: Bell | Letter
    plan: Literal["never", "daily"] | Plan = "never"
    colour: Colour | None = None
    code: Annotated[str, Meta(pattern="^[a-z]$", extra={"expected": "expected one small letter"})] | None = (
        None
    )


BELL = {"kind": "bell"}
LETTER = {"kind": "letter", "address": "x"}


def to(target: object, **more: object) -> dict[str, object]:
    """An order."""
    return {"target": target, **more}


@pytest.mark.parametrize(
    ("document", "field", "problem"),
    [
        ([], "", "expected object, got array"),
        (to({"kind": "ball"}), "target.kind", "expected one of bell, letter, got 'ball'"),
        (to({"address": "x"}), "target.kind", "is missing"),
        (to({"kind": "letter"}), "target.address", "is missing"),
        (to(BELL | {"loudnes": 1}), "target.loudnes", "unknown field; did you mean loudness?"),
        (to(LETTER | {"q": 1}), "target.q", "unknown field; known are kind, address, pages, stamps"),
        (to(BELL | {"loudness": "much"}), "target.loudness", "expected integer, got string"),
        (to(LETTER | {"pages": [1, 0]}), "target.pages[1]", "expected integer >= 1"),
        (to(LETTER | {"stamps": {"ab": 1}}), "target.stamps.*", "expected string, got integer"),
        (to(LETTER | {"stamps": {"a": "b"}}), "target.stamps", "expected string of length >= 2"),
        (to(BELL, plan="weekly"), "plan", "expected one of daily, never, got 'weekly'"),
        (to(BELL, plan={"day": []}), "plan.day", "unknown field; did you mean days?"),
        (to(BELL, plan={"days": ["x"]}), "plan.days[0]", "expected integer, got string"),
        (to(BELL, colour="blue"), "colour", "expected one of red, green, got 'blue'"),
        (to(BELL, code="ab"), "code", "expected one small letter"),
        (
            to(BELL, **{" - at `$.x`": 1}),
            " - at `$.x`",
            "unknown field; known are target, plan, colour, code",
        ),
    ],
)
def test_an_error_is_explained_in_the_terms_of_the_sender(document: object, field: str, problem: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(document, Order)
    explained = explain(caught.value, Order, document)
    assert (explained.field, explained.problem) == (field, problem)


def test_without_the_document_the_field_is_still_named() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'{"target": {"kind": "bell", "loudness": "x"}, nonsense', type=Order)
    assert explain(caught.value, Order, None).field == "target.loudness"
