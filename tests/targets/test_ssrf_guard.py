"""The guard against server-side request forgery, address by address. Connections: tests/http/test_connector.py."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from dispatcher.targets.ssrf_guard import BlockedAddress, Guard, Network

# Each block with its first and last address, and what a reason must say.
BLOCKS = {
    "0.0.0.0/8": "this network (RFC 791)",
    "10.0.0.0/8": "private address (RFC 1918)",
    "100.64.0.0/10": "carrier-grade NAT (RFC 6598)",
    "127.0.0.0/8": "loopback address (RFC 1122)",
    "169.254.0.0/16": "link-local address (RFC 3927)",
    "172.16.0.0/12": "private address (RFC 1918)",
    "192.0.0.0/24": "IETF protocol assignment (RFC 6890)",
    "192.0.2.0/24": "documentation address (RFC 5737)",
    "192.31.196.0/24": "AS112 address (RFC 7535)",
    "192.52.193.0/24": "AMT relay (RFC 7450)",
    "192.88.99.0/24": "6to4 relay (RFC 7526)",
    "192.168.0.0/16": "private address (RFC 1918)",
    "192.175.48.0/24": "AS112 address (RFC 7534)",
    "198.18.0.0/15": "benchmarking address (RFC 2544)",
    "198.51.100.0/24": "documentation address (RFC 5737)",
    "203.0.113.0/24": "documentation address (RFC 5737)",
    "224.0.0.0/4": "multicast address (RFC 5771)",
    "240.0.0.0/5": "reserved address (RFC 1112)",
    "255.255.255.255/32": "broadcast address (RFC 919)",
    "::/128": "unspecified address (RFC 4291)",
    "::1/128": "loopback address (RFC 4291)",
    "::2/127": "IPv4-compatible address (RFC 4291)",
    "::ffff:0:0/96": "IPv4-mapped address (RFC 4291)",
    "::ffff:0:0:0/96": "outside of global unicast (RFC 4291)",
    "64:ff9b::/96": "behind NAT64 (RFC 6052)",
    "64:ff9b:1::/48": "behind a local NAT64 (RFC 8215)",
    "100::/64": "discard address (RFC 6666)",
    "100:0:0:1::/64": "dummy address (RFC 9780)",
    "2001::/32": "Teredo address (RFC 4380)",
    "2001:1::/48": "IETF protocol assignment (RFC 2928)",
    "2001:2::/48": "benchmarking address (RFC 5180)",
    "2001:10::/28": "ORCHID (RFC 4843)",
    "2001:20::/28": "ORCHID (RFC 7343)",
    "2001:100::/24": "IETF protocol assignment (RFC 2928)",
    "2001:db8::/32": "documentation address (RFC 3849)",
    "2002::/16": "behind 6to4 (RFC 3056)",
    "2620:4f:8000::/48": "AS112 address (RFC 7534)",
    "3fff::/20": "documentation address (RFC 9637)",
    "4000::/3": "outside of global unicast (RFC 4291)",
    "5f00::/16": "segment routing id (RFC 9602)",
    "8000::/3": "outside of global unicast (RFC 4291)",
    "fc00::/7": "private address (RFC 4193)",
    "fe80::/10": "link-local address (RFC 4291)",
    "fec0::/10": "site-local address (RFC 3879)",
    "ff00::/8": "multicast address (RFC 4291)",
}

# The neighbours of the blocks, and some that everybody knows.
PUBLIC = [
    "1.0.0.0",
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.31.195.255",
    "192.31.197.0",
    "192.52.192.255",
    "192.52.194.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "192.175.47.255",
    "192.175.49.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::",
    "2001:200::",
    "2001:4860:4860::8888",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::",
    "2606:4700:4700::1111",
    "2620:4f:7fff:ffff::",
    "2620:4f:8001::",
    "3ffe:ffff::",
    "3fff:1000::",
]


def networks(*texts: str) -> list[Network]:
    return [ip_network(text) for text in texts]


@pytest.mark.parametrize(
    ("address", "reason"),
    [(str(ip_network(block)[index]), reason) for block, reason in BLOCKS.items() for index in (0, -1)],
)
def test_no_address_that_is_not_public_is_let_through(address: str, reason: str) -> None:
    with pytest.raises(BlockedAddress) as caught:
        Guard().check(address)

    assert reason in str(caught.value)
    assert str(ip_address(address)) in str(caught.value)
    assert "network.allow does not name it" in str(caught.value)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_let_through(address: str) -> None:
    Guard().check(address)


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "::ffff:7f00:1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::10.0.0.1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::",
        "fe80::1%1",
        "fd00:ec2::254",
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
    ],
)
def test_metadata_services_and_other_ways_to_write_a_private_address_are_blocked(address: str) -> None:
    with pytest.raises(BlockedAddress):
        Guard().check(address)


@pytest.mark.parametrize(
    ("allow", "address"),
    [
        ("10.1.0.0/16", "10.1.255.255"),
        ("127.0.0.1/32", "127.0.0.1"),
        ("::1/128", "::1"),
        ("fd00::/8", "fdff::1"),
        ("10.0.0.0/8", "::ffff:10.0.0.1"),
        ("::ffff:0:0/96", "::ffff:10.0.0.1"),
        ("64:ff9b::/96", "64:ff9b::808:808"),
    ],
)
def test_an_address_that_network_allow_names_is_let_through(allow: str, address: str) -> None:
    Guard(networks("192.0.2.0/24", allow)).check(address)


@pytest.mark.parametrize(
    ("allow", "address"),
    [
        ("10.1.0.0/16", "10.2.0.0"),
        ("127.0.0.1/32", "127.0.0.2"),
        ("10.0.0.0/8", "64:ff9b::10.0.0.1"),
        ("10.0.0.0/8", "2002:a00:1::"),
        ("10.0.0.0/8", "::10.0.0.1"),
        ("10.0.0.0/8", "::1"),
    ],
)
def test_what_network_allow_does_not_name_stays_blocked(allow: str, address: str) -> None:
    with pytest.raises(BlockedAddress):
        Guard(networks(allow)).check(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0x0.0x0.0x1",
        "017700000001",
        "0177.0.0.1",
        "0",
        "[::1]",
        "::1",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[fe80::1%25eth0]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
    ],
)
def test_a_blocked_host_is_seen_before_anything_is_looked_up(host: str) -> None:
    with pytest.raises(BlockedAddress, match=r"network\.allow"):
        Guard().check_host(host)


@pytest.mark.parametrize(
    "host", ["example.org", "8.8.8.8", "[2606:4700:4700::1111]", "localhost.example.org", "é", ""]
)
def test_other_hosts_are_left_to_the_connection(host: str) -> None:
    Guard().check_host(host)


def test_a_name_for_this_host_is_accepted_when_loopback_is_allowed() -> None:
    Guard(networks("127.0.0.0/8")).check_host("localhost")


def test_the_problem_names_the_host_and_the_address_behind_it() -> None:
    with pytest.raises(BlockedAddress) as caught:
        Guard().check("10.0.0.1")
    error = caught.value

    assert error.found_behind("example.org") == (
        "example.org resolves to 10.0.0.1, a private address (RFC 1918); network.allow does not name it"
    )
    assert error.found_behind("10.0.0.1") == (
        "10.0.0.1 is a private address (RFC 1918); network.allow does not name it"
    )
