"""Which addresses may be connected to: the policy that the HTTP client asks, and a resolver that asks it too."""

from __future__ import annotations

import socket
from typing import Protocol

from aiohappyeyeballs import AddrInfoType
from aiohttp import AsyncResolver
from aiohttp.abc import ResolveResult


class BlockedAddress(OSError):
    """The policy refuses `address`; `reason` says why."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address} is {reason}")
        self.address = address
        self.reason = reason

    def found_behind(self, host: str) -> str:
        """The problem in one sentence, for somebody who only knows the host."""
        if host == self.address:
            return str(self)
        return f"{host} resolves to {self.address}, {self.reason}"


class AddressPolicy(Protocol):
    """Decides about addresses."""

    def check(self, text: str) -> None:
        """Raise BlockedAddress when no connection to this address may be made."""
        ...

    def check_host(self, host: str) -> None:
        """Raise BlockedAddress when the host of a URL can be seen to be blocked without a look-up."""
        ...


def open_socket(policy: AddressPolicy, info: AddrInfoType) -> socket.socket:
    """A socket for a connection to this address. Raises BlockedAddress when the policy refuses it."""
    family, kind, protocol, _, address = info
    policy.check(address[0])
    return socket.socket(family, kind, protocol)


class GuardedResolver(AsyncResolver):
    """Resolves names without threads, and leaves out the addresses that may not be reached.

    The check of each socket's address would stop those as well. But so a name with both kinds uses the others, and
    the reason does not drown among their errors.
    """

    def __init__(self, policy: AddressPolicy) -> None:
        super().__init__()
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. OSError: there are none; BlockedAddress: none of them is allowed."""
        reachable = []
        blocked: BlockedAddress | None = None
        for found in await super().resolve(host, port, family):
            try:
                self._policy.check(found["host"])
            except BlockedAddress as error:
                blocked = error
            else:
                reachable.append(found)
        if blocked is not None and not reachable:
            raise blocked
        return reachable
