"""The package of docs/adding-a-target.md is installed, found, and delivers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dispatcher.domain.errors import InvalidInput, SettingsError
from dispatcher.domain.targets import TargetKind
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources, load_kinds
from dispatcher.targets.ssrf_guard import Guard
from tests.api.conftest import opened, serving
from tests.docs.code_blocks import code_blocks
from tests.factories import make_event, make_subscription
from tests.http.requests import LOOPBACK
from tests.receiver import Receiver

BLOCKS = code_blocks("docs/adding-a-target.md")
DELIVERY = "dlv_01900000000070008000000000000000"


def install(project: Path, site: Path) -> None:
    """Build the package in `project` and install it into `site`, without looking at any index."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--disable-pip-version-check", "--target", str(site), str(project)),
        ],
        check=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the package of the page."""
    project = tmp_path_factory.mktemp("dispatcher-ntfy")
    (project / "pyproject.toml").write_text(BLOCKS["The package"])
    (project / "dispatcher_ntfy.py").write_text(BLOCKS["The kind"])
    site = tmp_path_factory.mktemp("site")
    install(project, site)
    return site


@pytest.fixture
async def kinds(site: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, TargetKind]]:
    """Yield the kinds where the package is installed."""
    monkeypatch.syspath_prepend(site)
    egress = Egress(Guard(LOOPBACK), timeout=5)
    yield load_kinds(Resources(egress))
    await egress.close()
    sys.modules.pop("dispatcher_ntfy", None)


async def deliver(kinds: dict[str, TargetKind], **target: Any) -> Any:
    sender = kinds["ntfy"].sender(make_subscription(target={"kind": "ntfy", **target}))
    return await sender.send(make_event(), DELIVERY, 1, None)


async def test_the_kind_of_an_installed_package_delivers(kinds: dict[str, TargetKind]) -> None:
    async with Receiver() as receiver:
        result = await deliver(kinds, topic="my-jobs", server=receiver.url, token="tk_secret")
    (arrived,) = receiver.arrived

    assert result.error is None
    assert (arrived.path, arrived.body) == ("/my-jobs", b"Job job-1 is FINISHED")
    assert arrived.headers["authorization"] == "Bearer tk_secret"
    assert arrived.headers["x-sequence-id"] == DELIVERY


async def test_a_server_that_is_away_is_a_result(kinds: dict[str, TargetKind]) -> None:
    async with Receiver() as receiver:
        pass
    result = await deliver(kinds, topic="my-jobs", server=receiver.url)

    assert (result.destination_down, result.permanent) == (True, False)


async def test_its_targets_are_checked_and_shown_without_secrets(kinds: dict[str, TargetKind]) -> None:
    kind = kinds["ntfy"]
    target = msgspec.convert({"kind": "ntfy", "topic": "a", "token": "tk_secret"}, kind.spec)

    assert kind.check(target) == "https://ntfy.sh:443"
    assert kind.redact(target)["token"] == "***"
    with pytest.raises(InvalidInput, match="blocked"):
        kind.check(msgspec.convert({"kind": "ntfy", "topic": "a", "server": "http://10.0.0.1"}, kind.spec))


async def test_the_api_takes_and_documents_its_targets(sqlite_url: str, kinds: dict[str, TargetKind]) -> None:
    async with opened(sqlite_url) as store, serving(store, kinds=kinds) as api:
        target = {"kind": "ntfy", "topic": "my-jobs", "token": "tk_secret"}
        made = await api.admin.ask("POST", "/v1/subscriptions", {"events": ["FINISHED"], "target": target})
        wrong = await api.admin.ask(
            "POST", "/v1/subscriptions", {"events": ["FINISHED"], "target": {"kind": "ntfy", "topic": "a b"}}
        )
        document = await api.admin.ask("GET", "/openapi.json")

    assert made.status == 201
    assert made.json["target"] == {"server": "https://ntfy.sh", **target, "token": "***"}
    assert wrong.status in {400, 422}
    assert "NtfyTarget" in document.json["components"]["schemas"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nothing_like_this", "cannot be loaded (ModuleNotFoundError"),
        ("from dispatcher.targets.webhook.kind import make_kind", "there is a target kind 'webhook' already"),
        (
            BLOCKS["The kind"].replace('tag="ntfy"', 'tag="other"'),
            "expected a spec with tag_field=\"kind\" and the tag 'ntfy'",
        ),
    ],
)
def test_a_package_that_cannot_be_a_kind_stops_the_start_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, problem: str
) -> None:
    info = tmp_path / "dispatcher_wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dispatcher-wrong\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dispatcher.targets]\nwrong = dispatcher_wrong:make_kind\n")
    (tmp_path / "dispatcher_wrong.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError) as caught:
        load_kinds(Resources(Egress(Guard())))
    sys.modules.pop("dispatcher_wrong", None)

    assert "'wrong' of the package dispatcher-wrong" in str(caught.value)
    assert problem in str(caught.value)
