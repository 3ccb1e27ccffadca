"""A secret that an answer has is not in what is logged of the answer."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from dispatcher.api import response_models, secret_models
from dispatcher.cli.connection import Access
from dispatcher.client import models

SECRET = "s3cret-text"
NAMES = {"secret", "secrets", "text", "password", "token"}


def structs(module: ModuleType) -> list[type[Struct]]:
    return [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Struct)]


def holds_a_secret(kind: type[Struct]) -> bool:
    fields = {field.name for field in msgspec.structs.fields(kind)}
    return bool(fields & NAMES) or {"key", "scopes"} <= fields


KINDS = [
    kind
    for module in (models, response_models, secret_models)
    for kind in structs(module)
    if holds_a_secret(kind)
]


def test_each_kind_of_secret_is_known() -> None:
    assert sorted(kind.__name__ for kind in KINDS) == ["KeyWithText"] * 2 + ["SubscriptionWithSecret"] * 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_secret_is_sent_and_not_shown(kind: Any) -> None:
    made = kind(**{field.name: SECRET for field in msgspec.structs.fields(kind)} | {"id": "the-id"})
    assert SECRET in msgspec.json.encode(made).decode()
    for shown in (repr(made), str(made), f"{made}", repr(list(made.__rich_repr__()))):
        assert SECRET not in shown
        assert "the-id" in shown


def test_the_key_of_the_command_line_is_not_shown() -> None:
    assert SECRET not in repr(Access("http://127.0.0.1", SECRET))
