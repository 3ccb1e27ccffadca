"""The target of a Tethys portal: its fields, what is checked when one is made, and what of it is shown."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.templates import TextTemplate
from dispatcher.domain.variables import TemplateError
from dispatcher.targets.http.auth import HIDDEN, refuse_hidden
from dispatcher.targets.http.base_url import check_base_url
from dispatcher.targets.ssrf_guard import Guard

JOB = re.compile(r"[\w-]+", re.ASCII)
"""What the portal's own routes take for a job."""

EVENT_TOKEN = "${data.status_report_token}"  # noqa: S105 - a variable
"""The token of a report, when the target names none."""

Form: TypeAlias = Literal["job", "dask", "report"]


class TethysTarget(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="tethys"):
    """A portal, and which of its jobs an event changes.

    `job` is the job's id in the portal, or its key with `form` "dask"; it may hold variables. In the form "job" the
    portal asks the job itself for its status; in the forms "dask" and "report" the status goes with the request. A
    portal takes a report with the `status_report_token` of the job: `token`, which may hold variables, or else
    `${data.status_report_token}`.
    """

    portal: Annotated[str, Meta(min_length=1, max_length=2048)]
    job: Annotated[str, Meta(min_length=1, max_length=1024)]
    form: Form = "job"
    token: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None

    def __repr__(self) -> str:
        return f"TethysTarget({self.portal} {self.job})"


def check(target: TethysTarget, guard: Guard) -> str:
    """The destination (`https://portal.example.org:443`); InvalidInput when the target cannot work."""
    destination = check_base_url(target.portal, "target.portal", guard)
    job = _template(target.job, "target.job")
    if not job.names and not JOB.fullmatch(target.job):
        raise InvalidInput(
            "target.job", "expected letters, digits, _ and -, or variables such as $<JOB_NAME>"
        )
    if target.token is not None:
        if target.form != "report":
            raise InvalidInput("target.token", 'expected none, because only the form "report" sends it')
        refuse_hidden(target.token, "target.token")
        _template(target.token, "target.token")
    return destination


def redact(target: TethysTarget) -> dict[str, object]:
    """The target without its token, unless that is nothing but variables."""
    shown: dict[str, object] = msgspec.to_builtins(target)
    if target.token is not None and any(TextTemplate.compile(target.token).pattern.pieces):
        shown["token"] = HIDDEN
    return shown


def _template(text: str, field: str) -> TextTemplate:
    try:
        return TextTemplate.compile(text)
    except TemplateError as error:
        raise InvalidInput(field, str(error)) from None
