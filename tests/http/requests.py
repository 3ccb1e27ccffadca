"""Requests of transports in tests, and names that resolve to what a test says."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

import pytest
from aiohttp import AsyncResolver
from aiohttp.abc import ResolveResult
from yarl import URL

from dispatcher.http import Exchange, Request, Response, TransportError
from tests.receiver import Receiver

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


async def ask(
    client: Exchange, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None
) -> Response:
    return await client.send(Request.build(method, url, headers, body))


async def post(client: Exchange, url: str, body: bytes = b"{}") -> Response:
    return await ask(client, "POST", URL(url), {}, body)


async def failure(client: Exchange, url: str, method: str = "POST") -> TransportError:
    """The failure of a request that must fail."""
    with pytest.raises(TransportError) as caught:
        await ask(client, method, URL(url), {}, None if method == "GET" else b"{}")
    return caught.value


def found(host: str, address: str, port: int) -> ResolveResult:
    """An address as aiohttp's resolvers give it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str], where: type = AsyncResolver) -> None:
    """Let each look-up take the next of these answers, and the last for ever."""
    left = list(answers)

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return [found(host, address, port) for address in answer]

    monkeypatch.setattr(where, "resolve", resolve)


def on_port(receiver: Receiver, host: str) -> str:
    return f"http://{host}:{URL(receiver.url).port}/"
