"""Messages as they go over the wire: headers that make them thread and be unsubscribed from, and their parts."""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_qp
from datetime import datetime
from email.header import Header
from email.utils import format_datetime, formataddr, parseaddr

from msgspec import Struct

from dispatcher.targets.email.addresses import Address
from dispatcher.targets.email.templates import Content

_ENDS = "\r\n"
_NEWLINE = re.compile(r"\r\n|\r|\n")
_BOUNDARY = "=_part"
"""Between the parts. Quoted-printable text never has "=_" in it."""
_LONG = 68
"""Characters from which on a subject takes more than one line."""


class Sender(Struct, frozen=True):
    """Who sends: the address in the envelope, and what stands in From."""

    address: str
    name: str

    @property
    def domain(self) -> str:
        """The domain in which message ids are made."""
        return self.address.rpartition("@")[2].lower()


def sender_of(text: str) -> Sender:
    """The sender of a setting that was checked: an address, perhaps with a name before it."""
    name, address = parseaddr(text)
    return Sender(address, name)


class MessageHeaders(Struct, frozen=True, kw_only=True):
    """What the headers of one message to one recipient say.

    `id` is what its Message-ID is made from: the same at every attempt. `thread` is what all messages share that belong
    together (none: nothing). `list_id` is the subscription. `unsubscribe` is the link, None when there is none.
    """

    to: Address
    id: str
    thread: str | None
    list_id: str | None
    unsubscribe: str | None
    date: datetime


def message_bytes(sender: Sender, headers: MessageHeaders, content: Content) -> bytes:
    """The whole message. It is ASCII unless the address is not."""
    return _own_headers(sender, headers) + _body(sender, headers.date, content)


def message_id(sender: Sender, headers: MessageHeaders) -> str:
    """The Message-ID, with its angle brackets."""
    return f"<{headers.id}.{_short(headers.to.key)}@{sender.domain}>"


def _own_headers(sender: Sender, headers: MessageHeaders) -> bytes:
    # Written here, because EmailMessage would fold a long link into encoded words, which no client takes for one.
    lines = [f"To: {headers.to.wire}", f"Message-ID: {message_id(sender, headers)}"]
    if headers.thread is not None:
        # No message has this id: it is what the messages of one job to one recipient have in common.
        root = f"<job.{_short(headers.thread)}{_short(headers.to.key)}@{sender.domain}>"
        lines += [f"In-Reply-To: {root}", f"References: {root}"]
    if headers.list_id is not None:
        lines.append(f"List-Id: <{headers.list_id}.{sender.domain}>")
    if headers.unsubscribe is not None:
        lines.append(f"List-Unsubscribe: <{headers.unsubscribe}>")
        # RFC 8058, section 3.1: one-click is for HTTPS only; others open the page.
        if headers.unsubscribe.startswith("https://"):
            lines.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    return _lines(*lines)


def _body(sender: Sender, date: datetime, content: Content) -> bytes:
    """The other headers, and the parts.

    Put together here: EmailMessage takes 1.7 ms for it, which webhooks would wait for.
    """
    headers = [
        f"From: {formataddr((sender.name, sender.address))}",
        f"Subject: {_subject(content.subject)}",
        f"Date: {format_datetime(date)}",
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        "MIME-Version: 1.0",
    ]
    text = _part("plain", content.text)
    if content.html is None:
        return _lines(*headers) + text
    opening, closing = f"--{_BOUNDARY}\r\n".encode(), f"--{_BOUNDARY}--\r\n".encode()
    headers.append(f'Content-Type: multipart/alternative; boundary="{_BOUNDARY}"')
    head = _lines(*headers, "")
    return b"".join((head, opening, text, b"\r\n", opening, _part("html", content.html), b"\r\n", closing))


def _part(subtype: str, text: str) -> bytes:
    """A text with its headers, in lines of at most 76 characters."""
    kind = f"Content-Type: text/{subtype}; charset=utf-8"
    # Its last line ends too: the encoder takes for its own line breaks what the text's first one is.
    whole = _NEWLINE.sub("\r\n", f"{text.rstrip(_ENDS)}\n".replace("\0", "?"))
    encoded = b2a_qp(whole.encode("utf-8", "replace"), istext=True)
    return _lines(kind, "Content-Transfer-Encoding: quoted-printable", "") + encoded


def _subject(text: str) -> str:
    """A subject as a header has it. What looks like an encoded word is encoded, so that it is not decoded."""
    if text.isascii() and "=?" not in text and len(text) < _LONG:
        return text
    charset = "us-ascii" if text.isascii() and "=?" not in text else "utf-8"
    return Header(text.encode("utf-8", "replace").decode(), charset, header_name="Subject").encode(
        linesep="\r\n"
    )


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
