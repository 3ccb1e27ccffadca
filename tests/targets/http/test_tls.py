"""Receivers with a private authority, and receivers that want a client certificate: nginx, and OpenSSL itself."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.ids import new_id
from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.http.tls import MAX_CLIENTS, TlsClients, TlsOptions, check_tls, expires_at
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from tests.factories import make_event, make_subscription
from tests.http.proxy import proxy
from tests.http.requests import LOOPBACK
from tests.http.servers import Authority, answering, private_pem, raw_server
from tests.servers.nginx import Nginx

OK = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that no system trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that the receiver does not trust."""
    return Authority(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def nginx(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of an nginx that wants a certificate of the client."""
    folder = tmp_path_factory.mktemp("nginx")
    certificate, key = authority.issue("receiver.example")
    (folder / "certificate.pem").write_text(certificate)
    (folder / "key.pem").write_text(key)
    options = f"""ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        ssl_client_certificate {authority.path};
        ssl_verify_client on"""
    with Nginx(options=options) as running:
        yield running.url.replace("http:", "https:")


@pytest.fixture
async def kind() -> AsyncIterator[WebhookKind]:
    """Yield a kind that reaches loopback addresses."""
    kind = WebhookKind(Egress(Guard(LOOPBACK)))
    yield kind
    await kind.close()


async def attempt(kind: WebhookKind, url: str, **tls: str | None) -> AttemptResult:
    target = {"kind": "webhook", "url": url, "tls": tls or None}
    kind.check(msgspec.convert(target, WebhookTarget))
    return await kind.sender(make_subscription(target=target)).send(make_event(), new_id("dlv"), 1)


# nginx


async def test_a_receiver_that_wants_a_certificate_gets_it(
    kind: WebhookKind, nginx: str, authority: Authority
) -> None:
    certificate, key = authority.issue("dispatcher")
    results = [
        await attempt(kind, nginx, ca=authority.path.read_text(), certificate=certificate, key=key)
        for _ in range(2)
    ]
    assert [(one.error, one.status) for one in results] == [(None, 204)] * 2


async def test_that_it_wants_a_certificate_is_said_in_words(
    kind: WebhookKind, nginx: str, authority: Authority
) -> None:
    result = await attempt(kind, nginx, ca=authority.path.read_text())

    assert (result.status, result.error) == (
        400,
        "answered 400 Bad Request: the receiver wants a client certificate (target.tls)",
    )


async def test_that_it_does_not_take_the_certificate_is_said_in_words(
    kind: WebhookKind, nginx: str, authority: Authority, other: Authority
) -> None:
    certificate, key = other.issue("dispatcher")
    result = await attempt(kind, nginx, ca=authority.path.read_text(), certificate=certificate, key=key)

    assert (result.error or "").endswith("the receiver refused the client certificate (target.tls)")
    assert "PRIVATE KEY" not in repr(result)


async def test_through_the_proxy_the_certificate_is_the_same(nginx: str, authority: Authority) -> None:
    certificate, key = authority.issue("dispatcher")
    url = nginx.replace("127.0.0.1", "receiver.example")
    async with proxy({"receiver.example": "127.0.0.1"}) as running:
        kind = WebhookKind(Egress(Guard(), proxy=running.url))
        result = await attempt(kind, url, ca=authority.path.read_text(), certificate=certificate, key=key)
        await kind.close()

    assert (result.error, result.status) == (None, 204)
    assert running.asked == [f"CONNECT {url.removeprefix('https://')}"]


# Servers that end the connection


def wanting(authority: Authority, folder: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server that ends the handshake when it is not content with the client's certificate."""
    certificate, key = authority.issue("receiver.example")
    (folder / "server.pem").write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    return context


@contextmanager
def strict_server(context: ssl.SSLContext) -> Iterator[str]:
    """Yield the URL of a server in a thread: asyncio's closes the connection before the alert has left."""

    def serve() -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _ = listener.accept()
                secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                try:
                    secured.do_handshake()
                except ssl.SSLError:
                    _read_to_end(socket.socket(fileno=secured.detach()))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def _read_to_end(refused: socket.socket) -> None:
    """Take what the client has sent by now: closing before that would reset the connection, alert and all."""
    with refused, suppress(OSError):
        refused.shutdown(socket.SHUT_WR)
        while refused.recv(65536):
            pass


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
async def test_a_server_that_hangs_up_without_a_certificate_is_understood(
    kind: WebhookKind, authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    with strict_server(wanting(authority, tmp_path, version)) as url:
        result = await attempt(kind, url, ca=authority.path.read_text())

    expected = {
        ssl.TLSVersion.TLSv1_2: "the receiver ended the handshake; it may want a client certificate",
        ssl.TLSVersion.TLSv1_3: "the receiver wants a client certificate",
    }
    assert (result.error or "").endswith(f": {expected[version]}")


async def test_a_server_that_ends_the_handshake_without_an_alert_is_understood(
    kind: WebhookKind, authority: Authority, tmp_path: Path
) -> None:
    async with raw_server(OK, wanting(authority, tmp_path, ssl.TLSVersion.TLSv1_2)) as url:
        result = await attempt(kind, url, ca=authority.path.read_text())

    place = url.removeprefix("https://")
    assert result.error == (
        f"no TLS connection to {place}: the receiver ended the handshake; it may want a client certificate"
    )


@VERSIONS
async def test_a_server_that_hangs_up_because_of_the_certificate_is_understood(
    kind: WebhookKind, authority: Authority, other: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    certificate, key = other.issue("dispatcher")
    with strict_server(wanting(authority, tmp_path, version)) as url:
        result = await attempt(kind, url, ca=authority.path.read_text(), certificate=certificate, key=key)

    assert "the receiver refused the client certificate: unknown ca" in (result.error or "")


# Trust


def test_a_key_whose_check_would_take_seconds_is_refused_at_once(authority: Authority) -> None:
    # The factors are Mersenne primes: to see that they are prime takes six seconds.
    p, q, e = 2**4423 - 1, 2**4253 - 1, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    private = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    tls = TlsOptions(certificate=authority.issue("client")[0], key=key)
    began = time.monotonic()
    with pytest.raises(InvalidInput, match="expected an RSA key of at most 8192 bits"):
        check_tls(tls, "https://example.org:443", "target.tls")
    assert time.monotonic() - began < 2


async def test_a_private_authority_is_trusted_by_its_own_target_alone(
    kind: WebhookKind, authority: Authority, other: Authority
) -> None:
    async with raw_server(OK, _server(authority)) as url:
        trusted = await attempt(kind, url, ca=authority.path.read_text())
        results = [await attempt(kind, url), await attempt(kind, url, ca=other.path.read_text())]

    assert trusted.error is None
    assert ["is not accepted" in (one.error or "") for one in results] == [True, True]


def _server(authority: Authority) -> ssl.SSLContext:
    certificate, key = authority.issue("receiver.example")
    path = authority.path.with_name("trusted.pem")
    path.write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_with_a_certificate_alone_the_system_is_trusted(
    kind: WebhookKind, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    certificate, key = authority.issue("dispatcher")
    async with raw_server(OK, _server(authority)) as url:
        assert (await attempt(kind, url, certificate=certificate, key=key)).error is None


# Clients


async def test_targets_with_the_same_options_share_a_client_and_there_are_not_many(
    authority: Authority,
) -> None:
    clients = TlsClients(Egress(Guard()))
    tls = TlsOptions(ca=authority.path.read_text())
    same = await asyncio.gather(*(clients.client(None, tls) for _ in range(5)))
    assert len(set(map(id, same))) == 1
    assert await clients.client(5, tls) is not same[0]
    for number in range(MAX_CLIENTS):
        await clients.client(number + 10, tls)
    assert await clients.client(None, tls) is not same[0]
    await clients.close()


async def test_what_openssl_refuses_by_now_is_a_failure_that_shows_nothing(kind: WebhookKind) -> None:
    target = {"kind": "webhook", "url": "https://example.org/", "tls": {"ca": "hunter22"}}
    result = await kind.sender(make_subscription(target=target)).send(make_event(), new_id("dlv"), 1)

    assert result.error == "the certificates in target.tls cannot be used: expected other ones"


# The check of a new target


def problem_with(url: str = "https://example.org/", **tls: str) -> tuple[str, str]:
    target = msgspec.convert({"kind": "webhook", "url": url, "tls": tls}, WebhookTarget)
    with pytest.raises(InvalidInput) as caught:
        WebhookKind(Egress(Guard())).check(target)
    return caught.value.field, caught.value.problem


def test_what_cannot_be_used_is_refused_by_field(authority: Authority) -> None:
    ca = authority.path.read_text()
    certificate, key = authority.issue("dispatcher")
    _, another_key = authority.issue("dispatcher")
    expired, its_key = authority.issue("dispatcher", days=-1)
    encrypted = private_pem(ec.generate_private_key(ec.SECP256R1()), b"hunter22").decode()
    pair = {"certificate": certificate, "key": key}

    assert problem_with() == ("target.tls", "expected ca, or certificate and key")
    assert problem_with("http://example.org/", ca=ca)[0] == "target.tls"
    assert problem_with(ca="hunter22")[0] == "target.tls.ca"
    assert problem_with(certificate=certificate) == ("target.tls.key", "expected one beside the certificate")
    assert problem_with(key=key) == ("target.tls.certificate", "expected one beside the key")
    assert problem_with(**pair | {"certificate": "hunter22"})[0] == "target.tls.certificate"
    assert problem_with(**pair | {"key": "hunter22"})[0] == "target.tls.key"
    assert problem_with(**pair | {"key": "***"})[0] == "target.tls.key"
    assert "encrypted" in problem_with(**pair | {"key": encrypted})[1]
    assert problem_with(**pair | {"key": another_key})[0] == "target.tls.key"
    assert "expired at" in problem_with(certificate=expired, key=its_key)[1]
    for tls in (pair | {"key": another_key}, {"certificate": expired, "key": its_key}):
        assert "PRIVATE" not in "".join(problem_with(**tls))


def test_a_key_is_not_shown(authority: Authority) -> None:
    certificate, key = authority.issue("dispatcher")
    tls = {"certificate": certificate, "key": key}
    target = msgspec.convert({"kind": "webhook", "url": "https://example.org/", "tls": tls}, WebhookTarget)
    shown = WebhookKind(Egress(Guard())).redact(target)

    assert shown["tls"] == {"ca": None, "certificate": certificate, "key": "***"}
    assert "PRIVATE" not in repr(shown) + repr(target) + repr(target.tls)


def test_the_end_of_a_certificate_is_known(authority: Authority) -> None:
    ends = expires_at(authority.issue("dispatcher", days=30)[0])

    assert ends is not None
    assert timedelta(days=29) < ends - datetime.now(UTC) < timedelta(days=31)
    assert expires_at("hunter22") is None
