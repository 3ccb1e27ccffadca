"""Event names and the patterns that select them."""

from __future__ import annotations

import pytest

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import EVENTS, check_patterns, event_matcher, is_terminal, status_of


def test_every_name_of_the_guide_is_described() -> None:
    assert len(EVENTS) == 23
    assert all(EVENTS.values())


@pytest.mark.parametrize(
    ("patterns", "event", "wanted"),
    [
        (["*"], "ANYTHING", True),
        (["FINISHED", "FAILED"], "FAILED", True),
        (["FINISHED", "FAILED"], "RUNNING", False),
        (["ARCHIVING*"], "ARCHIVING_FAILED", True),
        (["ARCHIVING*"], "ARCHIVING", True),
        (["ARCHIVING*"], "ARCHIVE", False),
        (["ARCHIVING"], "ARCHIVING_FAILED", False),
        (["@terminal"], "STOPPED", True),
        (["@terminal"], "RUNNING", False),
        (["@terminal", "RUN*"], "RUNNING", True),
    ],
)
def test_patterns_select_events(patterns: list[str], event: str, wanted: bool) -> None:
    assert event_matcher(patterns)(event) is wanted


@pytest.mark.parametrize("pattern", ["", "*FAILED", "A*B", "@all", "A B", "1ST", "A" * 65, "**"])
def test_a_pattern_that_is_none_is_refused_with_its_place(pattern: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_patterns(["FINISHED", pattern])
    assert caught.value.field == "events[1]"


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        check_patterns([])


def test_only_the_last_four_end_a_job_and_some_events_say_nothing_of_its_status() -> None:
    assert {name for name in EVENTS if is_terminal(name)} == {"FINISHED", "FAILED", "KILLED", "STOPPED"}
    assert status_of("HEARTBEAT") is None
    assert status_of("REMOTE_STATUS_CHANGE") is None
    assert status_of("RUNNING") == "RUNNING"
    assert status_of("SITE_OWN") == "SITE_OWN"
