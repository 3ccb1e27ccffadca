"""To whom the HTTP client talks: which certificates it accepts, and which addresses it never connects to."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import AsyncResolver
from aiohttp.abc import ResolveResult

from dispatcher.http import MAX_READ, HttpClient
from dispatcher.http.addresses import BlockedAddress, GuardedResolver, open_socket
from dispatcher.targets.ssrf_guard import Guard
from tests.http.requests import failure, on_port, post, resolve_to
from tests.http.servers import Authority, answering, raw_server
from tests.receiver import Receiver

# TLS


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Return an authority that clients made from now on trust; every name resolves to this host."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    resolve_to(monkeypatch, ["127.0.0.1"])
    return authority


OK = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def test_a_good_certificate_is_accepted(client: HttpClient, authority: Authority) -> None:
    async with raw_server(OK, authority.context("good.example")) as url:
        assert (await post(client, url.replace("127.0.0.1", "good.example"))).status == 200


async def test_an_expired_certificate_is_not_accepted(client: HttpClient, authority: Authority) -> None:
    async with raw_server(OK, authority.context("old.example", expired=True)) as url:
        place = url.removeprefix("https://").replace("127.0.0.1", "old.example")
        problem = str(await failure(client, f"https://{place}"))

    assert problem == f"the certificate of {place} is not accepted: certificate has expired"


async def test_a_certificate_for_another_host_is_not_accepted(
    client: HttpClient, authority: Authority
) -> None:
    async with raw_server(OK, authority.context("one.example")) as url:
        problem = str(await failure(client, url.replace("127.0.0.1", "other.example")))

    assert "is not accepted: Hostname mismatch, certificate is not valid for 'other.example'" in problem


async def test_a_certificate_of_an_unknown_authority_is_not_accepted(
    client: HttpClient, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    async with raw_server(OK, stranger.context("good.example")) as url:
        problem = str(await failure(client, url.replace("127.0.0.1", "good.example")))

    assert "is not accepted: unable to get local issuer certificate" in problem


async def test_a_server_receives_the_host_and_that_we_speak_http_1_1(
    client: HttpClient, authority: Authority
) -> None:
    context = authority.context("good.example")
    context.set_alpn_protocols(["h2", "http/1.1"])
    named: list[str | None] = []
    context.sni_callback = lambda _, name, __: named.append(name)
    chosen: list[str | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await OK(reader, writer)

    async with raw_server(handle, context) as url:
        await post(client, url.replace("127.0.0.1", "good.example"))

    assert (named, chosen) == (["good.example"], ["http/1.1"])


async def test_connections_with_tls_are_used_again_and_bounded(
    client: HttpClient, authority: Authority
) -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(10 * MAX_READ))

    async with raw_server(handle, authority.context("good.example")) as url:
        replies = [await post(client, url.replace("127.0.0.1", "good.example")) for _ in range(3)]

    assert [reply.body for reply in replies[:2]] == [b"ok", b"ok"]
    assert (len(replies[2].body), replies[2].complete) == (MAX_READ, False)
    assert connections == 1


async def test_a_server_that_speaks_no_tls_says_so(client: HttpClient, receiver: Receiver) -> None:
    problem = str(await failure(client, receiver.url.replace("http", "https")))

    assert problem.startswith("no TLS connection to 127.0.0.1:")


# Blocked addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
async def test_a_blocked_host_is_not_connected_to(receiver: Receiver, host: str) -> None:
    client = HttpClient(Guard())
    problem = await failure(client, on_port(receiver, host))
    await client.close()

    assert str(problem).startswith("blocked: ")
    assert str(problem).endswith("network.allow does not name it")
    assert not problem.early
    assert receiver.arrived == []


async def test_a_name_that_resolves_to_a_private_address_says_which(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["10.0.0.1"])

    assert str(await failure(client, "http://inside.example/")) == (
        "blocked: inside.example resolves to 10.0.0.1, a private address (RFC 1918); "
        "network.allow does not name it"
    )


async def test_a_name_with_several_private_addresses_is_blocked(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["10.0.0.1", "192.168.0.1", "fd00::1"])

    assert str(await failure(client, "http://inside.example/")).startswith(
        "blocked: inside.example resolves to"
    )


async def test_a_name_with_both_kinds_of_addresses_uses_the_allowed_one(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["10.0.0.1", "127.0.0.1", "fd00::1"])

    assert (await post(client, on_port(receiver, "both.example"))).status == 204


async def test_with_both_kinds_the_error_is_about_the_allowed_one(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1", "10.0.0.1"])
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        problem = await failure(client, f"http://both.example:{unused.getsockname()[1]}")

    assert "Connection refused" in str(problem)


async def test_a_name_that_changes_its_address_between_deliveries_is_blocked(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    url = on_port(receiver, "rebind.example")
    first = await post(client, url)
    await client.close()  # forgets the connection and the address
    problem = await failure(client, url)

    assert first.status == 204
    assert "blocked: rebind.example resolves to 169.254.169.254" in str(problem)


async def test_the_socket_is_guarded_whatever_the_resolver_says(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = HttpClient(Guard([ip_network("127.0.0.2/32")]))
    resolve_to(monkeypatch, ["127.0.0.1"], where=GuardedResolver)
    problem = await failure(client, on_port(receiver, "liar.example"))
    await client.close()

    assert str(problem).startswith("blocked: liar.example resolves to 127.0.0.1, a loopback address")
    assert receiver.arrived == []


def test_no_socket_is_made_for_a_blocked_address() -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(BlockedAddress):
        open_socket(Guard(), address)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_connection_says_so(client: HttpClient, method: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        problem = await failure(client, f"http://{place}", method)

    assert (str(problem), problem.early) == (f"no connection to {place}: Connection refused", False)


async def test_a_name_without_an_address_says_so(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object) -> list[ResolveResult]:
        raise OSError(None, "Domain name not found")

    monkeypatch.setattr(AsyncResolver, "resolve", resolve)

    assert str(await failure(client, "http://nowhere.example/")) == (
        "could not find the address of nowhere.example: Domain name not found"
    )
