"""What a transport provides: a request goes in, and a response or a TransportError comes out."""

from __future__ import annotations

from typing import Protocol

from dispatcher.http.messages import Request, Response


class Exchange(Protocol):
    """Sends requests. How many run at once is not limited here: that belongs to the destinations.

    Every transport keeps to the same rules: one time limit for a whole exchange; redirects are not followed, cookies
    not stored, compressed responses neither asked for nor unpacked; nothing is sent twice; at most `max_read` bytes
    of a response's body are read; no connection is made to an address that the address policy refuses.
    """

    async def send(self, request: Request) -> Response:
        """Make one request and read the response. Raises TransportError when there is none."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
