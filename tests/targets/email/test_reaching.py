"""How the relay is reached: each of its addresses is tried, and its name is what a certificate is checked against."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvloop

from dispatcher.domain.targets import AttemptResult
from dispatcher.store.store import Store
from dispatcher.targets.email.kind import EmailKind
from tests.factories import make_event
from tests.http.servers import Authority
from tests.targets.email.offices import email_subscription, make_consent_service, open_file
from tests.targets.email.relay import relay

SILENT, NAME = "127.0.0.9", "relay.example.org"


@contextmanager
def silent(port: int) -> Iterator[None]:
    """An address that drops what comes to this port: nothing accepts, and the backlog is full."""
    with ExitStack() as open_sockets:
        listening = open_sockets.enter_context(socket.socket())
        listening.bind((SILENT, port))
        listening.listen(0)
        for _ in range(4):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((SILENT, port))
        yield


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let the relay's name have these addresses."""

    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        names = addresses if host == NAME else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, int(port))) for one in names]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


async def sent_to(store: Store, url: str) -> AttemptResult:
    kind = EmailKind(make_consent_service(store, url))
    try:
        sender = kind.sender(email_subscription("ann@example.org"))
        return await sender.send(make_event(), "dlv_0192f0c1a2b37c4d8e5f60718293a4b5", 1)
    finally:
        await kind.close()


@pytest.mark.parametrize("first", [SILENT, "127.0.0.8"], ids=["silent", "refusing"])
async def test_an_address_that_does_not_answer_leaves_it_to_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    async with relay() as server:
        port = int(server.url.rpartition(":")[2])
        resolve_to(monkeypatch, first, "127.0.0.1")
        with silent(port):
            answer = await sent_to(store, f"smtp://{NAME}:{port}")
    assert answer.error is None
    assert len(server.mails) == 1


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
@pytest.mark.parametrize(("names", "good"), [(NAME, True), ("other.example.org", False)])
async def test_the_certificate_is_checked_against_the_relays_name_whatever_its_address(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, names: str, *, good: bool
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    async with relay(tls=authority.context(names), from_the_start=scheme == "smtps") as server:
        port = int(server.url.rpartition(":")[2])
        resolve_to(monkeypatch, SILENT, "127.0.0.1")
        with silent(port):
            answer = await sent_to(store, f"{scheme}://{NAME}:{port}")
    assert (answer.error is None) is good
    assert good or "certificate verify failed" in (answer.error or "")


async def test_when_no_address_answers_the_attempt_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, SILENT)
    with silent(2525):
        kind = EmailKind(make_consent_service(store, f"smtp://{NAME}:2525", timeout=0.1))
        sender = kind.sender(email_subscription("ann@example.org"))
        answer = await sender.send(make_event(), "dlv_0192f0c1a2b37c4d8e5f60718293a4b5", 1)
        await kind.close()
    assert answer.error == f"cannot connect to smtp://{NAME}:2525: none of its addresses answers within 0.1 s"


async def test_a_relays_machine_that_is_gone_is_noticed_while_a_slow_one_is_waited_for(store: Store) -> None:
    kinds: list[int] = []
    async with relay() as server:
        kind = EmailKind(make_consent_service(store, f"smtp://{server.url}"))
        made = socket.socket.setsockopt

        def note(self: socket.socket, level: int, name: int, value: int) -> None:
            kinds.append(name)
            made(self, level, name, value)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket.socket, "setsockopt", note)
            await kind.sender(email_subscription("ann@example.org")).send(make_event(), "dlv_1", 1)
        await kind.close()
    assert {socket.SO_KEEPALIVE, socket.TCP_KEEPIDLE, socket.TCP_USER_TIMEOUT} <= set(kinds)


def test_a_mail_is_sent_by_the_event_loop_of_a_service_too(migrated_file: Path, tmp_path: Path) -> None:
    async def send() -> int:
        shutil.copy(migrated_file, tmp_path / "mail.db")
        async with open_file(tmp_path / "mail.db") as store, relay() as server:
            answer = await sent_to(store, f"smtp://{server.url}")
            assert answer.error is None
            return len(server.mails)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(send()) == 1
