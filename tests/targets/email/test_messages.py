"""Messages, parsed back with the standard library: the guide's sample, the headers, and what no value may do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dispatcher.domain.errors import InvalidInput, SettingsError
from dispatcher.store.store import Store
from dispatcher.targets.email.consent import MailPolicy
from dispatcher.targets.email.kind import EmailKind, EmailTarget
from dispatcher.targets.email.templates import TemplateFault, Templates
from tests.factories import make_event
from tests.targets.email.offices import email_subscription, make_consent_service
from tests.targets.email.relay import Mail, Relay

DELIVERY = "dlv_0192f0c1a2b37c4d8e5f60718293a4b5"
ANN = "ann@example.org"

GUIDE = """\
The status of job 0001414144065563-5056a550b8-0001-007, "demo-pyplot-demo-advanced test-1414139896," has changed to \
FINISHED.

Name: demo-pyplot-demo-advanced test-1414139896
URL: https://api.tacc.utexas.edu/jobs/v2/0001414144065563-5056a550b8-0001-007
Message: Job completed successfully.
Submit Time: 2014-10-24T04:48:11.000-05:00
Start Time: 2014-10-24T04:48:08.000-05:00
End Time: 2014-10-24T04:48:15.000-05:00
Output Path: $API_USERNAME/archive/jobs/job-0001414144065563-5056a550b8-0001-007
Output URL: https://api.tacc.utexas.edu/jobs/v2/0001414144065563-5056a550b8-0001-007/outputs
"""
JOB_URL = "https://api.tacc.utexas.edu/jobs/v2/0001414144065563-5056a550b8-0001-007"
JOB = {
    "id": "0001414144065563-5056a550b8-0001-007",
    "name": "demo-pyplot-demo-advanced test-1414139896",
    "submitTime": "2014-10-24T04:48:11.000-05:00",
    "startTime": "2014-10-24T04:48:08.000-05:00",
    "endTime": "2014-10-24T04:48:15.000-05:00",
    "outputPath": "$API_USERNAME/archive/jobs/job-0001414144065563-5056a550b8-0001-007",
    "_links": {"self": {"href": JOB_URL}, "archiveData": {"href": f"{JOB_URL}/outputs"}},
}


def plain(event: str, message: str, job: Mapping[str, object], **data: object) -> Any:
    """An event as the plain form makes it."""
    document = {"event": event, "status": event, "message": message, "job": job, "data": data}
    return make_event(event=event, job_id=job.get("id", "job-1"), data=document)


async def mail_of(kind: EmailKind, server: Relay, event: Any, **target: Any) -> Mail:
    """The message that an event becomes."""
    answer = await kind.sender(email_subscription(ANN, **target)).send(event, DELIVERY, 1)
    assert answer.error is None
    return server.mails[-1]


async def test_the_default_text_is_the_guides_sample_line_by_line(store: Store, server: Relay) -> None:
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", base=None))
    mail = await mail_of(kind, server, plain("FINISHED", "Job completed successfully.", JOB))
    await kind.close()
    text = mail.text
    assert text[: len(GUIDE)] == GUIDE
    # What the guide does not have follows after an empty line.
    why = 'Sent because the subscription "a test" wants FINISHED events of this job.'
    assert text[len(GUIDE) :].strip() == f"Wall clock: 0:00:07 used\n\n-- \n{why}"


async def test_a_failure_begins_with_its_cause_and_ends_with_the_log(kind: EmailKind, server: Relay) -> None:
    event = plain(
        "FAILED",
        "the job failed",
        {
            "id": "job-9",
            "name": "align",
            "executionSystem": "frontera",
            "maxRunTime": "01:00:00",
            "endTime": "x",
        },
        exit_code=137,
        log_tail="\n".join(f"line {number} <b>" for number in range(100)),
        elapsed=1800,
    )
    mail = await mail_of(kind, server, event)
    assert mail.message["Subject"] == "[frontera] FAILED align, exit 137"
    lines = mail.text.splitlines()
    assert lines[1].startswith("Cause: signal 9 (KILL), often because it was out of memory; exit code 137;")
    assert "Wall clock: 0:30:00 of 1:00:00 (50 %)" in lines
    logged = [line.strip() for line in lines if line.startswith("  line")]
    assert logged == [f"line {number} <b>" for number in range(80, 100)]
    html = mail.html
    assert html.index("FAILED") < html.index("signal 9 (KILL)") < html.index("50 %") < html.index("line 80")
    assert "line 99 &lt;b&gt;" in html
    assert "<b>" not in html.replace("<b><bdi>align</bdi></b>", "")


async def test_an_event_without_a_status_is_not_said_to_change_one(kind: EmailKind, server: Relay) -> None:
    mail = await mail_of(kind, server, make_event(event="HEARTBEAT"))
    assert mail.text.startswith("Job job-1 received the event HEARTBEAT.\n")


async def test_the_headers_are_what_mail_clients_and_robots_look_for(kind: EmailKind, server: Relay) -> None:
    first = await mail_of(kind, server, make_event(event="RUNNING"))
    second = await mail_of(kind, server, make_event())
    other = await mail_of(kind, server, make_event(job_id="job-2"))
    message = first.message
    assert message["From"] == "Dispatcher <noreply@example.org>"
    assert first.sender == "noreply@example.org"
    assert message["To"] == ANN
    assert re.fullmatch(rf"<{DELIVERY}\.[0-9a-f]{{16}}@example\.org>", message["Message-ID"])
    assert message["Date"].datetime is not None
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["In-Reply-To"] == message["References"] == second.message["References"]
    assert other.message["References"] != message["References"]
    assert re.fullmatch(r"<sub_[0-9a-f]{32}\.example\.org>", message["List-Id"])
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    # A folded or encoded link is none for a client: it stands in one line, as it is.
    [line] = [line for line in first.raw.split(b"\r\n") if line.startswith(b"List-Unsubscribe:")]
    assert re.fullmatch(rb"List-Unsubscribe: <https://dispatcher\.example\.org/u/[A-Za-z0-9_-]{48}>", line)
    link = line[19:-1].decode()
    assert link in first.text
    assert f'href="{link}"' in first.html


async def test_one_click_is_offered_over_https_only(store: Store, server: Relay) -> None:
    kind = EmailKind(
        make_consent_service(store, f"smtp://{server.url}", base="http://dispatcher.example.org")
    )
    mail = await mail_of(kind, server, make_event())
    await kind.close()
    assert str(mail.message["List-Unsubscribe"]).startswith("<http://dispatcher.example.org/u/")
    assert mail.message["List-Unsubscribe-Post"] is None
    assert "http://dispatcher.example.org/u/" in mail.text


@pytest.mark.parametrize("address", ["ann@cluster.local", "root@localhost", "ann@head.invalid", "ann@login1"])
async def test_a_domain_that_only_the_site_knows_gets_mail_when_it_is_trusted(
    store: Store, server: Relay, address: str
) -> None:
    with pytest.raises(InvalidInput, match=r"target\.to\[0\]: expected an e-mail address"):
        EmailKind(make_consent_service(store, f"smtp://{server.url}")).check(EmailTarget(to=(address,)))
    rules = MailPolicy(trusted_domains=frozenset({address.rpartition("@")[2]}))
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", rules))
    kind.check(EmailTarget(to=(address,)))
    answer = await kind.sender(email_subscription(address)).send(make_event(), DELIVERY, 1)
    await kind.close()
    assert answer.error is None
    assert server.mails[0].to == address


async def test_an_emoji_of_several_parts_stays_one_in_a_subject(kind: EmailKind, server: Relay) -> None:
    name = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u202eevil"
    mail = await mail_of(kind, server, plain("FINISHED", "m", {"id": "job-1", "name": name}))
    assert mail.message["Subject"] == f"FINISHED {name.replace(chr(0x202E), '')}"


async def test_lines_are_short_and_ascii_whatever_the_values_are(kind: EmailKind, server: Relay) -> None:
    job = {"id": "job-ü", "name": "größe 😀 " * 40, "archivePath": "ä" * 3000}
    mail = await mail_of(kind, server, plain("FINISHED", "fertig: größer", job))
    assert mail.raw.isascii()
    assert max(map(len, mail.raw.split(b"\r\n"))) < 120
    assert b"\n" not in mail.raw.replace(b"\r\n", b"")
    assert "größe 😀" in mail.text
    assert str(mail.message["Subject"]).startswith("FINISHED größe 😀 größe")


async def test_without_a_public_url_there_are_no_links(store: Store, server: Relay) -> None:
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", base=None))
    mail = await mail_of(kind, server, make_event())
    own = await mail_of(kind, server, make_event(), text="done", subject="done")
    await kind.close()
    assert mail.message["List-Unsubscribe"] is None
    assert mail.message["List-Unsubscribe-Post"] is None
    assert "No more mails" not in mail.text + mail.html + own.text


async def test_line_breaks_in_values_make_no_headers_and_no_lines(kind: EmailKind, server: Relay) -> None:
    evil = "x\r\nBcc: victim@example.org\r\n\r\nEND"
    job = {"id": "job-1", "name": evil, "executionSystem": evil}
    event = plain("FAILED", evil, job, exit_code=evil, log_tail=[evil], reason=evil)
    for target in ({}, {"subject": "$<JOB_NAME> ${data.reason}"}, {"subject": "s", "text": "t $<JOB_NAME>"}):
        mail = await mail_of(kind, server, event, **target)
        assert mail.message["Bcc"] is None
        assert mail.message.keys().count("Subject") == 1
        assert mail.to == ANN
    assert not any(line.startswith("Bcc") for line in server.mails[0].text.splitlines())
    assert server.mails[1].message["Subject"] == "x Bcc: victim@example.org END x Bcc: victim@example.org END"


async def test_values_are_escaped_in_html_and_only_web_links_are_links(
    kind: EmailKind, server: Relay
) -> None:
    job = {
        "id": "job-1",
        "name": '<script>alert("x")</script>{{ 7 * 7 }}',
        "_links": {"self": {"href": "javascript:alert(1)"}},
    }
    mail = await mail_of(kind, server, plain("FINISHED", "<img src=x>", job))
    assert "<script" not in mail.html
    assert "<img" not in mail.html
    assert 'href="javascript' not in mail.html
    assert "{{ 7 * 7 }}" in mail.html


async def test_what_looks_like_an_encoded_word_stays_as_it_is(kind: EmailKind, server: Relay) -> None:
    mail = await mail_of(kind, server, make_event(), subject="=?utf-8?q?x=0D=0ABcc?= done")
    assert mail.message["Subject"] == "=?utf-8?q?x=0D=0ABcc?= done"


async def test_subject_and_text_of_a_subscriber_have_variables_and_no_jinja(
    kind: EmailKind, server: Relay
) -> None:
    text = "$<JOB_ID> ist ${EVENT}: ${data.exit} {{ 1 + 1 }}"
    mail = await mail_of(
        kind, server, plain("FINISHED", "m", {"id": "job-1"}, exit=0), subject="Job $<JOB_ID>", text=text
    )
    assert mail.message["Subject"] == "Job job-1"
    assert mail.text.startswith("job-1 ist FINISHED: 0 {{ 1 + 1 }}\n")
    assert mail.message.get_body(("html",)) is None


def test_a_target_is_checked_when_it_is_made(kind: EmailKind) -> None:
    def fault(**target: Any) -> str:
        with pytest.raises(InvalidInput) as caught:
            kind.check(EmailTarget(**{"to": (ANN,)} | target))
        return str(caught.value)

    assert fault(to=("no-address",)).startswith(
        "target.to[0]: expected an e-mail address such as ann@example.org, got 'no-address': "
    )
    assert fault(to=("a\r\nBcc: b@example.org",)).startswith("target.to[0]: expected an e-mail address")
    assert fault(to=("a@127.0.0.1",)).startswith("target.to[0]:")
    assert fault(to=("Ann <ann@example.org>",)).startswith("target.to[0]:")
    assert fault(to=(ANN, "Ann@Example.org")) == "target.to[1]: ann@example.org stands there twice"
    assert fault(subject="x\r\nBcc: y").startswith("target.subject: '\\r' at character 2")
    assert "did you mean JOB_NAME?" in fault(subject="$<JOB_NAM>")
    assert "did you mean JOB_STATUS?" in fault(text="${JOB_STATU}")
    assert fault(template="../etc") == "target.template: unknown: '../etc'; there are none"


def test_without_a_relay_the_missing_setting_is_named() -> None:
    with pytest.raises(
        InvalidInput, match=r"target\.kind: no e-mail is sent here: smtp\.url \(DISPATCHER_SMTP_URL\)"
    ):
        EmailKind(None).check(EmailTarget(to=(ANN,)))


async def test_an_operators_templates_come_first_by_event_and_by_variant(
    store: Store, server: Relay, tmp_path: Path
) -> None:
    (tmp_path / "own" / "de").mkdir(parents=True)
    (tmp_path / "own" / "FINISHED.txt.j2").write_text("{{ job_id }} is done & dusted")
    (tmp_path / "own" / "de" / "default.subject.j2").write_text("Auftrag {{ job_id }}: {{ status }}")
    (tmp_path / "own" / "de" / "FINISHED.html.j2").write_text(
        "<style>p { color: red }</style><table><tbody>{% for name, value in lines %}"
        "<tr><td><p>{{ value }}</p></td></tr>{% endfor %}</tbody></table>"
    )
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", templates=tmp_path / "own"))
    event = plain("FINISHED", "a <b> & c", {"id": "job-1"})
    english = await mail_of(kind, server, event)
    german = await mail_of(kind, server, event, template="de")
    failed = await mail_of(kind, server, plain("FAILED", "m", {"id": "job-1"}), template="de")
    kind.check(EmailTarget(to=(ANN,), template="de"))
    with pytest.raises(InvalidInput, match="there are de"):
        kind.check(EmailTarget(to=(ANN,), template="fr"))
    await kind.close()
    assert english.text.rstrip() == "job-1 is done & dusted"
    assert english.message["Subject"] == "FINISHED job-1"
    assert german.message["Subject"] == "Auftrag job-1: FINISHED"
    assert '<tr><td><p style="color: red;">a &lt;b&gt; &amp; c</p></td></tr>' in german.html
    assert german.text.rstrip() == "job-1 is done & dusted"
    assert failed.message["Subject"] == "Auftrag job-1: FAILED"
    assert failed.text.startswith("The status of job job-1 has changed to FAILED.")


async def test_a_template_that_fails_is_named_in_the_attempt(
    store: Store, server: Relay, tmp_path: Path
) -> None:
    (tmp_path / "default.txt.j2").write_text("{{ nothing }}")
    (tmp_path / "FAILED.txt.j2").write_text("{% if %}")
    kind = EmailKind(make_consent_service(store, f"smtp://{server.url}", templates=tmp_path))
    undefined = await kind.sender(email_subscription(ANN)).send(make_event(), DELIVERY, 1)
    wrong = await kind.sender(email_subscription(ANN)).send(make_event(event="FAILED"), DELIVERY, 1)
    await kind.close()
    assert undefined.error == "the template default.txt.j2 fails: 'nothing' is undefined"
    assert not undefined.permanent
    assert (wrong.error or "").startswith("the template FAILED.txt.j2 fails: FAILED.txt.j2 line 1: ")
    assert server.mails == []


def test_no_file_is_read_once_the_templates_are_there(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"\xff")
    (tmp_path / "default.txt.j2").write_text(
        "{% include 'parts/footer.txt' %} {% include 'no' ignore missing %}"
    )
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "footer.txt").write_text("Bye, {{ owner }}.")
    (tmp_path / "FAILED.txt.j2").write_text("{% if %}")
    (tmp_path / "KILLED.txt.j2").write_bytes(b"\xff")
    templates = Templates(tmp_path)
    assert len(templates.check()) == 2
    shutil.rmtree(tmp_path)
    values = dict.fromkeys(("subject", "status", "job_id", "job_name", "event"), "") | {"owner": "Ann"}
    text = templates._render("RUNNING", None, "txt", values)
    assert text == "Bye, Ann. "
    for event, fault_text in (("FAILED", "FAILED.txt.j2 line 1"), ("KILLED", "'utf-8' codec")):
        for _ in range(2):
            with pytest.raises(TemplateFault, match=f"the template {event}.txt.j2 fails: .*{fault_text}"):
                templates._render(event, None, "txt", values)


def test_a_folder_of_templates_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"smtp\.templates: .*missing is no folder"):
        Templates(tmp_path / "missing")


def test_the_name_of_an_event_leads_to_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.txt.j2").write_text("secret")
    (tmp_path / "own").mkdir()
    templates = Templates(tmp_path / "own")
    for name in ("../secret", "x/../../secret", "a\0b", "", "." * 70):
        assert templates.find(name, None, "txt") == "default.txt.j2"
