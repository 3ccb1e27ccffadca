"""What aiohttp's errors are called: nothing of what they quote is in a TransportError."""

from __future__ import annotations

import aiohttp
import pytest

from dispatcher.http import Origin
from dispatcher.http.aiohttp_failures import Failures

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientOSError(None, f"Can not write request body for http://hook.example/?token={SECRET}"),
        aiohttp.ClientConnectionError(f"Failed to send bytes: Connection<BasicAuth('user', '{SECRET}')>"),
        aiohttp.ServerDisconnectedError(f"HTTP/1.1 200 {SECRET}"),
        aiohttp.InvalidURL(f"http://hook.example/?token={SECRET}"),
        aiohttp.ClientPayloadError(SECRET),
        ValueError(SECRET),
    ],
)
def test_the_text_of_an_error_is_not_repeated(error: Exception) -> None:
    failures = Failures(timeout=15, connecting=10, proxy="proxy.example:3128")

    assert SECRET not in str(failures.name(error, Origin(False, "hook.example", 80)))
