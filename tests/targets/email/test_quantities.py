"""How a job's end, memory and times are read in the forms of batch systems, and written for people."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dispatcher.targets.email.exits import exit_of
from dispatcher.targets.email.logs import LINES, WIDTH, log_lines
from dispatcher.targets.email.quantities import memory_of, seconds_of, shown, shown_bytes, shown_seconds
from dispatcher.targets.email.resource_usage import usage_of

SLURM = {
    "return_code": {"set": True, "number": 0},
    "signal": {"id": {"set": True, "number": 9}, "name": "KILL"},
}
OLD_SLURM = {"status": "SIGNALED", "return_code": 0, "signal": {"signal_id": 9, "name": "SIGKILL"}}
NO_UNIT: tuple[Any, ...] = (64, "64", 68_000_000_000, True, None, "", "a lot", [], "1e3", "-4G")
NO_AMOUNT: tuple[Any, ...] = (0, -1, math.inf, {"set": False, "number": 1}, {"infinite": True})
NO_TIME: tuple[Any, ...] = (None, True, "soon", "", [], -1, {"set": False})
UNSET = {"set": False, "number": 0}


@pytest.mark.parametrize(
    ("value", "text", "meaning"),
    [
        (0, "exit 0", ""),
        (3, "exit 3", ""),
        ("3", "exit 3", ""),
        (3.0, "exit 3", ""),
        ("exit code 3", "exit 3", ""),
        ("3:0", "exit 3", ""),
        (255, "exit 255", ""),
        (127, "exit 127", ""),
        (137, "exit 137", "signal 9 (KILL)"),
        ("139", "exit 139", "signal 11 (SEGV)"),
        (-9, "signal 9 (KILL)", "signal 9 (KILL)"),
        ("-15", "signal 15 (TERM)", "signal 15 (TERM)"),
        (271, "signal 15 (TERM)", "signal 15 (TERM)"),
        ("0:9", "signal 9 (KILL)", "signal 9 (KILL)"),
        ("SIGSEGV", "signal 11 (SEGV)", "signal 11 (SEGV)"),
        ("9 (SIGKILL)", "signal 9 (KILL)", "signal 9 (KILL)"),
        ("SIGKILL (9)", "signal 9 (KILL)", "signal 9 (KILL)"),
        ("terminated by SIGTERM", "signal 15 (TERM)", "signal 15 (TERM)"),
        ("signal: killed", "signal 9 (KILL)", "signal 9 (KILL)"),
        ("Segmentation fault (core dumped)", "signal 11 (SEGV)", "signal 11 (SEGV)"),
        ("137 (OOMKilled)", "exit 137", "signal 9 (KILL)"),
        ("ExitCode=3", "exit 3", ""),
        ("0:125", "exit 0:125", ""),
        ({"ExitCode": 3}, "exit 3", ""),
        ("killed by signal 6", "signal 6 (ABRT)", "signal 6 (ABRT)"),
        (SLURM, "signal 9 (KILL)", "signal 9 (KILL)"),
        (OLD_SLURM, "signal 9 (KILL)", "signal 9 (KILL)"),
        ({"return_code": {"set": True, "number": 2}, "signal": {"id": UNSET, "name": ""}}, "exit 2", ""),
        ({"exitCode": 137, "reason": "OOMKilled"}, "exit 137", "signal 9 (KILL)"),
        ("gave up", "exit gave up", ""),
        *((value, "", "") for value in (None, True, [], {}, "", [1, 2], {"a": {"b": 1}}, 1e300, 10**400)),
        *((value, "", "") for value in ("N/A", "None", "null", "-", "unknown", "nan", "?", UNSET)),
    ],
)
def test_an_end_is_a_code_or_a_signal_in_whatever_form(value: Any, text: str, meaning: str) -> None:
    found = exit_of(value)
    assert (str(found), found.meaning) == (text, meaning)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        ("64G", "", "64 GB"),
        ("4.0 GB", "", "4 GB"),
        ("4194304K", "", "4 GB"),
        ("512Mi", "", "512 MB"),
        ("65536kb", "", "64 MB"),
        ("64 Gbytes", "", "64 GB"),
        ("4Gn", "", "4 GB per node"),
        ("2048Mc", "", "2 GB per CPU"),
        ("1,5 GB", "", "1.5 GB"),
        ("64,000 MB", "", "62.5 GB"),
        ("64GB/node", "", "64 GB per node"),
        ("100 bytes", "", "100 B"),
        (65536, "M", "64 GB"),
        ({"set": True, "infinite": False, "number": 2048}, "M", "2 GB"),
        (68_000_000_000, "B", "63.3 GB"),
        *((bare, "", "None") for bare in NO_UNIT),
        *((none, "M", "None") for none in NO_AMOUNT),
    ],
)
def test_memory_is_read_where_its_unit_can_be_known(value: Any, unit: str, text: str) -> None:
    assert str(memory_of(value, unit)) == text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 90),
        ("90", 90),
        ("01:02:03", 3723),
        ("1-02:03:04", 93784),
        ("02:30", 150),
        ("12:34.567", 754),
        ("1-02", 93600),
        ("1-02:03", 93780),
        ("1:02:03:04", 93784),
        ("1h30m", 5400),
        ("90 min", 5400),
        ("2 days, 3 hours", 183_600),
        ("12.5s", 12),
        ("PT1H30M", 5400),
        ("UNLIMITED", math.inf),
        ({"set": True, "infinite": False, "number": 60}, 3600),
        ({"set": True, "infinite": True, "number": 0}, math.inf),
        *((none, None) for none in NO_TIME),
    ],
)
def test_times_are_read_in_the_forms_of_batch_systems(value: Any, seconds: float | None) -> None:
    assert seconds_of(value) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (1e5, "100,000"),
        (1.0, "1"),
        (0.25, "0.25"),
        (math.nan, ""),
        (math.inf, "unlimited"),
        (123456789.0, "123,456,789"),
        (["a", None, 2.0], "a, 2"),
        ({"a": [True, None]}, '{"a":[true,null]}'),
        ({"set": True, "number": 5}, "5"),
        (10**400, "more than 1e300"),
        ("as it is", "as it is"),
    ],
)
def test_a_value_is_shown_as_people_write_it(value: Any, text: str) -> None:
    assert shown(value) == text


def test_units_and_days_stand_where_they_are_shortest() -> None:
    assert [shown_bytes(n) for n in (1, 1023, 1024, 1023.99 * 1024, 2**40)] == [
        "1 B",
        "1023 B",
        "1 KB",
        "1 MB",
        "1 TB",
    ]
    assert [shown_seconds(n) for n in (0, 3599.6, 90061, 172800)] == [
        "0:00:00",
        "1:00:00",
        "1 day 1:01:01",
        "2 days 0:00:00",
    ]


def test_nothing_is_said_of_memory_without_units_and_no_share_of_what_cannot_be_compared() -> None:
    assert usage_of([{"memory": 64, "max_rss": 68_000_000_000}]) == ()
    [percpu] = usage_of([{"ReqMem": "2Gc", "max_rss": "1G"}])
    assert (percpu.asked, percpu.used, percpu.share) == ("2 GB per CPU", "1 GB", "")
    [absurd] = usage_of([{"memory": "64K", "max_rss": "64G"}])
    assert absurd.share == ""
    [bare, known] = usage_of([{"memory": 64, "nodes": 2}, {"memory": "64G"}])
    assert (bare.asked, known.asked) == ("64 GB", "2")


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        ("\x1b[1;31mred\x1b[0m\x1b]0;title\x07 \x1b(Bplain\x9b0m", ["red plain"]),
        (" 10%\r 50%\r100%\ndone\r\n", ["100%", "done"]),
        ("a long line\rshort", ["shortg line"]),
        ("a long line\r\x1b[Kshort", ["short"]),
        ("abc\b\b\bxyz\b", ["xy"]),
        ("ab" * 16_000 + "\b" * 32_000 + "c", ["c"]),
        ("10%\x1b[1G20%\x1b[0G30%", ["30%"]),
        ("abcdef\x1b[2Dxy\x1b[80D1", ["1bcdxy"]),
        ("\rone 1%\n\rtwo 9%\x1b[A\rone 2%\n\rtwo 10%\n\nend", ["one 2%", "two 10%", "", "end"]),
        ("a\nb\n\x1b[2F\x1b[JA\nB", ["A", "B"]),
        ("a\n\x1b[1A\x1b[2Kb", ["b"]),
        ("kept\x1b[K\nhalf\x1b[1Kgone", ["kept", "gone"]),
        ("old\n\x1b[2J\x1b[Hnew", ["new"]),
        ("bell\x07 nul\x00 \u202eturned", ["bell nul turned"]),
        ("\n\n  indented\tx\n\n", ["  indented  x"]),
        (["a\nb", None, {"x": 1}, 5], ["a", "b", "", '{"x":1}', "5"]),
        (None, []),
        ("\n \n", []),
        ([], []),
    ],
)
def test_a_log_is_what_a_terminal_shows_in_the_end(log: Any, lines: list[str]) -> None:
    assert log_lines(log) == lines


def test_a_log_is_bounded_and_its_end_counts() -> None:
    assert log_lines("\n".join(map(str, range(1000)))) == [str(n) for n in range(1000 - LINES, 1000)]
    [line] = log_lines("x" * 100_000)
    assert (len(line), line[-1]) == (WIDTH, "…")
    bar = "".join(f"\r{n:5d}/99999" for n in range(100_000))
    assert log_lines(f"before\n{bar}")[-1] == "99999/99999"
