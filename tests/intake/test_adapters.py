"""Intake adapters: which are found, when they are asked, and what they may return. The example is that of the docs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.intake import adapters, plain
from dispatcher.intake.adapters import load_adapters
from dispatcher.intake.decode import MAX_EVENTS, Message, decode
from dispatcher.intake.decode_context import DecodeContext, IntakeAdapter
from tests.docs.code_blocks import code_blocks
from tests.intake.messages import NOW

EXAMPLE = code_blocks("docs/adding-an-intake-adapter.md")["The adapter"]
SLURM = {"slurm_job_id": 4711, "job_state": "COMPLETED", "user_name": "alice"}


def read(document: object, found: Sequence[IntakeAdapter]) -> list[Event]:
    """The events of a message with this document."""
    message = Message(origin="amqp", body=msgspec.json.encode(document))
    return decode(message, default_tenant="default", tenant_fixed=False, now=NOW, adapters=found)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[IntakeAdapter]]:
    """What is found when the example of the docs stands among the adapters."""
    (tmp_path / "slurm.py").write_text(EXAMPLE)
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path)])
    yield load_adapters()
    del sys.modules["dispatcher.intake.adapters.slurm"]


def test_the_example_of_the_docs_reads_an_event(example: list[IntakeAdapter]) -> None:
    [event] = read(SLURM, example)
    found = (event.event, event.job_id, event.owner, event.source)
    assert found == ("FINISHED", "4711", "alice", "/slurm")


def test_what_it_does_not_match_is_a_plain_event(example: list[IntakeAdapter]) -> None:
    [event] = read({"event": "QUEUED", "job_id": "1", "data": SLURM}, example)
    assert (event.event, event.job_id) == ("QUEUED", "1")


def test_each_document_of_an_array_is_read(example: list[IntakeAdapter]) -> None:
    events = read([SLURM, {"event": "QUEUED", "job_id": "1"}, SLURM], example)
    assert [event.job_id for event in events] == ["4711", "1", "4711"]


def test_what_the_events_lack_is_refused_by_name(example: list[IntakeAdapter]) -> None:
    with pytest.raises(InvalidInput) as refused:
        read([SLURM, SLURM | {"job_state": ""}], example)
    assert refused.value.field == "[1].event"


def test_another_package_names_its_adapter_as_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cluster_events.py").write_text(EXAMPLE)
    installed = tmp_path / "cluster_events-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: cluster-events\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[dispatcher.intake_adapters]\nslurm = cluster_events\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        [event] = read(SLURM, load_adapters())
    finally:
        del sys.modules["cluster_events"]
    assert event.source == "/slurm"


class Batch:
    """An adapter of documents that hold any number of jobs; it notes what it is shown."""

    mark = b'"batch"'

    def __init__(self) -> None:
        self.shown: list[bytes] = []

    def matches(self, document: bytes) -> bool:
        self.shown.append(document)
        return True

    def read(self, document: bytes, context: DecodeContext) -> list[Event]:
        count: int = msgspec.json.decode(document)["batch"]
        return [plain.read(b'{"event": "FINISHED", "job_id": "%d"}' % n, context) for n in range(count)]


def test_an_adapter_is_shown_nothing_without_its_mark_and_no_cloudevent() -> None:
    batch = Batch()
    cloudevent = {"specversion": "1.0", "id": "1", "source": "/s", "type": "FINISHED", "subject": "j"}
    read({"event": "QUEUED", "job_id": "1"}, [batch])
    read(cloudevent | {"data": {"batch": 1}}, [batch])
    assert batch.shown == []


def test_a_document_may_become_several_events() -> None:
    assert [event.job_id for event in read({"batch": 3}, [Batch()])] == ["0", "1", "2"]


class Careless(Batch):
    """An adapter whose events have documents that cannot be decoded."""

    def read(self, document: bytes, context: DecodeContext) -> list[Event]:
        return [replace(event, document=b"{broken") for event in super().read(document, context)]


def test_an_event_whose_document_cannot_be_decoded_is_refused_whatever_read_it() -> None:
    with pytest.raises(InvalidInput, match="expected valid JSON"):
        read({"batch": 1}, [Careless()])


@pytest.mark.parametrize(
    ("document", "field"), [({"batch": 0}, ""), ({"batch": MAX_EVENTS + 1}, ""), ([{"batch": 2}], "[0]")]
)
def test_no_event_and_too_many_are_refused(document: object, field: str) -> None:
    with pytest.raises(InvalidInput, match="expected 1 to") as refused:
        read(document, [Batch()])
    assert refused.value.field == field


def test_what_is_no_adapter_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unfinished.py").write_text("mark = b'x'\n")
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path)])
    try:
        with pytest.raises(TypeError, match="expected mark, matches and read"):
            load_adapters()
    finally:
        del sys.modules["dispatcher.intake.adapters.unfinished"]
