"""The guard against server-side request forgery: deliveries reach public addresses, and those in `network.allow`.

What counts is the address of the socket, so neither a literal, a name that resolves there, a second look-up
nor a redirect gets around it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from dispatcher.http.addresses import BlockedAddress

__all__ = ["BlockedAddress", "Guard", "Network"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Every block of the IANA special-purpose address registries, also the few that are routed (AS112, AMT), and
# multicast. `is_global` of ipaddress will not do: it says True for 224.0.0.1 and 64:ff9b::7f00:1. The first
# that fits gives the reason, so a block stands before one that it lies in.
_BLOCKED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(block), reason)
    for block, reason in {
        "0.0.0.0/8": "an address of this network (RFC 791)",
        "10.0.0.0/8": "a private address (RFC 1918)",
        "100.64.0.0/10": "a shared address behind carrier-grade NAT (RFC 6598)",
        "127.0.0.0/8": "a loopback address (RFC 1122)",
        "169.254.0.0/16": "a link-local address (RFC 3927)",
        "172.16.0.0/12": "a private address (RFC 1918)",
        "192.0.0.0/24": "an IETF protocol assignment (RFC 6890)",
        "192.0.2.0/24": "a documentation address (RFC 5737)",
        "192.31.196.0/24": "an AS112 address (RFC 7535)",
        "192.52.193.0/24": "an AMT relay (RFC 7450)",
        "192.88.99.0/24": "a 6to4 relay (RFC 7526)",
        "192.168.0.0/16": "a private address (RFC 1918)",
        "192.175.48.0/24": "an AS112 address (RFC 7534)",
        "198.18.0.0/15": "a benchmarking address (RFC 2544)",
        "198.51.100.0/24": "a documentation address (RFC 5737)",
        "203.0.113.0/24": "a documentation address (RFC 5737)",
        "224.0.0.0/4": "a multicast address (RFC 5771)",
        "255.255.255.255/32": "the broadcast address (RFC 919)",
        "240.0.0.0/4": "a reserved address (RFC 1112)",
        "::/128": "the unspecified address (RFC 4291)",
        "::1/128": "a loopback address (RFC 4291)",
        "::/96": "an IPv4-compatible address (RFC 4291)",
        "::ffff:0:0/96": "an IPv4-mapped address (RFC 4291)",
        "64:ff9b::/96": "an IPv4 address behind NAT64 (RFC 6052)",
        "64:ff9b:1::/48": "an IPv4 address behind a local NAT64 (RFC 8215)",
        "100::/64": "a discard address (RFC 6666)",
        "100:0:0:1::/64": "a dummy address (RFC 9780)",
        "2001::/32": "a Teredo address (RFC 4380)",
        "2001:2::/48": "a benchmarking address (RFC 5180)",
        "2001:10::/28": "an ORCHID (RFC 4843)",
        "2001:20::/28": "an ORCHID (RFC 7343)",
        "2001::/23": "an IETF protocol assignment (RFC 2928)",
        "2001:db8::/32": "a documentation address (RFC 3849)",
        "2002::/16": "an IPv4 address behind 6to4 (RFC 3056)",
        "2620:4f:8000::/48": "an AS112 address (RFC 7534)",
        "3fff::/20": "a documentation address (RFC 9637)",
        "5f00::/16": "a segment routing id (RFC 9602)",
        "fc00::/7": "a private address (RFC 4193)",
        "fe80::/10": "a link-local address (RFC 4291)",
        "fec0::/10": "a site-local address (RFC 3879)",
        "ff00::/8": "a multicast address (RFC 4291)",
    }.items()
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")


class Guard:
    """The address policy of deliveries; `allow` are the networks that may be reached although they are not public."""

    def __init__(self, allow: Sequence[Network] = ()) -> None:
        self._allow = tuple(allow)

    def check(self, text: str) -> None:
        """Raise BlockedAddress when no connection to this address may be made."""
        address = ip_address(text)
        reason = _reason(address)
        if reason is not None and not self._allowed(address):
            raise BlockedAddress(str(address), f"{reason}; network.allow does not name it")

    def check_host(self, host: str) -> None:
        """Raise BlockedAddress when the host of a URL can be seen to be blocked without a look-up.

        That is an address in any notation that a resolver would take for one, and `localhost` (RFC 6761).
        """
        name = host.strip("[]").rstrip(".").lower()
        if name == "localhost" or name.endswith(".localhost"):
            self.check("127.0.0.1")
        elif (address := _literal(name)) is not None:
            self.check(address)

    def _allowed(self, address: Address) -> bool:
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any(address in network or (mapped and mapped in network) for network in self._allow)


def _reason(address: Address) -> str | None:
    for network, reason in _BLOCKED:
        if address in network:
            return reason
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return "outside of global unicast (RFC 4291)"
    return None


def _literal(host: str) -> str | None:
    """The address that a host is, in the notations of inet_aton too (`127.1`, `0x7f000001`); else None."""
    try:
        return str(IPv6Address(host)) if ":" in host else str(IPv4Address(socket.inet_aton(host)))
    except (AddressValueError, OSError, UnicodeEncodeError):
        return None
