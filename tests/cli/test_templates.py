from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_the_built_in_templates_are_well(run: Run) -> None:
    result = run("templates", "check")
    assert result.code == 0
    assert result.out == "9 templates are well; variants: none.\n"


def test_a_preview_is_the_message_about_a_sample_event(run: Run) -> None:
    result = run("templates", "preview", "--event", "FAILED")
    assert result.code == 0
    assert result.out.startswith(
        "Subject: [frontera] FAILED demo-pyplot-demo advanced, exit 137\n\nThe status of job "
    )
    assert "Cause: out of memory; signal 9 (KILL); exit code 137; Job failed" in result.out
    assert result.err == "From default.subject.j2, default.txt.j2, default.html.j2\n"


def test_the_html_of_a_preview_is_a_whole_page(run: Run) -> None:
    result = run("templates", "preview", "--html")
    assert result.out.startswith("<!DOCTYPE html>")
    assert "FINISHED" in result.out


def test_a_digest_can_be_previewed_too(run: Run, tmp_path: Path) -> None:
    result = run("templates", "preview", "--digest")
    assert result.out.startswith(
        "Subject: [frontera] array_id 4711: 13 FAILED, 24 FINISHED, 3 RUNNING (40 jobs)\n\narray_id 4711\n\n40 events"
    )
    assert result.err == "From _digest.subject.j2, _digest.txt.j2, _digest.html.j2\n"
    (tmp_path / "_digest.subject.j2").write_text("{{ jobs }} jobs, {{ counts[0][1] }} in vain")
    result = run("templates", "preview", "--digest", DISPATCHER_SMTP_TEMPLATES=".")
    assert result.out.startswith("Subject: 40 jobs, 13 in vain\n")
    (tmp_path / "_digest.txt.j2").write_text("{{ job }}")
    result = run("templates", "check", DISPATCHER_SMTP_TEMPLATES=".")
    assert "the template _digest.txt.j2 fails: 'job' is undefined" in result.err


def test_an_operators_templates_are_shown_and_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mails" / "de").mkdir(parents=True)
    (tmp_path / "mails" / "de" / "FAILED.txt.j2").write_text("Auftrag {{ job_id }} ist {{ status }}")
    result = run(
        "templates", "preview", "--event", "FAILED", "--template", "de", DISPATCHER_SMTP_TEMPLATES="mails"
    )
    assert result.out.endswith("\n\nAuftrag 0001414144065563-5056a550b8-0001-007 ist FAILED\n")
    assert "de/FAILED.txt.j2" in result.err
    checked = run("templates", "check", DISPATCHER_SMTP_TEMPLATES="mails")
    assert checked.out == "10 templates are well; variants: de.\n"


def test_each_template_that_fails_is_named_with_its_reason(run: Run, tmp_path: Path) -> None:
    (tmp_path / "default.txt.j2").write_text("{{ job_nam }}")
    result = run("templates", "check", DISPATCHER_SMTP_TEMPLATES=".")
    assert result.code == 1
    assert "the template default.txt.j2 fails: 'job_nam' is undefined (event FINISHED)" in result.err
    (tmp_path / "FAILED.html.j2").write_text("{% for %}")
    result = run("templates", "check", DISPATCHER_SMTP_TEMPLATES=".")
    assert result.err.startswith("FAILED.html.j2 line 1: ")


def test_a_variant_that_is_not_there_is_refused_with_those_that_are(run: Run) -> None:
    result = run("templates", "preview", "--template", "fr")
    assert result.code == 1
    assert result.err == "dispatcher: --template: unknown: 'fr'; there are none\n"


def test_a_folder_that_is_not_there_is_named(run: Run) -> None:
    result = run("templates", "check", DISPATCHER_SMTP_TEMPLATES="missing")
    assert result.code == 2
    assert "smtp.templates: missing is no folder" in result.err
