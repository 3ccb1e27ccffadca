"""What relays say when they refuse, as they say it, and what each refusal is about."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from dispatcher.targets.email.replies import MAX_TEXT, Refused, Stage, is_of_address, refusal, subject_of

Reply: TypeAlias = tuple[Stage, int, str]

OF_THE_ADDRESS: list[Reply] = [
    ("recipient", 550, "5.1.1 no such user"),
    ("recipient", 550, "no such user here"),
    ("recipient", 550, "User unknown"),
    (
        "recipient",
        550,
        "5.1.1 <ann@example.org>: Recipient address rejected: User unknown in local recipient table",
    ),
    (
        "recipient",
        550,
        "<ann@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
    ),
    (
        "recipient",
        550,
        (
            "5.1.1 The email account that you tried to reach does not exist. Please try\n"
            "5.1.1 double-checking the recipient's email address for typos or\n"
            "5.1.1 unnecessary spaces. Learn more at\n"
            "5.1.1 https://support.google.com/mail/?p=NoSuchUser - gsmtp"
        ),
    ),
    (
        "recipient",
        550,
        "5.2.1 The email account that you tried to reach is disabled. Learn more at https://x",
    ),
    ("recipient", 550, "5.5.0 Requested action not taken: mailbox unavailable (S2017062302)."),
    ("recipient", 550, "Requested action not taken: mailbox unavailable"),
    ("recipient", 550, "mailbox does not exist"),
    ("recipient", 550, "Mailbox not found"),
    ("recipient", 550, "sorry, no mailbox here by that name (#5.1.1)"),
    ("recipient", 550, "sorry, no mailbox here by that name"),
    ("recipient", 554, "delivery error: dd This user doesn't have a yahoo.com account (x@yahoo.com) [0]"),
    ("message", 554, "delivery error: dd This user doesn't have a yahoo.com account (x@yahoo.com) [0]"),
    ("recipient", 550, "Invalid recipient"),
    ("recipient", 550, "Invalid recipient <ann@relay.example.org>"),
    ("recipient", 550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
    ("recipient", 553, "5.1.3 bad address"),
    ("recipient", 501, "5.1.3 Bad recipient address syntax"),
    ("recipient", 556, "5.1.10 domain does not accept mail (nullMX)"),
    ("recipient", 556, "domain does not accept mail"),
    ("recipient", 551, "5.1.6 moved"),
    ("recipient", 550, "5.1.1 User unknown; rejected by relay.example.org"),
    ("recipient", 550, "<ann@x>: user unknown; mail-relay-1 says"),
    ("recipient", 550, "5.0.0 <ann@example.org>... User unknown"),
    ("recipient", 550, "ann@example.org... No such user"),
    ("recipient", 550, "ann (ann@x) not listed in Domino Directory"),
    ("recipient", 550, "This account has been disabled or discontinued [#102]."),
    ("recipient", 550, "Recipient's mailbox is inactive"),
    ("recipient", 550, "Unknown or illegal alias: x@y"),
    ("recipient", 550, "Unknown recipient"),
    ("recipient", 550, "5.1.2 Host unknown (Name server: host not found)"),
    ("message", 550, "5.1.1 user unknown"),
    ("recipient", 550, "<ann@x>: Recipient address rejected: User unknown in relay recipient table"),
    (
        "recipient",
        550,
        "Message was not accepted -- invalid mailbox.  Local mailbox ann@x is unavailable",
    ),
]
OF_THE_DELIVERY: list[Reply] = [
    ("recipient", 550, "sorry, no mailbox here by that name. (#5.7.17)"),
    ("recipient", 550, "5.4.1 Recipient address rejected: Access denied. AS(201806281)"),
    ("recipient", 552, "5.2.2 mailbox full"),
    ("recipient", 552, "mailbox full"),
    ("recipient", 550, "mailbox full or unavailable"),
    ("recipient", 550, "mailbox unavailable: it is over its quota"),
    ("recipient", 452, "4.2.2 mailbox full"),
    ("recipient", 450, "5.1.1 user unknown"),
    ("recipient", 550, "4.1.1 user unknown"),
    ("recipient", 450, "4.1.8 sender domain"),
    ("recipient", 550, "no"),
    ("recipient", 554, "Transaction failed"),
    ("recipient", 550, "unrouteable address"),
    ("recipient", 551, "User not local; please try <ann@elsewhere.org>"),
    ("recipient", 550, "#5.1.0 Address rejected."),
    ("recipient", 553, "5.6.7 address needs SMTPUTF8"),
    ("sender", 552, "too big"),
    ("sender", 552, "5.3.4 Message size exceeds fixed limit"),
    ("sender", 523, "message length exceeds administrative limit"),
    ("sender", 550, "5.6.7 SMTPUTF8 needed"),
    ("message", 554, "5.7.1 looks like spam"),
    ("message", 550, "5.7.1 Message rejected as spam by policy"),
    ("message", 552, "5.3.4 Message too big"),
    ("message", 554, "5.6.0 bad MIME"),
    ("message", 554, "Message rejected: virus found"),
    ("message", 554, "5.3.0 x"),
    ("recipient", 550, "5.3.0 x"),
]
OF_THE_RELAY: list[Reply] = [
    ("recipient", 550, "relay not permitted"),
    ("recipient", 550, "Verification failed for <jobs@example.org>\nSender verify failed"),
    ("recipient", 550, "rejected because 192.0.2.7 is in a black list at zen.spamhaus.org"),
    ("recipient", 550, "Access denied - Invalid HELO name (See RFC2821 4.1.1.1)"),
    ("recipient", 550, "authentication required"),
    ("recipient", 550, "Message rejected: daily sending quota exceeded"),
    ("recipient", 553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
    ("recipient", 553, "sorry, that domain isn't in my list of allowed rcpthosts"),
    (
        "recipient",
        550,
        "5.2.1 The user you are trying to contact is receiving mail at a rate that prevents more",
    ),
    ("recipient", 550, "5.7.1 relaying denied"),
    ("recipient", 554, "5.7.1 relay access denied"),
    ("recipient", 554, "5.7.1 <ann@example.org>: Relay access denied"),
    ("recipient", 501, "Syntax error in parameters"),
    ("recipient", 504, "5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname"),
    ("recipient", 530, "5.7.0 Must issue a STARTTLS command first"),
    ("recipient", 530, "Authentication required"),
    ("recipient", 503, "5.5.1 Error: need MAIL command"),
    ("recipient", 521, "5.3.2 does not accept mail"),
    ("recipient", 521, "does not accept mail"),
    ("recipient", 550, "5.1.8 Sender address rejected: Domain not found"),
    ("recipient", 554, "5.1.8 bad sender"),
    ("recipient", 550, "5.1.1 relaying denied"),
    ("recipient", 550, "5.7.1 Service unavailable; client host [192.0.2.7] blocked using zen.spamhaus.org"),
    ("recipient", 554, "Service unavailable; Client host [192.0.2.7] blocked using b.barracudacentral.org"),
    ("recipient", 550, "user unknown, but your IP is blocked"),
    ("recipient", 550, "5.7.1 blocked\n5.1.1 user unknown"),
    ("recipient", 550, "Administrative prohibition"),
    ("recipient", 550, "Your account has been suspended"),
    ("recipient", 550, "Sender domain does not exist"),
    ("recipient", 550, "invalid sender address"),
    ("recipient", 550, "SPF check failed"),
    ("recipient", 550, "cannot verify sender's mailbox: user unknown"),
    ("recipient", 550, "Too many invalid recipients"),
    ("recipient", 550, "unknown user or password incorrect"),
    ("sender", 553, "5.7.1 <a> may not send here"),
    ("sender", 550, "5.1.1 user unknown"),
    ("sender", 555, "5.5.4 Unsupported option: SIZE"),
    ("sender", 530, "5.7.0 Must issue a STARTTLS command first"),
    ("message", 550, "5.7.26 Unauthenticated email is not accepted (DMARC)"),
    ("message", 550, "5.7.25 no PTR"),
    ("message", 550, "5.7.1 Client host blocked using spamhaus"),
    ("message", 550, "5.4.5 Daily user sending quota exceeded."),
    ("message", 503, "5.5.1 no valid recipients"),
    ("message", 554, "5.5.1 no valid recipients"),
    ("message", 550, "relaying denied"),
    ("recipient", 554, "5.3.5 misconfigured"),
    ("recipient", 550, "Recipient ok, sender unknown"),
    ("recipient", 550, "mailbox unavailable. invalid DNS MX or A/AAAA resource record"),
    ("recipient", 550, "messages from 192.0.2.1 weren't sent: mailbox unavailable"),
    ("recipient", 550, "Client IP address is not valid"),
    ("recipient", 550, "address 192.0.2.7 is unknown to us"),
    ("recipient", 550, "Address family unavailable"),
    ("recipient", 550, "Account suspended for sending"),
    ("recipient", 550, "originator unknown: no such user"),
    ("recipient", 550, "invalid return address: user unknown"),
    ("recipient", 550, "callout verification failed: address unavailable"),
    (
        "recipient",
        550,
        "5.1.1 <a@x>: Recipient address rejected: undeliverable address: mail for x loops back to myself",
    ),
    ("recipient", 550, "5.1.1 <a@x>: Recipient address rejected: unverified address: Connection timed out"),
    ("recipient", 550, "5.1.1 mail from localhost refused"),
    ("recipient", 550, "5.1.1 worker.localdomain: host unknown"),
]


@pytest.mark.parametrize(("stage", "code", "text"), OF_THE_ADDRESS)
def test_no_such_mailbox_is_about_the_address_and_nothing_reaches_it(
    stage: Stage, code: int, text: str
) -> None:
    refused = Refused(stage, code, text)
    assert (refused.about, refused.gone, refused.permanent) == ("address", True, True)
    assert is_of_address(str(refused))


@pytest.mark.parametrize(("stage", "code", "text"), OF_THE_DELIVERY)
def test_what_is_about_one_message_or_unclear_says_nothing_of_the_address(
    stage: Stage, code: int, text: str
) -> None:
    refused = Refused(stage, code, text)
    assert (refused.about, refused.gone, refused.permanent) == ("delivery", False, code >= 500)


@pytest.mark.parametrize(("stage", "code", "text"), OF_THE_RELAY)
def test_what_is_about_the_relay_or_us_says_nothing_of_the_address_and_is_tried_again(
    stage: Stage, code: int, text: str
) -> None:
    refused = Refused(stage, code, text)
    assert (refused.about, refused.gone, refused.permanent) == ("relay", False, False)


@pytest.mark.parametrize("text", [text for _, code, text in OF_THE_ADDRESS if code >= 500])
def test_the_same_words_with_a_code_that_says_for_now_never_end_anything(text: str) -> None:
    for code in (421, 450, 451, 452):
        refused = Refused("recipient", code, text)
        assert (refused.gone, refused.permanent) == (False, False)


def test_a_refusal_that_names_our_own_address_alone_is_about_us() -> None:
    def about(text: str) -> str:
        return refusal("recipient", 550, text, "Jobs@example.org", "ann@example.org").about

    assert about("5.1.1 <jobs@example.org>: user unknown") == "relay"
    assert about("<ann@example.org>: user unknown, says <jobs@example.org>") == "address"
    assert about("<Ann@example.org>: user unknown") == "address"
    assert about("user unknown") == "address"


def test_an_enhanced_code_that_is_part_of_a_longer_number_is_none() -> None:
    assert subject_of("recipient", 550, "blocked 192.5.1.1") == "relay"
    assert subject_of("recipient", 550, "rejected (15.1.1)") == "delivery"
    assert subject_of("recipient", 550, "rejected (see 5.1.1.7)") == "delivery"


def test_no_more_than_the_beginning_of_a_reply_is_kept_and_looked_at() -> None:
    refused = Refused("recipient", 550, f"{'user ' * 6000} unknown")
    assert (len(str(refused)), refused.about) == (len("550 ") + MAX_TEXT, "delivery")
