"""The templates of messages: our own and the operator's, with the styles of HTML put inline when they are loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal

import css_inline
from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateError, TemplateNotFound
from msgspec import Struct

from dispatcher.domain.errors import SettingsError
from dispatcher.targets.email.quantities import shown

SUFFIX = ".j2"
Part = Literal["subject", "txt", "html"]
PARTS: tuple[Part, ...] = ("subject", "txt", "html")
MAX_SUBJECT = 200

# Anything but what is printed: a value takes one line, adds none, and turns no text around.
BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
# What must not be cut: Jinja's own, comments, and whole tags with the Jinja in them.
_PIECES = re.compile(
    r"(\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<!--.*?-->|<[a-zA-Z/!](?:\{[{%].*?[%}]\}|[^>])*>)", re.DOTALL
)
_HIDDEN = re.compile(r"<!--(\{%.*?%\})-->", re.DOTALL)


class Content(Struct, frozen=True):
    """A message's parts as text; without `html` it is plain."""

    subject: str
    text: str
    html: str | None


class Templates:
    """Renders messages. Both folders are read and compiled once, at the start.

    Files are named `<event>.<part>.j2` or `default.<part>.j2`, part being `subject`, `txt` or `html`; those of a
    variant, such as a language, are in a folder of its name. The operator's come first, and each part is looked for
    by itself.
    """

    def __init__(self, folder: Path | None = None) -> None:
        own = Path(str(files(__package__).joinpath("templates")))
        if folder is not None and not folder.is_dir():
            raise SettingsError(f"smtp.templates: {folder} is no folder that this user can read")
        folders = [own] if folder is None else [folder, own]
        self._environment = Environment(
            loader=_Sources(folders),
            # Text and subjects are no HTML; whatever is, is escaped.
            autoescape=lambda name: name is not None and name.endswith(f".html{SUFFIX}"),  # noqa: S701 - by name
            undefined=StrictUndefined,
            finalize=lambda value: (
                shown(value) if isinstance(value, bool | float | list | dict | None) else value
            ),
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,  # all of them
        )
        self._names = frozenset(
            self._environment.list_templates(filter_func=lambda name: name.endswith(SUFFIX))
        )
        self._operators = frozenset(
            [] if folder is None else [name for name in _files_of(folder) if name.endswith(SUFFIX)]
        )
        # Now, and not when the first mail is made: compiling takes long.
        self._faults = [fault for name in self.names if (fault := self._fault(name))]

    @property
    def variants(self) -> frozenset[str]:
        """The names that a target's `template` may have: the operator's folders."""
        return frozenset(name.split("/")[0] for name in self._operators if "/" in name)

    @property
    def names(self) -> list[str]:
        """All files, by their path within their folder."""
        return sorted(self._names)

    def render(self, name: str, variant: str | None, values: Mapping[str, object]) -> Content:
        """A message about an event of this name, or of a kind of ours such as `confirm`. Raises TemplateFault."""
        subject, text, html = (self._render(name, variant, part, values) for part in PARTS)
        return Content(subject_line(subject), text, html)

    def check(self) -> list[str]:
        """What is wrong with which file, one line each: only whether it can be compiled."""
        return list(self._faults)

    def _fault(self, name: str) -> str | None:
        try:
            self._environment.get_template(name)
        except (TemplateError, ValueError, OSError) as error:  # ValueError: no UTF-8, or styles that are none
            return _describe(error)
        return None

    def _render(self, name: str, variant: str | None, part: Part, values: Mapping[str, object]) -> str:
        found = self.find(name, variant, part)
        try:
            return self._environment.get_template(found).render(values)
        except (
            TemplateError,
            ArithmeticError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            OSError,
        ) as error:
            raise TemplateFault(f"the template {found} fails: {_describe(error)}") from None

    def find(self, name: str, variant: str | None, part: Part) -> str:
        """The path of the file that makes this part."""
        folders = ("",) if variant is None else (f"{variant}/", "")
        # An event's name comes from anywhere; only a plain one can be a file's.
        bases = (name, "default") if _NAME.fullmatch(name) else ("default",)
        if name.startswith("_"):
            bases = (name,)  # Ours, and no event's: the default ones see other values.
        candidates = (f"{folder}{base}.{part}{SUFFIX}" for folder in folders for base in bases)
        return next(candidate for candidate in candidates if candidate in self._names)


class TemplateFault(Exception):
    """A template of the operator's fails with these values: names the file and says why."""


def subject_line(text: str) -> str:
    """A subject: one line, MAX_SUBJECT characters at most."""
    line = " ".join(BREAKS.sub(" ", text).split())
    return line if len(line) <= MAX_SUBJECT else f"{line[: MAX_SUBJECT - 1]}…"


class _Sources(BaseLoader):
    """The files of folders, the first one's first, with the styles of HTML documents inline.

    All are read when this is made: what one includes, and one that is faulty, would else be read with each mail, in the
    event loop.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._sources: dict[str, str | Exception] = {}
        for folder in folders:
            for name in _files_of(folder):
                if name not in self._sources:
                    self._sources[name] = _source(folder / name)

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        source = self._sources.get(template)
        if source is None:
            raise TemplateNotFound(template)
        if isinstance(source, Exception):
            raise source.with_traceback(None)  # else it grows each time
        return source, None, None

    def list_templates(self) -> list[str]:
        return sorted(self._sources)


def _source(path: Path) -> str | Exception:
    """The text of a template, or why there is none."""
    try:
        source = path.read_text(encoding="utf-8")
        return inlined(source) if path.name.endswith(f".html{SUFFIX}") and "<style" in source else source
    except (ValueError, OSError) as error:  # ValueError: no UTF-8, or styles that are none
        return error


_inliner = css_inline.CSSInliner(keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False)


def inlined(source: str) -> str:
    """An HTML template with its styles inline; `@media` rules stay where they are.

    The inliner reads HTML, where a `{% for %}` between two rows of a table would be moved out of it. So statements
    outside of tags pass through as comments.
    """
    pieces = _PIECES.split(source)
    hidden = "".join(f"<!--{piece}-->" if piece.startswith("{%") else piece for piece in pieces)
    return _HIDDEN.sub(r"\1", _inliner.inline(hidden))


def _files_of(folder: Path) -> list[str]:
    """Every file in a folder, by its path within it, but for hidden ones."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return [name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)]


def _describe(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    name = getattr(error, "name", None)
    where = f"{name} line {line}: " if line is not None and name else ""
    return f"{where}{error}"
