"""Whatever stands in a message, it is parsed back as it was, and no text becomes a header."""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.targets.email.addresses import checked_address
from dispatcher.targets.email.message import MessageHeaders, message_bytes, sender_of
from dispatcher.targets.email.templates import Content, subject_line
from tests.factories import NOW

# What a text may hold at the worst: line breaks, separators, controls, encoded words, dots, the boundary itself.
NASTY = st.sampled_from(
    ["\r\n", "\n", "\r", "\0", "=?utf-8?q?x?=", "\n.\n", "\n--=_part\n", "\nBcc: x@y.z", "\x85"]
)
TEXTS = st.lists(st.one_of(NASTY, st.text(max_size=40)), max_size=12).map("".join)
STAMP = MessageHeaders(
    to=checked_address("to", "ann@example.org"),
    id="dlv_1",
    thread="job-1",
    list_id="sub_1",
    unsubscribe="https://dispatcher.example.org/u/abc",
    date=NOW,
)
HEADERS = [
    *(
        "To",
        "Message-ID",
        "In-Reply-To",
        "References",
        "List-Id",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
    ),
    *(
        "From",
        "Subject",
        "Date",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    ),
]


def parsed(raw: bytes) -> EmailMessage:
    message = BytesParser(policy=default).parsebytes(raw)
    assert isinstance(message, EmailMessage)
    return message


def lines(text: str) -> list[str]:
    whole = text.replace("\0", "?").encode("utf-8", "replace").decode()
    return whole.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


@given(subject=TEXTS, text=TEXTS, html=st.none() | TEXTS)
def test_a_message_is_parsed_back_as_it_was(subject: str, text: str, html: str | None) -> None:
    content = Content(subject_line(subject), text, html)
    raw = message_bytes(sender_of("Ann Ü <jobs@example.org>"), STAMP, content)
    message = parsed(raw)
    names = [*HEADERS, "Content-Transfer-Encoding"] if html is None else HEADERS
    assert message.keys() == names
    assert message["To"] == "ann@example.org"
    expected = content.subject.encode("utf-8", "replace").decode()
    assert str(message["Subject"]).split() == expected.split()
    parts = [message] if html is None else list(message.iter_parts())
    for part, original in zip(parts, [text, html], strict=False):
        assert isinstance(part, EmailMessage)
        assert lines(part.get_content()) == lines(original or "")


@given(subject=TEXTS, text=TEXTS)
def test_every_line_is_short_ascii_and_ends_as_smtp_wants(subject: str, text: str) -> None:
    raw = message_bytes(sender_of("jobs@example.org"), STAMP, Content(subject_line(subject), text, text))
    assert raw.isascii()
    assert b"\0" not in raw
    assert raw.endswith(b"\r\n")
    for line in raw.split(b"\r\n"):
        assert b"\r" not in line
        assert b"\n" not in line
        assert len(line) <= 100
