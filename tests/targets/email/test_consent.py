"""No one gets mail without asking for it or agreeing to it: confirmation, unsubscribing, suppression, over the API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.domain.targets import AttemptResult
from dispatcher.store.store import Store
from dispatcher.targets.email.consent import CONSENT_WAIT, ConsentService, MailPolicy
from dispatcher.targets.email.kind import EmailKind
from tests.api.conftest import Api, Caller, serving
from tests.factories import make_event
from tests.targets.email.offices import BASE, make_consent_service
from tests.targets.email.relay import Mail, Relay

DELIVERY = "dlv_0192f0c1a2b37c4d8e5f60718293a4b5"
GUEST = "guest@elsewhere.org"
OWN = "alice@example.org"


class Office(Struct, frozen=True):
    """A running API with a relay behind it."""

    api: Api
    alice: Caller
    consent: ConsentService
    kind: EmailKind
    server: Relay

    async def subscribe(self, *to: str) -> dict[str, Any]:
        """A new e-mail subscription of alice."""
        made: dict[str, Any] = await self.alice.subscribe(target={"kind": "email", "to": to})
        return made

    async def attempt(self, subscription_id: str) -> AttemptResult:
        """One attempt to deliver an event to a subscription."""
        subscription = await self.api.store.subscriptions.get("default", subscription_id)
        assert subscription is not None
        return await self.kind.sender(subscription).send(make_event(accepted_at=utc_now()), DELIVERY, 1)

    async def states(self, subscription_id: str) -> dict[str, str]:
        """How it stands with the recipients."""
        shown = await self.alice.get(f"/v1/subscriptions/{subscription_id}")
        return {one["address"]: one["state"] for one in shown["recipients"]}

    async def follow(self, method: str, link: str, **headers: str) -> tuple[int, str]:
        """What somebody without a key gets at a link in a mail."""
        assert link.startswith(BASE)
        body = b"List-Unsubscribe=One-Click" if method == "POST" else None
        reply = await self.api.anonymous.ask(method, link.removeprefix(BASE), body, **headers)
        return reply.status, reply.body.decode()


@pytest.fixture
async def office(store: Store, server: Relay) -> AsyncIterator[Office]:
    """Yield an API whose mails go to the test's relay; only example.org is trusted."""
    consent = make_consent_service(
        store, f"smtp://{server.url}", MailPolicy(trusted_domains=frozenset({"example.org"}))
    )
    kind = EmailKind(consent)
    async with serving(store, kinds={"email": kind}) as api:
        yield Office(api, await api.caller("alice", "publish", "subscribe"), consent, kind, server)
    await kind.close()


def link_in(mail: Mail, purpose: str) -> str:
    found = re.search(rf"{BASE}/{purpose}/[A-Za-z0-9_-]+", mail.text)
    assert found is not None
    return found[0]


async def test_a_new_address_gets_one_confirmation_mail_and_nothing_else_before_it_agrees(
    office: Office,
) -> None:
    made = await office.subscribe(GUEST)
    [question] = await office.server.received(1)
    assert question.to == GUEST
    assert question.message["Subject"] == "May Dispatcher send you e-mail about alice's jobs?"
    assert question.message["List-Unsubscribe"] is None
    waiting = await office.attempt(made["id"])
    again = await office.attempt(made["id"])
    second = await office.subscribe(GUEST)
    assert (await office.attempt(second["id"])).retry_at_delay is not None
    assert waiting.retry_at_delay == again.retry_at_delay == CONSENT_WAIT
    assert waiting.error == f"waits for {GUEST} to confirm"
    assert await office.states(made["id"]) == {GUEST: "unconfirmed"}
    assert len(office.server.mails) == 1


async def test_looking_at_the_link_changes_nothing_and_the_button_confirms(office: Office) -> None:
    made = await office.subscribe(GUEST)
    [question] = await office.server.received(1)
    link = link_in(question, "c")
    status, page = await office.follow("GET", link)
    assert status == 200
    assert "alice wants to have mails about jobs sent to guest@elsewhere.org" in page
    assert '<form method="post"><button>' in page
    assert await office.states(made["id"]) == {GUEST: "unconfirmed"}
    status, page = await office.follow("POST", link)
    assert status == 200
    assert "You will get mails" in page
    assert office.api.woken == 1
    assert await office.states(made["id"]) == {GUEST: "active"}
    assert (await office.attempt(made["id"])).error is None
    assert [mail.to for mail in office.server.mails] == [GUEST, GUEST]


async def test_a_link_that_is_opened_again_shows_how_it_stands_now(office: Office) -> None:
    made = await office.subscribe(GUEST)
    [question] = await office.server.received(1)
    confirm = link_in(question, "c")
    await office.follow("POST", confirm)
    assert "You will get mails" in (await office.follow("GET", confirm))[1]
    await office.attempt(made["id"])
    leave = link_in(office.server.mails[1], "u")
    assert "<button>" in (await office.follow("GET", leave))[1]
    await office.follow("POST", leave)
    page = (await office.follow("GET", leave))[1]
    assert "gets no more mails of this subscription" in page
    assert "<button>" not in page
    assert "<button>" in (await office.follow("GET", confirm))[1]
    reply = await office.api.anonymous.ask("GET", leave.removeprefix(BASE), None)
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_question_says_who_asks_for_what_and_nothing_that_the_subscriber_wrote(
    office: Office,
) -> None:
    spam = {"name": "You won! http://evil.example", "events": ["FINISHED", "VISIT_EVIL"]}
    await office.alice.subscribe(target={"kind": "email", "to": [GUEST]}, **spam)
    [question] = await office.server.received(1)
    for words in ("alice", GUEST, BASE, "If you do nothing, you get no such e-mail", "no password"):
        assert words in question.text.replace("\n", " ")
    assert "evil" not in (question.text + question.html).lower()
    link = link_in(question, "c")
    assert f'<a class="link" href="{link}"' in question.html
    assert f">{link}</a>" in question.html


async def test_own_and_trusted_addresses_are_not_asked(office: Office) -> None:
    made = await office.subscribe(OWN)
    keyed = await office.api.caller("carol@private.net", "subscribe")
    hers = await keyed.subscribe(target={"kind": "email", "to": ["Carol@private.net"]})
    assert (await office.attempt(made["id"])).error is None
    assert (await office.attempt(hers["id"])).error is None
    assert [mail.to for mail in office.server.mails] == [OWN, "Carol@private.net"]


async def test_those_who_need_not_be_asked_do_not_wait_for_one_who_must(office: Office) -> None:
    made = await office.subscribe(OWN, GUEST)
    [question] = await office.server.received(1)
    assert question.to == GUEST
    answer = await office.attempt(made["id"])
    assert answer.error == f"waits for {GUEST} to confirm"
    assert answer.retry_at_delay == CONSENT_WAIT
    assert [mail.to for mail in office.server.mails] == [GUEST, OWN]


async def test_one_click_unsubscribes_without_a_log_in_and_the_owner_sees_it(office: Office) -> None:
    made = await office.subscribe(OWN)
    await office.attempt(made["id"])
    link = link_in(office.server.mails[0], "u")
    status, page = await office.follow("GET", link)
    assert (status, "No more mails?" in page) == (200, True)
    assert await office.states(made["id"]) == {OWN: "active"}
    status, page = await office.follow("POST", link, content_type="application/x-www-form-urlencoded")
    assert (status, "No more mails" in page) == (200, True)
    assert (await office.follow("POST", link))[0] == 200
    assert await office.states(made["id"]) == {OWN: "unsubscribed"}
    answer = await office.attempt(made["id"])
    assert answer.permanent
    assert (answer.error or "").startswith(f"no one gets it: {OWN}: unsubscribed at ")
    assert len(office.server.mails) == 1


async def test_the_owner_may_take_back_that_an_own_address_unsubscribed(office: Office) -> None:
    made = await office.subscribe(OWN)
    await office.attempt(made["id"])
    await office.follow("POST", link_in(office.server.mails[0], "u"))
    path = f"/v1/subscriptions/{made['id']}/recipients"
    assert (await office.alice.post(path, {"address": OWN}))["state"] == "active"
    assert (await office.attempt(made["id"])).error is None


async def test_somebody_else_who_unsubscribed_is_asked_once_more(office: Office) -> None:
    made = await office.subscribe(GUEST)
    [question] = await office.server.received(1)
    await office.follow("POST", link_in(question, "c"))
    await office.attempt(made["id"])
    await office.follow("POST", link_in(office.server.mails[1], "u"))
    path = f"/v1/subscriptions/{made['id']}/recipients"
    assert (await office.alice.post(path, {"address": GUEST}))["state"] == "unsubscribed"
    assert (await office.server.received(3))[2].message[
        "Subject"
    ] == "May Dispatcher send you e-mail about alice's jobs?"
    assert (await office.attempt(made["id"])).permanent
    await office.follow("POST", link_in(office.server.mails[2], "c"))
    assert (await office.attempt(made["id"])).error is None


async def test_an_address_that_the_relay_refuses_for_good_says_so_until_its_owner_lifts_it(
    office: Office,
) -> None:
    made = await office.subscribe(OWN)
    office.server.at_rcpt = lambda _: "550 5.1.1 no such user"
    await office.attempt(made["id"])
    office.server.at_rcpt = lambda _: None
    shown = await office.alice.get(f"/v1/subscriptions/{made['id']}")
    [recipient] = shown["recipients"]
    assert (recipient["state"], recipient["reason"]) == ("refused", "550 5.1.1 no such user")
    listed = await office.alice.get("/v1/subscriptions")
    assert listed["items"][0]["recipients"] == shown["recipients"]
    assert (await office.attempt(made["id"])).permanent
    path = f"/v1/subscriptions/{made['id']}/recipients"
    assert (await office.alice.post(path, {"address": OWN.upper()}))["state"] == "active"
    assert (await office.attempt(made["id"])).error is None


async def test_an_address_stays_active_when_the_relay_refuses_us(office: Office) -> None:
    made = await office.subscribe(OWN)
    office.server.at_rcpt = lambda _: "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)"
    assert not (await office.attempt(made["id"])).permanent
    assert await office.states(made["id"]) == {OWN: "active"}


async def test_restoring_names_one_of_the_subscriptions_own_recipients(office: Office) -> None:
    made = await office.subscribe(OWN)
    bob = await office.api.caller("bob", "subscribe")
    path = f"/v1/subscriptions/{made['id']}/recipients"
    assert (await office.alice.ask("POST", path, {"address": "bob@example.org"})).status == 404
    assert (await bob.ask("POST", path, {"address": OWN})).status == 404
    assert (await office.alice.ask("POST", path, {})).status == 400


@pytest.mark.parametrize("purpose", ["u", "c"])
async def test_a_link_that_was_not_made_here_leads_nowhere(office: Office, purpose: str) -> None:
    made = await office.subscribe(OWN)
    good = office.consent.mailer.links.link("unsubscribe", made["id"], OWN)
    assert good is not None
    token = good.rpartition("/")[2]
    forged = [f"B{token[1:]}", token[:-1], "x" * 48, "%00", token if purpose == "c" else f"{token}A"]
    for wrong in forged:
        for method in ("GET", "POST"):
            status, page = await office.follow(method, f"{BASE}/{purpose}/{wrong}")
            assert (status, "leads nowhere" in page) == (404, True)
    assert await office.states(made["id"]) == {OWN: "active"}


async def test_a_link_of_a_removed_subscription_leads_nowhere(office: Office) -> None:
    made = await office.subscribe(OWN)
    link = office.consent.mailer.links.link("unsubscribe", made["id"], OWN)
    assert link is not None
    await office.alice.ask("DELETE", f"/v1/subscriptions/{made['id']}")
    assert (await office.follow("POST", link))[0] == 404


async def test_pages_load_nothing_from_elsewhere_and_are_not_kept(office: Office) -> None:
    made = await office.subscribe(OWN)
    link = office.consent.mailer.links.link("unsubscribe", made["id"], OWN)
    assert link is not None
    reply = await office.api.anonymous.ask("GET", link.removeprefix(BASE))
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-store"
    assert "form-action 'self'" in reply.headers["Content-Security-Policy"]
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert (await office.api.anonymous.ask("GET", "/mail.css")).headers["Content-Type"].startswith("text/css")


@pytest.mark.usefixtures("clock")
async def test_confirmation_mails_are_capped_for_a_key_and_for_an_address(
    store: Store, server: Relay
) -> None:
    rules = MailPolicy(confirmations_per_key=2, confirmations_per_address=1)
    consent = make_consent_service(store, f"smtp://{server.url}", rules)
    kind = EmailKind(consent)
    async with serving(store, kinds={"email": kind}) as api:
        alice, bob, carol = [await api.caller(name, "subscribe") for name in ("alice", "bob", "carol")]
        made = []
        for number in range(3):
            made.append(await alice.subscribe(target={"kind": "email", "to": [f"{number}@elsewhere.org"]}))
            await _asked(consent)
        office = Office(api, alice, consent, kind, server)
        third = await office.attempt(made[2]["id"])
        assert "waits for 2@elsewhere.org to confirm, and is asked in the next hour: there were 2" in (
            third.error or ""
        )
        assert third.retry_at_delay == pytest.approx(1.1)
        theirs = await bob.subscribe(target={"kind": "email", "to": ["0@elsewhere.org"]})
        await _asked(consent)
        assert "there were 1 requests" in ((await office.attempt(theirs["id"])).error or "")
        await carol.subscribe(target={"kind": "email", "to": ["3@elsewhere.org"]})
        await _asked(consent)
        assert [mail.to for mail in server.mails] == ["0@elsewhere.org", "1@elsewhere.org", "3@elsewhere.org"]
    await kind.close()


async def test_who_could_not_be_asked_is_asked_by_the_first_delivery(office: Office) -> None:
    office.server.at_rcpt = lambda _: "450 4.2.0 greylisted"
    made = await office.subscribe(GUEST)
    await _asked(office.consent)
    first = await office.attempt(made["id"])
    assert first.error == f"waits for {GUEST} to confirm, and could not be asked: 450 4.2.0 greylisted"
    assert first.retry_at_delay == 300
    office.server.at_rcpt = lambda _: None
    assert (await office.attempt(made["id"])).error == f"waits for {GUEST} to confirm"
    assert [mail.to for mail in office.server.mails] == [GUEST]


async def test_without_links_only_trusted_addresses_are_taken(store: Store, server: Relay) -> None:
    consent = make_consent_service(store, f"smtp://{server.url}", base=None)
    kind = EmailKind(consent)
    async with serving(store, kinds={"email": kind}) as api:
        alice = await api.caller("alice", "subscribe")
        refused = await alice.ask(
            "POST", "/v1/subscriptions", {"events": ["*"], "target": {"kind": "email", "to": [OWN, GUEST]}}
        )
        assert refused.status == 400
        assert "http.public_url" in refused.faults["target.to[1]"]
        made = await alice.subscribe(target={"kind": "email", "to": [OWN]})
        changed = await alice.ask(
            "PATCH", f"/v1/subscriptions/{made['id']}", {"target": {"kind": "email", "to": [GUEST]}}
        )
        assert changed.status == 400
    await kind.close()


async def _asked(consent: ConsentService) -> None:
    """Return when everybody was asked who is to be."""
    await asyncio.gather(*consent.invitations.running)


async def test_the_log_shows_no_token(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    made = await office.subscribe(OWN)
    link = office.consent.mailer.links.link("unsubscribe", made["id"], OWN)
    assert link is not None
    await office.follow("POST", link)
    said = capsys.readouterr().out
    assert "/u/{token}" in said
    assert link.rpartition("/")[2] not in said


async def test_the_log_shows_no_token_when_something_fails(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await office.subscribe(OWN)
    link = office.consent.mailer.links.link("unsubscribe", made["id"], OWN)
    assert link is not None
    for error, status in ((StoreUnavailable("no database"), 503), (RuntimeError("a fault"), 500)):
        monkeypatch.setattr(office.consent, "named", AsyncMock(side_effect=error))
        with capture_logs() as lines:
            assert (await office.follow("POST", link))[0] == status
        assert [line["path"] for line in lines] == ["/u/{token}"] * 2


async def test_an_address_that_only_looks_like_the_owners_is_asked(office: Office) -> None:
    caller = await office.api.caller("anna@strasse.example.net", "subscribe")
    made = await caller.subscribe(target={"kind": "email", "to": ["anna@straße.example.net"]})
    [shown] = (await caller.get(f"/v1/subscriptions/{made['id']}"))["recipients"]
    assert shown["state"] == "unconfirmed"
