"""Loading settings: config/dispatcher.toml, then DISPATCHER_<SECTION>_<KEY>; a wrong one stops the start."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from msgspec import Struct

from dispatcher.config.settings import SECTIONS, Delivery, RetentionSettings, Settings
from dispatcher.domain.errors import SettingsError

DEFAULT_PATH = Path("config/dispatcher.toml")

# The command line's own, those of the tests, and what Kubernetes sets for a Service named `dispatcher`.
_NOT_SETTINGS = re.compile(r"DISPATCHER_(CONFIG|SERVER|KEY|TEST_.*|SERVICE_.*|PORT(_.*)?)")


_Setting = tuple[str, str, object, str]
"""Section, key, the value as it was written, and where."""


class Renamed(Struct, frozen=True):
    """The new name of a setting, and the new names of those of its values that have one."""

    section: str
    key: str
    values: Mapping[str, str] = {}


RENAMED: Mapping[tuple[str, str], Renamed] = {
    ("tethys", "open_to"): Renamed("tethys", "allow", {"nobody": "none"}),
}
"""Settings that had another name. The old one works until version 1.0."""


def load(environ: Mapping[str, str] = os.environ, path: Path | None = None) -> Settings:
    """The settings of the file at `path`, with what the environment says instead.

    Without a path it is the one in DISPATCHER_CONFIG, or `config/dispatcher.toml` when that exists. Raises
    SettingsError that names the first setting that is unknown or malformed.
    """
    found: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for section, key, raw, source in map(_with_new_name, _given(environ, path)):
        try:
            found[section][key] = _PARSERS[section, key](raw)
        except ValueError as error:
            raise SettingsError(f"{section}.{key} ({source}): {error}") from None
    # Any, because each parser gives what its field is annotated with, which no type of a mapping can say.
    sections: dict[str, Any] = {name: SECTIONS[name](**values) for name, values in found.items()}
    settings = Settings(**sections)
    _check_lease(settings.delivery)
    _check_retention(settings.retention)
    return settings


def sources(environ: Mapping[str, str] = os.environ, path: Path | None = None) -> dict[str, str]:
    """Where each setting that is not a default was given, by its name `section.key`; for what `load` accepts."""
    return {
        f"{section}.{key}": source for section, key, _, source in map(_with_new_name, _given(environ, path))
    }


def old_names(environ: Mapping[str, str] = os.environ, path: Path | None = None) -> list[str]:
    """A sentence for each setting that is given by an old name."""
    return [
        f"{source}: this setting is called {new.section}.{new.key} now; the old name works until version 1.0"
        for section, key, _, source in _given(environ, path)
        if (new := RENAMED.get((section, key))) is not None
    ]


def _with_new_name(setting: _Setting) -> _Setting:
    section, key, raw, source = setting
    if (new := RENAMED.get((section, key))) is None:
        return setting
    return new.section, new.key, new.values.get(raw, raw) if isinstance(raw, str) else raw, source


def _check_lease(delivery: Delivery) -> None:
    # A heartbeat comes four times in a lease, and an attempt begins only when the lease outlasts it.
    if delivery.lease < 2 * delivery.timeout:
        raise SettingsError(
            f"delivery.lease: {delivery.lease:g} s, expected at least twice delivery.timeout ({delivery.timeout:g} s), "
            "so that an attempt ends before others may take it over"
        )


def _check_retention(retention: RetentionSettings) -> None:
    if retention.exhausted < retention.delivered:
        raise SettingsError(
            f"retention.exhausted: {retention.exhausted:g} days, expected at least retention.delivered "
            f"({retention.delivered:g} days)"
        )


def _parsers() -> dict[tuple[str, str], Callable[[object], object]]:
    return {
        (section, key): hint.__metadata__[0]
        for section, struct in SECTIONS.items()
        for key, hint in get_type_hints(struct, include_extras=True).items()
    }


_PARSERS = _parsers()


def _path(environ: Mapping[str, str], path: Path | None) -> Path | None:
    if path is not None:
        return path
    if named := environ.get("DISPATCHER_CONFIG"):
        return Path(named)
    return DEFAULT_PATH if DEFAULT_PATH.exists() else None


def _given(environ: Mapping[str, str], path: Path | None) -> Iterator[_Setting]:
    """What was written, the file first: of two for one setting the later one counts."""
    yield from _from_file(_path(environ, path))
    yield from _from_environment(environ)


def _from_file(path: Path | None) -> Iterator[_Setting]:
    if path is None:
        return
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected TOML: {error}") from None
    for section, values in document.items():
        if section not in SECTIONS:
            raise SettingsError(f"{path} [{section}]: unknown section{_nearest(section, SECTIONS)}")
        if not isinstance(values, dict):
            raise SettingsError(f"{path} {section}: expected a section, [{section}] on a separate line")
        for key, raw in values.items():
            source = f"{path} [{section}] {key}"
            if (section, key) not in _PARSERS and (section, key) not in RENAMED:
                names = [k for s, k in _PARSERS if s == section]
                raise SettingsError(f"{source}: unknown setting{_nearest(key, names)}")
            yield section, key, raw, source


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Setting]:
    known = (*_PARSERS, *RENAMED)
    names = {f"DISPATCHER_{section}_{key}".upper(): (section, key) for section, key in known}
    for name, raw in environ.items():
        if name in names:
            yield *names[name], raw, f"environment {name}"
        elif name.startswith("DISPATCHER_") and not _NOT_SETTINGS.fullmatch(name):
            raise SettingsError(f"environment {name}: unknown setting{_nearest_variable(name, names)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(names)}"


def _nearest_variable(name: str, known: Iterable[str]) -> str:
    # The prefix that all have in common would make any name look close to any other.
    ends = [variable.removeprefix("DISPATCHER_") for variable in known]
    close = difflib.get_close_matches(name.removeprefix("DISPATCHER_"), ends, n=1)
    return f"; did you mean DISPATCHER_{close[0]}?" if close else "; config/dispatcher.toml has them all"
