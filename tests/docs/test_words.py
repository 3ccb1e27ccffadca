"""Names, texts and documentation use the words of the field: words.toml has those to avoid."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from dispatcher.cli import app
from tests.docs.code_blocks import ROOT

WORDS = ROOT / "tests/docs/words.toml"
_TEXTS = {".css", ".html", ".j2", ".js", ".md", ".py", ".sh", ".sql", ".toml", ".txt", ".yaml", ".yml", ""}
"""The suffixes of what is read. JSON is data, often made by others."""
_OMITTED = {"__pycache__", "results", "node_modules"}
_GAP = r"(?:[\s_]+(?:#+ *|// *|\* +|> *)?)"
"""What is between the words of a phrase, which may be in a comment and go on in its next line."""

_NAMED = re.compile(r"^ *(?:async def|def|class) (\w+)", re.MULTILINE)


class Allowed(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    reason: str
    text: str | None = None


class Words(msgspec.Struct, forbid_unknown_fields=True):
    checked: list[str]
    required: list[str]
    avoid: dict[str, str]
    names: dict[str, str]
    allowed: list[Allowed] = []


RULES = msgspec.convert(tomllib.loads(WORDS.read_text()), Words)


def pattern_of(phrase: str) -> re.Pattern[str]:
    """A phrase as whole words, or as the words of a name in snake_case or CamelCase."""
    words = _GAP.join(re.escape(word) for word in phrase.split())
    return re.compile(rf"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:{words})(?![a-z]|(?<=[A-Z])[A-Z])")


PATTERNS = {phrase: pattern_of(phrase) for phrase in RULES.avoid}


def texts(root: Path, checked: list[str]) -> Iterator[Path]:
    """The files to read, in order; the list of words has them all itself."""
    for name in checked:
        start = root / name
        assert start.exists(), f"{name} of words.toml is not there"
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if (
                path.suffix in _TEXTS
                and path.is_file()
                and path != WORDS
                and not _OMITTED & set(path.relative_to(root).parts)
            ):
                yield path


def permitted(text: str, path: str, allowed: list[Allowed]) -> list[tuple[int, int]]:
    """The parts of a file in which any word may stand."""
    here = [one.text for one in allowed if Path(path).match(one.path)]
    return [
        found.span() if part is not None else (0, len(text))
        for part in here
        for found in re.finditer(re.escape(part or ""), text)
    ]


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1


def faults(text: str, path: str, allowed: list[Allowed]) -> list[str]:
    """Each word to avoid in a text, as `path:line`, the word, and what to write instead."""
    spans, lower = permitted(text, path, allowed), text.lower()
    return [
        f"{path}:{_line(text, found)}: {found.group()!r}: write {RULES.avoid[phrase]}"
        for phrase, pattern in PATTERNS.items()
        if all(word in lower for word in phrase.split())
        for found in pattern.finditer(text)
        if not any(start <= found.start() and found.end() <= end for start, end in spans)
    ]


def name_faults(text: str, path: str) -> list[str]:
    """Each function, method or class with a word in its name that names do not have."""
    return [
        f"{path}:{_line(text, found)}: {found[1]!r}: write {RULES.names[word.lower()]}"
        for found in _NAMED.finditer(text)
        if not found[1].startswith("test_")
        for word in re.findall(r"[A-Z]?[a-z]+", found[1])
        if word.lower() in RULES.names
    ]


def all_faults(root: Path, checked: list[str], allowed: list[Allowed]) -> list[str]:
    found = []
    for path in texts(root, checked):
        text, name = path.read_text(), str(path.relative_to(root))
        found += faults(text, name, allowed)
        found += name_faults(text, name) if path.suffix == ".py" else []
    return found


def helps(command: Any, name: str) -> Iterator[tuple[str, str]]:
    """What a command and all below it say of themselves, of their arguments and of their options."""
    described = [command.help, command.short_help, command.epilog]
    described += [getattr(parameter, "help", None) for parameter in command.params]
    yield f"{name} --help", "\n".join(filter(None, described))
    for below in getattr(command, "commands", {}).values():
        yield from helps(below, f"{name} {below.name}")


def test_names_and_texts_have_no_word_to_avoid() -> None:
    assert not (found := all_faults(ROOT, RULES.checked, RULES.allowed)), "\n".join(found)


def test_the_help_of_no_command_has_a_word_to_avoid() -> None:
    all_helps = list(helps(typer.main.get_command(app), "dispatcher"))
    assert len(all_helps) > 20
    found = [fault for name, text in all_helps for fault in faults(text, name, [])]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", RULES.required)
def test_the_documentation_uses_the_word_of_the_field(word: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(re.search(rf"\b{word}", page.read_text(), re.IGNORECASE) for page in pages)


@pytest.mark.parametrize("phrase", RULES.avoid)
def test_a_word_to_avoid_is_found_with_its_line_and_a_substitute(tmp_path: Path, phrase: str) -> None:
    (tmp_path / "page.md").write_text(f"One line.\nAnd {phrase.capitalize()}, then.\n")
    (found,) = all_faults(tmp_path, ["page.md"], [])
    assert found == f"page.md:2: {phrase.capitalize()!r}: write {RULES.avoid[phrase]}"


@pytest.mark.parametrize("phrase", RULES.avoid)
def test_a_word_to_avoid_is_found_in_names_and_across_lines_of_a_comment(tmp_path: Path, phrase: str) -> None:
    snake, comment = (join.join(phrase.split()) for join in ("_", "\n    # "))
    (tmp_path / "code.sh").write_text(f"_{snake} = 1\n{snake.upper()}_2 = 2\n# {comment}\n")
    assert [found.split(":")[1] for found in all_faults(tmp_path, ["."], [])] == ["1", "2", "3"]


def test_a_word_within_another_is_none_to_avoid() -> None:
    assert faults("untold toldyou renewed outlets gone", "page.md", []) == []


@pytest.mark.parametrize("word", RULES.names)
def test_a_word_that_names_do_not_have_is_found_in_names_alone(tmp_path: Path, word: str) -> None:
    (tmp_path / "code.py").write_text(
        f'def ask() -> None:\n    """We {word} them."""\n\n\ndef _{word}_it(): ...\n'
    )
    (found,) = all_faults(tmp_path, ["."], [])
    assert found == f"code.py:5: '_{word}_it': write {RULES.names[word]}"


def test_what_is_allowed_is_allowed_in_its_file_only() -> None:
    word = next(iter(RULES.avoid))
    allowed = [Allowed("config/*.toml", "a public value", f'open_to = "{word}"')]
    text = f'# {word}\nopen_to = "{word}"\n'
    assert [found.split(":")[1] for found in faults(text, "config/dispatcher.toml", allowed)] == ["1"]
    assert len(faults(text, "docs/settings.md", allowed)) == 2
    assert faults(text, "config/a.toml", [Allowed("config/a.toml", "made by others")]) == []


def test_every_exception_is_needed_and_has_a_reason() -> None:
    read = {str(path.relative_to(ROOT)): path for path in texts(ROOT, RULES.checked)}
    for one in RULES.allowed:
        others = [other for other in RULES.allowed if other is not one]
        here = [name for name in read if Path(name).match(one.path)]
        needed = any(faults(read[name].read_text(), name, others) for name in here)
        assert one.reason
        assert needed, f"nothing needs the exception {one.path}: {one.text}"
