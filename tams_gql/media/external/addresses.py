"""Which addresses a URL that a client gave may lead to."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# A gateway turns these into IPv4: what counts is the address at their end.
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
# Global by the book, but within a cloud or behind a tunnel they lead to what is near.
_NEAR: Final = tuple(
    map(
        ip_network,
        (
            *("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24"),
            *("2002::/16", "64:ff9b:1::/48", "fec0::/10"),
        ),
    )
)


def connected(text: str) -> Address:
    """The address that a socket address means, in the form that decides where packets go.

    Raises ValueError if it is none.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return IPv4Address(address.packed[-4:])
    return address


def may_be_read(address: Address, networks: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks, or belongs to the public internet.

    Loopback, private, link-local (with the metadata services of clouds), carrier-grade, multicast
    and reserved addresses do not.
    """
    if any(address in network for network in networks):
        return True
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not any(address in near for near in _NEAR)
