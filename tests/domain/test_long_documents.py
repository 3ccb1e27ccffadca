"""Events with long documents: what is decoded of them takes much memory, so it is not kept."""

from __future__ import annotations

import tracemalloc

import pytest
from msgspec import Raw

from dispatcher.domain import events
from dispatcher.domain.events import LONG_DOCUMENT, Event
from dispatcher.domain.jobs import project_one
from dispatcher.domain.permissions import permission_of
from dispatcher.domain.variable_values import EventValues
from dispatcher.targets.email.template_context import build_context
from tests.factories import make_event

MANY: list[object] = [[] for _ in range(30_000)]


def read(event: Event) -> None:
    """All that is read of an event on its way."""
    project_one(event)
    permission_of(event)
    assert event.attributes["job_id"] == "job-1"
    assert EventValues(event).get("data.x.7") == "[]"
    assert event.data_at("x", ("x",)) == MANY
    assert event.attribute("subject") == "job-1"


def test_a_long_document_is_not_kept_decoded() -> None:
    event = make_event(event="PERMISSION_GRANT", data={"job": {"x": MANY}, "x": MANY})
    assert len(event.document) > LONG_DOCUMENT
    tracemalloc.start()
    try:
        read(event)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < len(event.document)


def test_a_short_document_is_decoded_once() -> None:
    event = make_event(data={"x": 1})

    assert event.decoded is event.decoded


def test_a_path_into_a_short_document_is_walked_once() -> None:
    event = make_event(data={"x": {"y": [1]}})
    found = event.data_at("x.y", ("x", "y"))
    event.decoded["data"].clear()  # type: ignore[attr-defined]
    assert event.data_at("x.y", ("x", "y")) is found
    event.drop_cached_document()
    assert event.data_at("x.y", ("x", "y")) is not found


def test_more_paths_than_are_kept_are_found_all_the_same() -> None:
    event = make_event(data={f"x{number}": number for number in range(1, 300)})
    for _ in range(2):
        assert [event.data_at(f"x{n}", (f"x{n}",)) for n in range(300)] == [None, *range(1, 300)]
    assert len(event.__dict__["_found"]) < 100


def test_the_values_of_one_request_decode_a_long_document_once() -> None:
    held = make_event(data={"x": MANY}).with_cached_document()

    assert held.decoded is held.decoded
    assert held.with_cached_document() is held


def test_the_state_of_a_job_and_its_mail_decode_a_long_document_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[bytes] = []
    decode = events._decode_document

    def counted(text: bytes) -> dict[str, object]:
        decoded.append(text)
        return decode(text)

    monkeypatch.setattr(events, "_decode_document", counted)
    event = make_event(data={"job": {"name": "align", "x": MANY}, "message": "said"})
    assert (project_one(event).name, len(decoded)) == ("align", 1)
    assert (build_context(event).job_name, len(decoded)) == ("align", 2)


@pytest.mark.parametrize(
    "filling", ["[]", "{}", '{"":0}', '{"":{"":{"":0}}}', "[" * 90 + "]" * 90, '""', "1.5"]
)
def test_an_event_takes_no_more_memory_than_it_says(filling: str) -> None:
    data = Raw(f"[{','.join([filling] * (50_000 // (len(filling) + 1)))}]".encode())
    tracemalloc.start()
    try:
        event = make_event(data=data)
        assert event.decoded
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < event.size


def test_a_released_document_is_decoded_again() -> None:
    event = make_event(data={"message": "a"})
    before = event.decoded
    event.drop_cached_document()

    assert event.decoded == before
    assert event.decoded is not before
