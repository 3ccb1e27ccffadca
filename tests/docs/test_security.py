"""The list for Squid in docs/security.md denies what the guard of deliveries denies."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network, summarize_address_range

from dispatcher.targets.ssrf_guard import _BLOCKED, Network
from tests.docs.code_blocks import ROOT

MAPPED = IPv6Network("::ffff:0:0/96")


def denied() -> list[Network]:
    """The networks that the page lets Squid deny."""
    page = (ROOT / "docs/security.md").read_text()
    found: list[Network] = []
    for line in re.findall(r"^acl inside dst (.*)$", page, re.MULTILINE):
        for text in line.split():
            first, _, last = text.partition("-")
            if last:
                found += summarize_address_range(IPv6Address(first), IPv6Address(last))
            else:
                found.append(ip_network(first))
    return found


def covers(networks: list[Network], one: Network) -> bool:
    first, last = int(one.network_address), int(one.broadcast_address)
    return any(
        network.version == one.version
        and int(network.network_address) <= first <= last <= int(network.broadcast_address)
        for network in networks
    )


def test_everything_that_the_guard_denies_is_denied() -> None:
    """But for IPv4 addresses that are written as IPv6 ones: to Squid they are the same."""
    networks = denied()
    missing = [block for block, _ in _BLOCKED if block != MAPPED and not covers(networks, block)]
    assert missing == []


def test_what_is_not_global_unicast_is_denied() -> None:
    networks = denied()
    for text in (
        "1::1",
        "0:0:0:1::",
        "64:ff9b::7f00:1",
        "100::1",
        "1fff::1",
        "4000::1",
        "8000::1",
        "ffff::1",
    ):
        assert any(ip_address(text) in network for network in networks), text


def test_public_addresses_are_not_denied() -> None:
    networks = denied()
    for text in ("1.1.1.1", "9.9.9.9", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1"):
        assert not any(ip_address(text) in network for network in networks), text


def test_no_network_has_the_addresses_that_are_ipv4_to_squid() -> None:
    """It drops one of two that overlap: `::/3` beside `10.0.0.0/8`."""
    assert not [one for one in denied() if one.version == 6 and one.overlaps(MAPPED)]
