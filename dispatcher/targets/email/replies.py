"""What a refusal is about: the address, this message to it, or the relay and us. docs/email.md has the table."""

from __future__ import annotations

import re
from typing import Literal

Stage = Literal["sender", "recipient", "message"]
"""The command that was refused: MAIL or one before it, RCPT, or DATA with the message."""

About = Literal["address", "delivery", "relay"]
"""There is no such mailbox; this message to this recipient; the relay, its settings, or who we are to it."""

MAX_TEXT = 500
"""Characters of what the relay says that are kept and looked at."""

# Enhanced codes (RFC 3463, 7504, 7505): no such mailbox, no such domain, an address that is none, moved away, null MX,
# switched off.
_NO_ADDRESS = {"1.1", "1.2", "1.3", "1.6", "1.10", "2.1"}
# They say no more than that something is wrong: the text decides.
_UNSPECIFIC = {"0.0", "1.0", "2.0", "3.0", "4.0", "5.0"}
# Bad sender; the relay is full, off or set up wrongly; we do not speak SMTP as it wants.
_RELAY = {"1.7", "1.8", "1.9", "3.1", "3.2", "3.3", "3.5", "3.6", "5.1", "5.2", "5.3", "5.4", "5.5", "5.6"}
# What a policy (5.7.x) may say of one message, list or mailbox; the rest of 5.7.x is about who sends.
_POLICY_OF_ONE = {"7.2", "7.3", "7.4", "7.5", "7.6", "7.7", "7.15", "7.16", "7.17", "7.18", "7.19"}
_TOO_BIG_OR_WRONG_CHARACTERS = {"2.3", "3.4", "6.7", "6.9"}
# Syntax, sequence, no service (RFC 7504), TLS and log-in wanted.
_RELAY_CODES = {500, 502, 503, 504, 521, 523, 530, 534, 535, 538, 555}
_NO_MAIL_FOR_DOMAIN = 556
_FEWER_CODES = {421, 432}
_FEWER_ENHANCED = {"3.2", "4.5", "7.0", "7.28"}

# Not within a longer number such as an IP address or a section of an RFC.
_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3}\.\d{1,3})(?![\d]|\.\d)")
_URL = re.compile(r"\bhttps?://\S+", re.IGNORECASE)
_QUOTED_ADDRESS = re.compile(r"<[^<>]*@[^<>]*>|\S+@\S+")

# Who sends and how: never said of a mailbox or of what a message says.
_SPEAKS_OF_SENDING = re.compile(
    r"""
    (?<![\w.@-])relay(?:ing|ed|s)?(?![\w@-]|\.\w|\ recipient\ table) | rcpthosts
    | \bsender | \boriginator | \b(?:e-?)?mails?\ from\b | \bmessages?\ from\b | \bfrom\ (?:address|domain|header)\b
    | \breturn[ -](?:path|address)\b | \benvelope[ -]from\b
    | \bfor\ sending\b | \bsending\ (?:account|host|server|domain|ip)\b
    | \b(?:he|eh|lh)lo\b | \b(?:spf|dkim|dmarc|ptr|rdns)\b | \breverse\ (?:dns|lookup|host)
    | black[ -]?list | block[ -]?list | deny[ -]?list | \b(?:[a-z]*rbl|dnsbl|dbl|sbl|xbl|pbl)\b | spamhaus | spamcop
    | \bip\b | \baddress(?:es)?\ (?:family|\[?\d+\.\d) | \blocal(?:host|domain)\b | \bdns\b | resource\ record
    | loops?\ back | timed\ out | \bconnection\ (?:refused|reset|lost)\b | unreachable | \bcall-?out\b
    | barracuda | sorbs | (?<!not\ )\blisted\ (?:at|by|on)\b | \bclient\ host\b
    | authenti | \bauth\b | \blog[ -]?in\b | credential | password | starttls | \btls\b | \bssl\b | encrypt
    | \b(?:sending|daily|hourly|monthly|outgoing|outbound|rate)[ \w]{0,20}\b(?:quota|limit)
    | too\ (?:many|much|fast|quickly) | throttl
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Of the sender when it is said to a recipient's address, of the message when it is said to the message.
_SPEAKS_OF_POLICY = re.compile(
    r"""
    \bat\ a\ rate\b | gr[ea]y[ -]?list | polic(?:y|ies) | reputation | \bspam | \bvirus | \bbann?ed\b | \bblocked\b
    | prohibit | forbidden | permission | \bdenied\b | not\ (?:allowed|permitted|authori[sz]ed|accepting)
    | unauthori[sz]ed | administrat | \b(?:message|quota)\ (?:quota|limit)\b
    | \byour\ (?:account|address|host|ip|server|message|mail|e-?mail|domain|network|client|connection)
    | \bsyntax\ error\b | \bcommand\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_MAILBOX = (
    r"(?:user|recipient|mail-?box|addressee|address|account|alias|local[ -]part|inbox|person|forward[ -]path)"
)
_SPEAKS_OF_MAILBOX = re.compile(
    rf"""
    \b(?:unknown|invalid|non-?existent|bad\ destination|illegal|inactive)\ (?:or\ \w+\ )?
        (?:local\ |virtual\ |e-?mail\ |mail\ |destination\ )*{_MAILBOX}
    | \bno\ such\ (?:[\w-]+\ )?{_MAILBOX} | \bno\ such\ (?:domain|host)\b
    | \bno\ (?:{_MAILBOX}|mail-?box)\ (?:here|by\ that|with\ that|found)
    | \b{_MAILBOX}(?:'s)?(?:\ [\w<>.:'/-]+){{0,12}}?:?\ (?:is\ |was\ |are\ |has\ been\ |could\ |can\ |does\ |did\ )*
        (?:unknown|unavailable|not\ (?:be\ )?found|not\ exist|non-?existent|invalid|not\ (?:a\ )?valid|not\ known
           |no\ longer\ \w+|inactive|disabled|deactivated|discontinued|closed|suspended|expired)
    | \b{_MAILBOX}\b[^.;]{{0,60}}\b(?:doesn't|does\ not|did\ not|didn't)\ (?:exist|have\ an?\ [\w.() -]{{0,40}}account)
    | \bnot\ (?:a\ )?(?:known|valid)\ {_MAILBOX}
    | \bnot\ listed\ in\b[^.;]{{0,40}}\bdirectory
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SPEAKS_OF_MESSAGE = re.compile(
    r"\b(?:message|mail)\b[^.;]{0,30}\b(?:too (?:big|large)|size|exceeds)|\bsize\b[^.;]{0,30}\b(?:limit|exceed|maximum)"
    r"|\bsmtputf8\b|\binternationali[sz]ed\b|\bnon-?ascii\b",
    re.IGNORECASE,
)
_FULL = re.compile(r"\bfull\b|\b(?:over|exceed\w*)\b[^.;]{0,20}\b(?:quota|storage)", re.IGNORECASE)
_FEWER = re.compile(
    r"too many (?:\w+ ){0,3}(?:connection|session|message|mail|request|recipient)|concurren|connection limit|throttl"
    r"|rate limit|slow down|too (?:fast|quickly)",
    re.IGNORECASE,
)


class Refused(Exception):
    """The relay said no, with an SMTP code: below 500 it may pass.

    `about` is what that is about: it is given where the words are ours, or cannot be true.
    """

    def __init__(self, stage: Stage, code: int, text: str, about: About | None = None) -> None:
        super().__init__(f"{code} {one_line(text)}")
        self.stage = stage
        self.code = code
        self.text = text
        self.about: About = about or subject_of(stage, code, text)

    @property
    def permanent(self) -> bool:
        """Whether the same message to the same recipient will be refused again."""
        return self.code >= 500 and self.about != "relay"

    @property
    def gone(self) -> bool:
        """Whether there is no such address: nothing else will ever reach it."""
        return self.code >= 500 and self.about == "address"

    @property
    def fewer(self) -> bool:
        """Whether the relay wants fewer sessions or messages at once."""
        return wants_fewer(self.code, self.text)


def refusal(stage: Stage, code: int, text: str, sender: str, recipient: str) -> Refused:
    """The refusal of a message between these addresses: one that names the sender's alone is about us."""
    found = Refused(stage, code, text)
    said = text.lower()
    if found.gone and sender.lower() in said and recipient.lower() not in said:
        return Refused(stage, code, text, "relay")
    return found


def subject_of(stage: Stage, code: int, text: str) -> About:
    """What a refusal is about. Only what speaks clearly of the mailbox, and of nothing else, is about the address."""
    words = _URL.sub(" ", one_line(text))
    enhanced = _enhanced(words)
    if code < 500 or any(kind != "5" for kind, _ in enhanced):
        return "delivery"  # refused for now, or one says for good and the other for now
    codes = {detail for _, detail in enhanced} - _UNSPECIFIC
    if stage == "sender":
        of_message = codes & _TOO_BIG_OR_WRONG_CHARACTERS or _SPEAKS_OF_MESSAGE.search(words)
        return "delivery" if code == 552 or of_message else "relay"
    if code in _RELAY_CODES or any(_is_relays(detail, stage) for detail in codes):
        return "relay"
    words = _QUOTED_ADDRESS.sub(" ", words)
    if _SPEAKS_OF_SENDING.search(words):
        return "relay"
    if _SPEAKS_OF_POLICY.search(words):
        return "relay" if stage == "recipient" and codes <= _NO_ADDRESS else "delivery"
    if codes:
        no_mailbox = codes <= _NO_ADDRESS
    else:
        no_mailbox = code == _NO_MAIL_FOR_DOMAIN or _SPEAKS_OF_MAILBOX.search(words) is not None
    return "address" if no_mailbox and not _FULL.search(words) else "delivery"


def is_of_address(refusal: str) -> bool:
    """Whether a refusal that was kept as one line, such as `550 5.1.1 no such user`, is about the address."""
    code, _, text = refusal.partition(" ")
    return code.isdecimal() and subject_of("recipient", int(code), text) == "address"


def wants_fewer(code: int, text: str) -> bool:
    """Whether a refusal for now says that there are too many sessions, or messages at once."""
    if not 400 <= code < 500:
        return False
    words = one_line(text)
    codes = {detail for kind, detail in _enhanced(words) if kind == "4"}
    return code in _FEWER_CODES or not codes.isdisjoint(_FEWER_ENHANCED) or _FEWER.search(words) is not None


def without_addresses(text: str) -> str:
    """The same words with what looks like an address left out."""
    return _QUOTED_ADDRESS.sub("…", text)


def one_line(text: str) -> str:
    """What a relay says, in one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_TEXT]


def _enhanced(text: str) -> list[tuple[str, str]]:
    """The enhanced codes in a text: class, and subject with detail."""
    return [(found[1], found[2]) for found in _ENHANCED.finditer(text)]


def _is_relays(detail: str, stage: Stage) -> bool:
    if detail.startswith("7."):
        # At the message 5.7.0 and 5.7.1 are what filters say of content; 5.7.8 and up are of log-in, SPF and such.
        return detail not in _POLICY_OF_ONE and (stage == "recipient" or detail not in ("7.0", "7.1"))
    return detail in _RELAY
