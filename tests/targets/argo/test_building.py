"""Building Argo's server says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.targets.argo.real import build


def test_a_machine_without_go_is_asked_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"go is missing: .* install Go 1\.24\.2 or newer"):
        build(tmp_path)


def test_a_failed_build_shows_what_go_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "go").write_text("#!/bin/sh\necho 'invalid go version' >&2\nexit 1\n")
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"could not be built [\s\S]*invalid go version"):
        build(tmp_path)
    assert not (tmp_path / "argoserver").exists()


def test_what_was_built_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "argoserver").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build(tmp_path) == tmp_path / "argoserver"
