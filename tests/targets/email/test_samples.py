"""What a person reads, line by line: the text of each sample mail is a file."""

from __future__ import annotations

import re

import pytest

from dispatcher.targets.email.templates import Content
from tests.targets.email.samples import FOLDER, as_text, contents

CONTENTS = contents()
# Python's own forms of values, and control characters.
NOT_FOR_PEOPLE = re.compile(
    r"\bNone\b|\bTrue\b|\bFalse\b|\{'|\['|\de\+\d|\bnan\b|datetime\.|<[a-z_.]+ object|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


@pytest.mark.parametrize("name", sorted(CONTENTS))
def test_a_sample_mail_reads_as_its_file_says(name: str) -> None:
    path = FOLDER / f"{name}.txt"
    again = "when that is right, write the files: python -m tests.targets.email.samples"
    assert path.exists(), f"{path} is missing; {again}"
    expected, found = path.read_text(encoding="utf-8").splitlines(), as_text(CONTENTS[name]).splitlines()
    longest = max(len(expected), len(found))
    pairs = zip(
        expected + [""] * (longest - len(expected)), found + [""] * (longest - len(found)), strict=True
    )
    for number, (wanted, got) in enumerate(pairs, 1):
        assert got == wanted, f"line {number} of {path.name} differs; {again}"


def test_no_file_is_left_of_a_sample_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == CONTENTS.keys()


@pytest.mark.parametrize("name", sorted(CONTENTS))
def test_no_mail_has_what_only_a_program_reads(name: str) -> None:
    content: Content = CONTENTS[name]
    for part in (content.subject, content.text, re.sub(r"<[^>]+>", " ", content.html or "")):
        assert NOT_FOR_PEOPLE.search(part) is None
