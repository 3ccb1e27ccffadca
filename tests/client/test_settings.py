"""What a client is made with: a URL and a key that cannot be used are refused at once, and no secret is shown."""

from __future__ import annotations

import pytest

from dispatcher.client import AsyncClient, Client, Publisher

MADE = [Client, AsyncClient, lambda url: Publisher.http(url, key="key")._open_channel()]
"""Whatever takes a URL of a server."""


@pytest.mark.parametrize("make", MADE, ids=["Client", "AsyncClient", "Publisher"])
@pytest.mark.parametrize(
    "url",
    [
        "https://ann:s3cret@example.org",
        "https://s3cret@example.org/",
        "https://ann:s3/cret@example.org",
        "https://ann:s3?cret@example.org",
        "https://ann:s3#cret@example.org",
        "https:ann:s3cret@example.org",
        "ann:s3cret@example.org",
        "ftp://ann:s3cret@example.org",
        "https://ann:s3cret@",
        "https://exa\\@s3cret",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_shown(make: type[Client], url: str) -> None:
    with pytest.raises(ValueError, match="expected the URL of a server without user and password") as refused:
        make(url)
    assert "s3" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "https://",
        "https:///v1",
        "https://:80",
        "https://example.org:port",
        "https://example.org:99999",
        "https://[::1",
        "https://example.org?a=b",
        "https://example.org/#top",
        "https://exam ple.org",
        "https://example.org\n",
        "https://exämple.org",
    ],
)
def test_a_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected (the URL of a server|a URL)"):
        Client(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "https://[::1]", "https://example.org/below/it"])
def test_other_urls_are_taken(url: str) -> None:
    Client(url).close()


@pytest.mark.parametrize(
    "key", ["", "s3cret\n", " s3cret", "s3cret ", "s3\x00cret", "s3crét", "s3cret\udcff"]
)
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="expected a key") as refused:
        Client("https://example.org", key)
    assert "cr" not in str(refused.value)
