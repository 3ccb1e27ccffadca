from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dispatcher import targets
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources, load_kinds
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind


@pytest.fixture
def resources() -> Resources:
    """Return what kinds are made from."""
    return Resources(egress=Egress(Guard()))


def test_the_webhook_kind_is_found(resources: Resources) -> None:
    assert isinstance(load_kinds(resources)["webhook"], WebhookKind)


def test_a_module_with_make_kind_is_a_kind_and_one_without_is_none(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pigeon.py").write_text(
        "class Kind:\n    name = 'pigeon'\n\ndef make_kind(resources): return Kind()\n"
    )
    (tmp_path / "feathers.py").write_text("")
    monkeypatch.setattr(targets, "__path__", [*targets.__path__, str(tmp_path)])
    kinds = load_kinds(resources)
    del sys.modules["dispatcher.targets.pigeon"], sys.modules["dispatcher.targets.feathers"]

    assert kinds["pigeon"].name == "pigeon"
    assert "feathers" not in kinds
    assert "webhook" in kinds


def test_each_kind_is_named_as_its_targets_are(resources: Resources) -> None:
    for name, kind in load_kinds(resources).items():
        assert kind.spec.__struct_config__.tag_field == "kind"
        assert kind.spec.__struct_config__.tag == name
