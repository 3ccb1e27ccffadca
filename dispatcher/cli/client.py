"""Asking a server's HTTP API from the command line, and what its refusals look like there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Annotated, Any, NamedTuple, Self
from urllib.parse import quote

import msgspec
from msgspec import Struct

from dispatcher.config import load
from dispatcher.domain.errors import DispatcherError, SettingsError

PAGE = 500
"""The most items that the API gives at once."""

TIMEOUT = 60.0
"""Seconds for one request and its answer."""

# Any, because the API's documents are printed, not worked with.
Document = dict[str, Any]


class ApiError(DispatcherError):
    """The server refused; the message is its problem document in a few lines."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(DispatcherError):
    """No server answers at that URL."""


class Access(NamedTuple):
    """A server's URL, without a slash at its end, and the key to it."""

    server: str
    key: str


class _Fault(Struct):
    field: str = ""
    problem: str = ""


class _Problem(Struct):
    title: str = ""
    detail: str = ""
    errors: Annotated[list[_Fault], msgspec.Meta(max_length=1000)] = []


def access(server: str | None, key: str | None) -> Access:
    """Where the API is, and the key to it: as told, or as the settings of this machine say.

    Raises SettingsError when there is no key.
    """
    settings = load()
    if key is None and settings.auth.admin_key is not None:
        key = settings.auth.admin_key.reveal()
    if not key:
        raise SettingsError(
            "no key for the API: expected one in DISPATCHER_KEY, DISPATCHER_AUTH_ADMIN_KEY or --key"
        )
    if server is None:
        server = f"http://{_connectable(settings.http.host)}:{settings.http.port}"
    if not server.startswith(("http://", "https://")):
        raise SettingsError(
            f"--server or DISPATCHER_SERVER: expected http://host:port or https://host, got {server!r}"
        )
    return Access(server.rstrip("/"), key)


def _connectable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - nothing is bound: who listens everywhere listens on loopback too
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


class Api:
    """One server's API, while it is entered."""

    def __init__(self, access: Access) -> None:
        self._server = access.server
        self._key = access.key

    async def __aenter__(self) -> Self:
        import aiohttp  # slow to import, and not needed for --help

        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"}, timeout=aiohttp.ClientTimeout(total=TIMEOUT)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        document: object = None,
    ) -> Any:
        """The JSON that is answered, None when there is none. Raises ApiError or Unreachable."""
        from aiohttp import ClientError

        try:
            async with self._session.request(
                method,
                f"{self._server}{path}",
                params={name: value for name, value in (query or {}).items() if value is not None},
                data=None if document is None else msgspec.json.encode(document),
                headers={} if document is None else {"Content-Type": "application/json"},
                allow_redirects=False,  # a redirect would take the key somewhere else
            ) as answer:
                body = await answer.read()
        except (ClientError, TimeoutError) as error:
            reason = str(error) or f"no answer in {TIMEOUT:.0f} s"
            raise Unreachable(
                f"{self._server} does not answer: {reason}. Does `dispatcher serve` run there?"
            ) from None
        if not 200 <= answer.status < 300:
            raise ApiError(answer.status, _explained(answer.status, body))
        return _decoded(body)

    async def items(self, path: str, query: Mapping[str, str | None], limit: int) -> list[Document]:
        """The first `limit` items of a list, over as many pages as that takes."""
        found: list[Document] = []
        cursor: str | None = None
        while len(found) < limit:
            size = str(min(PAGE, limit - len(found)))
            page = await self.ask("GET", path, query={**query, "limit": size, "cursor": cursor})
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return found


def ask(access: Access, method: str, path: str, document: object = None) -> Any:
    """One request on its own; see `Api.ask`."""

    async def run() -> Any:
        async with Api(access) as api:
            return await api.ask(method, path, document=document)

    return asyncio.run(run())


def items(access: Access, path: str, query: Mapping[str, str | None], limit: int) -> list[Document]:
    """One list on its own; see `Api.items`."""

    async def run() -> list[Document]:
        async with Api(access) as api:
            return await api.items(path, query, limit)

    return asyncio.run(run())


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        raise ApiError(200, f"expected JSON from the server, got {body[:80]!r}: is it Dispatcher?") from None


def _explained(status: int, body: bytes) -> str:
    """What a problem document (RFC 9457) says: the detail, then every field that the detail does not name."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, msgspec.ValidationError):
        problem = _Problem()
    text = problem.detail or problem.title or HTTPStatus(status).phrase
    faults = [f"{fault.field}: {fault.problem}" if fault.field else fault.problem for fault in problem.errors]
    lines = [f"refused with {status}: {text}", *(f"  {fault}" for fault in faults if fault not in text)]
    if status == HTTPStatus.UNAUTHORIZED:
        lines.append("  the key comes from --key, DISPATCHER_KEY or DISPATCHER_AUTH_ADMIN_KEY")
    return "\n".join(lines)
