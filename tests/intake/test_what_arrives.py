"""Events as real publishers send them: what is not quite right is read as it was meant, or refused by name."""

from __future__ import annotations

import bz2
import gzip
import json
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest
from pamqp.encode import field_table as written_table

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.jobs import project_one
from dispatcher.intake.amqp.field_table import read_table
from dispatcher.intake.body import codec_of
from dispatcher.intake.decode import MAX_BODY, Message
from tests.intake.messages import NOW, cloudevent, decoded, plain, read

STRUCTURED = "application/cloudevents+json"


def refusal(document: object, **message: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        read(document, **message)
    return refused.value


def headers(prefix: str = "ce-", **changes: object) -> dict[str, object]:
    return {prefix + name: value for name, value in cloudevent(**changes).items()}


# Numbers as names


def test_a_whole_number_is_taken_as_its_digits() -> None:
    event = read(plain(job_id=4242, id=7, source=1, owner=1001, tenant=3, job={"name": 99}))
    assert (event.job_id, event.id, event.source, event.owner, event.tenant) == (
        "4242",
        "7",
        "1",
        "1001",
        "3",
    )
    assert (event.decoded["subject"], event.decoded["owner"]) == ("4242", "1001")
    assert project_one(event).name == "99"


def test_the_number_of_a_job_in_its_document_is_its_id() -> None:
    event = read(b'{"event":"FINISHED","job":{"id":4242,"owner":"ann"}}')
    assert (event.job_id, event.owner) == ("4242", "ann")


def test_a_long_number_is_kept_exactly() -> None:
    number = 12345678901234567890123456789012345678901
    assert read(plain(job_id=number)).job_id == str(number)
    assert read(cloudevent(subject=number, id=number)).job_id == str(number)


def test_a_number_as_an_attribute_becomes_the_text_that_cloudevents_wants() -> None:
    event = read(cloudevent(id=7, subject=4242, owner=1001), content_type=STRUCTURED)
    assert (event.id, event.job_id, event.owner) == ("7", "4242", "1001")
    assert event.decoded == cloudevent(id="7", subject="4242", owner="1001")


def test_what_is_said_is_kept_as_text_whatever_it_is() -> None:
    assert read(plain(message=42)).message == "42"
    assert read(plain(message={"a": 1})).message == '{"a":1}'


# Bytes that are not quite JSON


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_a_byte_order_mark_is_skipped(encoding: str) -> None:
    mark = "" if encoding in ("utf-8-sig", "utf-16", "utf-32") else "\ufeff"
    for document in (plain(owner="Zoë"), [plain(owner="Zoë")], cloudevent(owner="Zoë")):
        body = (mark + json.dumps(document, ensure_ascii=False)).encode(encoding)
        (event,) = decoded(Message(origin="http", body=body))
        assert event.owner == "Zoë"
        assert msgspec.json.decode(event.document) == event.decoded


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        (rb'{"event":"A","job_id":"j","message":"wrote \udcff.txt"}', "message", "wrote \ufffd.txt"),
        (rb'{"event":"A","job_id":"j","message":"\ud83d\ude00 \ud83d"}', "message", "\U0001f600 \ufffd"),
        (rb'{"event":"A","job_id":"j","message":"\ud83d\ud83d\ude00"}', "message", "\ufffd\U0001f600"),
        (rb'{"event":"A","job_id":"j","message":"\\ud800 \ud800"}', "message", "\\ud800 \ufffd"),
        (b'{"event":"A","job_id":"j","message":"gr\xfc\xdfe"}', "message", "gr\ufffd\ufffde"),
        (b'{"event":"A","job_id":"j","message":"\xed\xa0\x80"}', "message", "\ufffd\ufffd\ufffd"),
        (rb'{"event":"A","job_id":"\udcff"}', "job_id", "\ufffd"),
    ],
)
def test_half_a_character_becomes_the_replacement_character(body: bytes, field: str, value: str) -> None:
    event = read(body)
    assert getattr(event, field) == value
    event.document.decode()


def test_half_a_character_in_data_is_replaced_in_what_goes_out_too() -> None:
    event = read(rb'{"event":"FINISHED","job_id":"j","data":{"\udcff":"\udcff.txt"},"job":{"name":"\udc00"}}')
    assert json.loads(event.document)["data"]["data"] == {"\ufffd": "\ufffd.txt"}
    event = read(
        msgspec.json.encode(cloudevent()).replace(b'"e-1"', rb'"e-1","data":["\ud800"],"x":"\ud800"')
    )
    assert (event.data, event.decoded["x"]) == (["\ufffd"], "\ufffd")


@pytest.mark.parametrize(
    ("charset", "owner"),
    [
        ("ISO-8859-1", "Zoë"),
        ("latin-1", "Zoë"),
        ("iso_8859-15", "Zoë €"),
        ("windows-1250", "Łódź"),
        ("Windows-1251", "Зоя"),
        ("koi8-r", "Зоя"),
        ("Shift_JIS", "大学"),
        ("EUC-JP", "大学"),
        ("GB18030", "大学"),
        ("Big5", "大學"),
        ("utf-16", "Zoë"),
    ],
)
def test_a_charset_that_the_message_names_is_used_when_the_body_is_no_utf_8(charset: str, owner: str) -> None:
    body = json.dumps(plain(owner=owner), ensure_ascii=False).encode(charset)
    for content_type in (f"application/json; charset={charset}", f"application/json;charset='{charset}'"):
        assert read(body, content_type=content_type).owner == owner
        assert read(plain(owner=owner), content_type=content_type).owner == owner
    assert read(body, content_encoding=charset).owner == owner
    assert read(packed(body), content_encoding=f"gzip, {charset}").owner == owner


def test_a_charset_whose_codec_would_take_long_is_not_used() -> None:
    assert codec_of("punycode") is codec_of("idna") is codec_of("unicode_escape") is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"event":"A","job_id":"j","data":{"loss":NaN}}', "data.loss"),
        (b'{"event":"A","job_id":"j","data":{"a":[1,{"b":-Infinity}]}}', "data.a[1].b"),
        (b'[{"event":"A","job_id":"j"},{"event":"A","job_id":"j","job":{"x":Infinity}}]', "[1].job.x"),
        (b'{"event":"A","job_id":NaN}', "job_id"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"A","subject":"j","data":NaN}', "data"),
        (b'\xef\xbb\xbf{"event":"A","job_id":"j","time":NaN}', "time"),
    ],
)
def test_a_number_that_json_has_not_is_named_with_its_place(body: bytes, field: str) -> None:
    refused = refusal(body)
    assert refused.field == field
    assert refused.problem.startswith("expected a number that JSON has, or null; got ")


def test_a_number_that_json_has_not_in_the_body_of_a_binary_message_is_named_as_data() -> None:
    json_type = {"headers": headers(), "content_type": "application/json"}
    assert refusal(b'{"a":[NaN]}', **json_type).field == "data.a[0]"
    assert refusal(b"NaN", **json_type).field == "data"


# Names and states


@pytest.mark.parametrize(
    "name",
    [
        "大\u3000学",
        "a\u00a0b",
        "\u0645\u06cc\u200c\u062e\u0648",
        "क्\u200dष",
        "e\u0301",
        "🧪",
        "\u200ea",
        "\ufeffx",
        "\U0001fae8",
        "\u0378",
    ],
)
def test_a_name_may_have_every_letter_mark_and_space_of_unicode(name: str) -> None:
    event = read(plain(job_id=name, owner=name, source=name, id=name, tenant=name))
    assert (event.job_id, event.owner, event.source, event.id, event.tenant) == (name,) * 5
    assert read(cloudevent(subject=name, owner=name)).job_id == name


@pytest.mark.parametrize(
    "character", ["\x00", "\r", "\n", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066"]
)
def test_a_name_may_have_nothing_that_controls_or_turns_the_text_around_it(character: str) -> None:
    assert refusal(plain(job_id=f"a{character}b")).field == "job_id"
    assert refusal(cloudevent(subject=f"a{character}b")).field == "subject"


@pytest.mark.parametrize(
    ("said", "event", "message"),
    [
        ("CANCELLED by 1060117793", "CANCELLED", "CANCELLED by 1060117793"),
        ("CANCELLED+", "CANCELLED", "CANCELLED+"),
        (" RUNNING\n", "RUNNING", " RUNNING\n"),
        ("finished", "FINISHED", None),
    ],
)
def test_a_state_is_its_first_word(said: str, event: str, message: str | None) -> None:
    found = read(plain(event=said))
    assert (found.event, found.type, found.message) == (event, f"job.{event}", message)
    assert read({"job_id": "j", "job": {"status": said}}).event == event
    assert project_one(read(plain(event="UPDATED", job={"status": said}))).status == event
    assert read(plain(event=said, message="mine")).message == "mine"


@pytest.mark.parametrize(
    ("theirs", "ours", "ended"),
    [
        ("Pending", "PENDING", False),
        ("Submitted", "QUEUED", False),
        ("Running", "RUNNING", False),
        ("Various", "RUNNING", False),
        ("Complete", "FINISHED", True),
        ("Various-Complete", "FINISHED", True),
        ("Error", "FAILED", True),
        ("Aborted", "KILLED", True),
    ],
)
def test_the_statuses_of_tethys_are_known_in_any_case(theirs: str, ours: str, ended: bool) -> None:
    for written in (theirs, theirs.upper(), theirs.lower()):
        event = read(plain(event=written))
        assert (event.event, project_one(event).terminal) == (ours, ended)
        job = project_one(read(plain(event="HEARTBEAT", job={"status": written})))
        assert (job.status, job.terminal) == (ours, ended)
        assert read(cloudevent(type=f"org.example.{written}")).event == ours


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("com.example.job.finished.v1", "FINISHED"),
        ("com.example.job.FINISHED.v2beta1", "FINISHED"),
        ("com.example.job.finished.1.0", "FINISHED"),
        ("com.example.job.Finished.v1.0.2", "FINISHED"),
        ("com.example.job.finished.2026-05-04", "FINISHED"),
        ("com.example.job.finished.v1-beta", "FINISHED"),
        ("com.example.job.finished.v1.0.0-rc.1", "FINISHED"),
        ("com.example.job.finished.1_0", "FINISHED"),
        ("com.example.job.finished-v1", "FINISHED"),
        ("com.example.job.finished/v1", "FINISHED"),
        ("com.example.job.finished:1.0", "FINISHED"),
        ("com.example.job.archiving_failed_v2", "ARCHIVING_FAILED"),
        ("org.site.aligned.v1", "aligned"),
        ("org.site.stage-2", "stage-2"),
        ("org.site.aligned-v2", "aligned-v2"),
        ("running", "RUNNING"),
        ("job.v2x", "v2x"),
    ],
)
def test_the_event_is_the_last_part_of_a_type_that_is_no_version(kind: str, event: str) -> None:
    found = read(cloudevent(type=kind))
    assert (found.event, found.type, found.decoded["type"]) == (event, kind, kind)


# Times


@pytest.mark.parametrize(
    "time",
    [
        "2026-05-04t12:00:00z",
        "2026-05-04 12:00:00Z",
        "2026-05-04 12:00:00",
        "2026-05-04T12:00Z",
        "2026-05-04T14:00+02",
        "2026-05-04T12:00:00+0000",
        "2026-05-04T12:00:00,000Z",
        "2026-05-04T12:00:00.000000000Z",
        "2026-05-04T11:59:60Z",
        "20260504T120000Z",
        "2026-05-04T14:00:00+02:00[Europe/Berlin]",
        "2026-05-04 12:00:00 UTC",
        1777896000,
        1777896000.0,
        1777896000000,
        1777896000000000,
        1777896000000000000,
        "1777896000",
    ],
)
def test_a_time_is_read_in_many_forms_and_goes_out_in_one(time: object) -> None:
    assert datetime(2026, 5, 4, 12, 0, tzinfo=UTC) == NOW
    for event in (read(plain(time=time)), read(cloudevent(time=time))):
        assert event.time == NOW
        assert event.decoded["time"] in (time, "2026-05-04T12:00:00Z")
        assert datetime.fromisoformat(str(event.decoded["time"])) == NOW


def test_a_leap_second_is_the_next_one() -> None:
    event = read(cloudevent(time="2016-12-31T23:59:60.5Z"))
    assert event.time == datetime(2017, 1, 1, tzinfo=UTC)
    assert event.decoded["time"] == "2017-01-01T00:00:00Z"


def test_times_in_a_jobs_document_may_be_numbers() -> None:
    assert project_one(read(plain(job={"endTime": 1777896000}))).ended_at == NOW


# Keys that are there twice


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"event":"A","job_id":"j","owner":"ann","owner":"bob"}', "owner"),
        (b'{"event":"A","job_id":"j", "job_id" : "k"}', "job_id"),
        (rb'{"event":"A","job_id":"j","owner":"ann","own\u0065r":"bob"}', "owner"),
        (b'{"event":"A","job_id":"j","data":{},"data":{}}', "data"),
        (b'{"event":"A","job":{"id":"1","id":"2"}}', "job.id"),
        (b'{"event":"A","job_id":"j","job":{"owner":"ann","x":{"owner":1},"owner":"bob"}}', "job.owner"),
        (b'[{"event":"A","job_id":"j"},{"event":"A","event":"B","job_id":"j"}]', "[1].event"),
        (b'{"specversion":"1.0","id":"1","id":"2","source":"s","type":"A","subject":"j"}', "id"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"A","subject":"j","data":1,"data":2}', "data"),
    ],
)
def test_a_key_that_is_read_may_stand_there_once_only(body: bytes, field: str) -> None:
    assert refusal(body).field == field


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"A","job_id":"j","data":{"event":1,"x":1,"x":2,"owner":"a","owner":"b"}}',
        b'{"event":"A","job_id":"j","job":{"id":"1","steps":[{"id":"2"},{"id":"3"}],"owner":"ann"}}',
        rb'{"event":"A","job_id":"j","message":"\"owner\": \"owner\": \u0041"}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"A","subject":"j","data":{"id":1,"type":2,"id":3}}',
    ],
)
def test_elsewhere_a_key_may_stand_there_again(body: bytes) -> None:
    assert read(body).event == "A"


# Compressed bodies

BODY = msgspec.json.encode(plain())


packed = partial(gzip.compress, mtime=0)


def raw_deflate(body: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(body) + packing.flush()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (packed(BODY), "gzip"),
        (packed(BODY), "x-gzip"),
        (packed(BODY), "gzip, UTF-8"),
        (packed(BODY), "utf-8,GZIP"),
        (packed(BODY), "gzip:UTF-8"),
        (packed(BODY), "gzip, ISO-8859-1"),
        (BODY, "ISO-8859-1"),
        (BODY, "8bit"),
        (packed(BODY[:5]) + packed(BODY[5:]), "gzip"),
        (packed(BODY) + bytes(20), "gzip"),
        (zlib.compress(BODY), "deflate"),
        (raw_deflate(BODY), "deflate"),
        (zlib.compress(BODY), "gzip"),
        (zlib.compress(packed(BODY)), "gzip, deflate"),
        (bz2.compress(BODY), "bzip2"),
        (BODY, "identity"),
        (BODY, "utf-8"),
        (packed(b"\xef\xbb\xbf" + BODY), "gzip"),
    ],
)
def test_a_compressed_body_is_inflated(body: bytes, encoding: str) -> None:
    assert read(body, content_encoding=encoding).event == "FINISHED"


@pytest.mark.parametrize(
    ("body", "compression"),
    [
        (zlib.compress(BODY), "application/x-gzip"),
        (bz2.compress(BODY), "application/x-bz2"),
        (zlib.compress(BODY), "zlib"),
    ],
)
def test_a_body_that_kombu_compressed_is_inflated(body: bytes, compression: str) -> None:
    assert read(body, headers={"compression": compression}, content_encoding="utf-8").event == "FINISHED"


@pytest.mark.parametrize("compression", ["application/x-lzma", "application/x-brotli", "application/zstd"])
def test_a_compression_of_kombu_that_is_not_undone_is_named(compression: str) -> None:
    refused = refusal(BODY, headers={"compression": compression}, content_encoding="utf-8")
    assert refused.problem == f"expected gzip, deflate, bzip2 or none, got {compression!r}"


# JSON that was encoded twice


@pytest.mark.parametrize("document", [plain(owner="Zoë"), [plain(owner="Zoë")], cloudevent(owner="Zoë")])
@pytest.mark.parametrize("origin", ["amqp", "http"])
def test_a_json_string_that_holds_a_document_is_that_document(origin: str, document: object) -> None:
    body = f" {json.dumps(json.dumps(document, indent=1))}".encode()
    (event,) = decoded(Message(origin=origin, body=body, content_type="application/json"))
    (once,) = decoded(Message(origin=origin, body=json.dumps(document).encode()))
    assert (event.owner, event.job_id) == ("Zoë", "job-1")
    assert event.decoded["type"] == once.decoded["type"]


def test_what_is_repaired_is_repaired_within_such_a_string_too() -> None:
    for inner in (rb'{"event":"A","job_id":"\udcff"}', json.dumps(plain(job_id="\udcff")).encode()):
        twice = json.dumps(inner.decode()).encode("utf-16")
        assert read(twice).job_id == "\ufffd"


@pytest.mark.parametrize("body", [b'"FINISHED"', b'"', b'"{\\"event\\":"', b'"\\"{}\\""'])
def test_another_string_is_no_event(body: bytes) -> None:
    assert refusal(body).field == ""


def test_a_string_that_is_the_data_of_a_binary_message_stays_one() -> None:
    event = read(b'"{}"', headers=headers(), content_type="application/json")
    assert event.data == "{}"


@pytest.mark.parametrize(
    ("body", "encoding", "problem"),
    [
        (BODY, "gzip", "expected data compressed with gzip"),
        (packed(BODY)[:-9], "gzip", "it ends too early"),
        (bz2.compress(BODY)[:-9], "bzip2", "it ends too early"),
        (b"", "bzip2", "it ends too early"),
        (BODY, "br", "expected gzip, deflate, bzip2 or none, got 'br'"),
        (BODY, "gzip, gzip, gzip, gzip", "expected at most 3 encodings, got 4"),
    ],
)
def test_what_cannot_be_inflated_is_named(body: bytes, encoding: str, problem: str) -> None:
    refused = refusal(body, content_encoding=encoding)
    assert refused.field == "content-encoding"
    assert problem in refused.problem


@pytest.mark.parametrize("pack", [packed, zlib.compress, raw_deflate, bz2.compress])
def test_a_small_body_that_becomes_a_long_one_is_refused_without_taking_the_memory(pack: Any) -> None:
    bomb = pack(bytes(64 << 20))
    refused = refusal(bomb, content_encoding="bzip2" if pack is bz2.compress else "deflate")
    assert f"at most {MAX_BODY} bytes" in refused.problem


def test_members_of_gzip_in_a_row_count_together() -> None:
    refused = refusal(packed(bytes(MAX_BODY // 2)) * 3, content_encoding="gzip")
    assert f"at most {MAX_BODY} bytes" in refused.problem


def test_data_of_a_binary_message_may_be_compressed() -> None:
    event = read(
        packed(b'{"a":1}'), headers=headers(), content_type="application/json", content_encoding="gzip"
    )
    assert event.data == {"a": 1}


# Attributes that only decorate an event


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1.5, "1.5"),
        (1 << 40, str(1 << 40)),
        ({"a": 1}, '{"a":1}'),
        ([1], "[1]"),
        ("a\u0007b", "a\ufffdb"),
        (10**400, "1" + "0" * 400),
        (True, True),
        (7, 7),
    ],
)
def test_an_attribute_that_only_decorates_is_kept_as_text(value: object, kept: object) -> None:
    assert read(cloudevent(custom=value), content_type=STRUCTURED).decoded["custom"] == kept


def test_an_attribute_with_another_name_than_cloudevents_allow_is_renamed_or_left_out() -> None:
    document = read(cloudevent(customName="x", trace_id="y", TraceId="z", ß="q")).decoded
    assert document == cloudevent(customname="x", traceid="y")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"\xffbytes", "ÿbytes"),
        (1 << 40, str(1 << 40)),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (Decimal("1.10"), "1.10"),
        (datetime(2026, 5, 4, tzinfo=UTC), "2026-05-04T00:00:00Z"),
        ({"a": [b"x"]}, None),
        ([1, "x"], '[1,"x"]'),
    ],
)
def test_a_header_of_any_type_of_amqp_is_kept_as_text(value: object, kept: object) -> None:
    event = read(b"", headers=headers() | {"ce-custom": value})
    found = event.decoded["custom"]
    assert isinstance(found, str)
    assert kept is None or found == str(kept)


def test_a_header_of_http_in_latin_1_is_read() -> None:
    # As the server hands on bytes that are no UTF-8.
    latin = "Zoë".encode("latin-1").decode("utf-8", "surrogateescape")
    event = read(b"", origin="http", headers=headers(owner=latin, custom=latin, subject="Zo%EB"))
    assert (event.owner, event.decoded["custom"], event.job_id) == ("Zoë", "Zoë", "Zoë")


def test_a_content_type_or_a_name_of_a_header_that_is_no_utf_8_refuses_no_event() -> None:
    latin = b"\xe9".decode("utf-8", "surrogateescape")
    named = headers() | {f"ce-tit{latin}": "x"}
    event = read(b"{}", origin="http", headers=named, content_type=f"application/json; by={latin}")
    assert event.decoded == cloudevent(datacontenttype="application/json; by=é", data={}, tit="x")


def test_every_type_of_a_field_table_is_read() -> None:
    table: dict[str, Any] = {
        "a": "text",
        "b": True,
        "c": 1 << 40,
        "d": -5,
        "e": 1.5,
        "f": Decimal("-0.05"),
        "g": datetime(2026, 5, 4, tzinfo=UTC),
        "h": {"x": [1, "y"]},
        "i": None,
        "j": bytearray(b"\xff"),
    }
    data = written_table(table)
    found = read_table(data, 0, len(data))
    assert found == table | {"f": "-0.05", "j": "ÿ"}


def test_a_field_table_that_is_broken_or_too_deep_is_refused_by_name() -> None:
    data = written_table({"a": "text", "b": {"c": [1, 2]}})
    for end in range(4, len(data)):
        with pytest.raises(InvalidInput) as refused:
            read_table(data[:end], 0, end)
        assert refused.value.field == "headers"
    deep = b""
    for _ in range(100):
        deep = b"\x01aF" + len(deep).to_bytes(4) + deep
    table = len(deep).to_bytes(4) + deep
    with pytest.raises(InvalidInput) as refused:
        read_table(table, 0, len(table))
    assert "nested" in refused.value.problem
