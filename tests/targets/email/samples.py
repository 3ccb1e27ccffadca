"""Mails as a person gets them: each is a file in `samples/`, so that a change of what is read is seen.

`python -m tests.targets.email.samples` writes the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.events import Event
from dispatcher.targets.email.digest import DIGEST, digest_context
from dispatcher.targets.email.preview import preview, preview_digest, preview_question
from dispatcher.targets.email.template_context import build_context
from dispatcher.targets.email.templates import Content, Templates
from tests.factories import NOW, make_event

FOLDER = Path(__file__).parent / "samples"
LINK = "https://dispatcher.example.org/u/AZJ84Mn0fI2OX2BxgpOktQAAAAAAAAAAAAAAAAAAAAAAAAAA"
SLURM: Mapping[str, object] = {
    "name": "vada",
    "job_state": ["CANCELLED"],
    "state_reason": "OutOfMemory",
    "exit_code": {
        "status": ["SIGNALED"],
        "return_code": {"set": True, "number": 0},
        "signal": {"id": {"set": True, "number": 9}, "name": "KILL"},
    },
}
TERMINAL = (
    "\x1b[1mCompiling\x1b[0m \x1b]8;;https://example.org\x07model\x1b]8;;\x07\n"
    " 10%|#         | 1/10\r 50%|#####     | 5/10\r100%|##########| 10/10\n"
    "step 2: loading\rstep 2: done   \x1b[K\n"
    "pasword\b\b\b\bsword accepted\n"
    "\x1b[31mError:\x1b[0m file \x00missing\x07\n\n\n"
)


def event_of(name: str, job: Mapping[str, object], job_id: str = "31178", **data: object) -> Event:
    document = {"event": name, "status": name, "message": None, "job": job, "data": data}
    return make_event(event=name, job_id=job_id, owner="alice", time=NOW, data=document)


def events() -> dict[str, Event]:
    """What happened, by the name of its file."""
    rtl = {"name": "محاكاة المناخ 2026", "executionSystem": "أخطبوط", "archivePath": "/בית/תוצאות"}
    odd = {"name": None, "executionSystem": "", "archivePath": "  ", "endTime": None}
    return {
        "slurm": event_of("FAILED", SLURM),
        "signal": event_of("FAILED", {"name": "align"}, exit_code=-9),
        "slurm-accounting": event_of(
            "FAILED",
            {"name": "align", "maxRunTime": "1-12:00:00", "ReqMem": "64Gn", "nodeCount": 2},
            elapsed="1-11:59:58",
            max_rss="65811456K",
            exit_code="0:15",
            reason="TIMEOUT",
        ),
        "no-units": event_of("FINISHED", {"memory": 64, "cpus": 1e5}, max_rss=68_000_000_000, elapsed=3600),
        "terminal": event_of("FAILED", {"name": "train"}, exit_code=1, log_tail=TERMINAL),
        "long": event_of("FAILED", {"name": "n" * 900, "errorMessage": "e" * 900}, log=["l" * 900] * 3),
        "right-to-left": event_of("FINISHED", rtl, job_id="عمل-7"),
        "quotes": event_of("FAILED", {"name": 'a "quoted" <b>&amp; name\'s', "errorMessage": '"'}),
        "empty": event_of("FINISHED", odd, exit_code=None, log_tail=[], reason=[], elapsed=True),
        "odd-values": event_of(
            "FAILED",
            {"name": "x", "startTime": 1777893161, "endTime": 1777893171},
            exit_code=True,
            reason=["NodeFail", None, "Prolog"],
            log_tail=["one", None, 3.0, True, {"level": "error", "text": "two\nlines"}],
        ),
        "unknown-event": make_event(event="SITE_SPECIAL", job_id="31178"),
    }


def digests() -> dict[str, Content]:
    """Digests, by the name of their file."""
    templates = Templates()
    policy = DigestPolicy(group_by=("data.array_id", "owner"), max_rows=5)
    equal = [event_of("FINISHED", {"name": f"task {n}"}, f"31178_{n}", array_id=31178) for n in range(1, 8)]
    later = make_event(event="FAILED", job_id="31178_1", owner="alice", time=NOW, data=equal[0].data)
    mixed = [event_of("FINISHED", {"name": "x"}, "1", array_id=n) for n in range(2)]
    late = make_event(event="RUNNING", job_id="2", owner="alice", time=NOW + timedelta(days=1))

    def render(events: list[Event], name: str) -> Content:
        facts: dict[str, Any] = asdict(digest_context(events, policy, name))
        return templates.render(DIGEST, None, {**facts, "unsubscribe": LINK})

    return {
        "digest": preview_digest(templates, None),
        "digest-of-equals": render([*equal, later], "nightly arrays"),
        "digest-of-groups": render([*mixed, late], "everything"),
    }


def contents() -> dict[str, Content]:
    """Each sample, by the name of its file."""
    templates = Templates()
    found = {name: preview(templates, name.upper(), None) for name in ("finished", "failed", "heartbeat")}
    for name, event in events().items():
        values = asdict(build_context(event)) | {"subscription": "my jobs", "unsubscribe": LINK}
        found[name] = templates.render(event.event, None, values)
    return found | digests() | {"question": preview_question(templates, None)}


def as_text(content: Content) -> str:
    """What stands in a sample's file."""
    return f"Subject: {content.subject}\n\n{content.text.rstrip()}\n"


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for name, content in contents().items():
        (FOLDER / f"{name}.txt").write_text(as_text(content), encoding="utf-8")


if __name__ == "__main__":
    main()
