"""Which addresses a dataset may come from: those of the internet, never of a private network or of this machine. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

_RESERVED: Final = tuple(
    map(
        ip_network,
        (
            "100.64.0.0/10",  # shared by carriers, and by clusters for pods and nodes (RFC 6598)
            "192.0.0.0/24",
            "198.18.0.0/15",  # benchmarks (RFC 2544)
            "168.63.129.16/32",  # the metadata service of Azure
            "64:ff9b:1::/48",
            "fec0::/10",  # site-local, once
        ),
    )
)
_NAT64: Final = ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ip_network("::/96")


def refusal_of(address: Address) -> str | None:
    """Return why nothing is fetched from an address, None where it is one of the internet."""
    for within in _embedded(address):
        if not within.is_global or within.is_multicast or any(within in net for net in _RESERVED):
            return f"{address} is an address of a private network, of this machine or of no host at all"
    return None


def _embedded(address: Address) -> tuple[Address, ...]:
    """Return the address with the IPv4 addresses that it stands for, if it does."""
    if isinstance(address, IPv4Address):
        return (address,)
    found: list[Address] = [address]
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if address in _NAT64 or address in _COMPATIBLE:
        found.append(ip_address(int(address) & 0xFFFFFFFF))
    return tuple(found)
