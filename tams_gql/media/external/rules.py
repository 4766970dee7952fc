"""What an operator allows to be read from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tams_gql.media.external.addresses import Network
from tams_gql.model.errors import Forbidden

_PORTS: Final = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


class HostRule(NamedTuple):
    """A host that may be read: ``*`` for all, ``*.domain`` for all below a domain.

    ``port`` is the only one; None for the standard ports of HTTP and HTTPS.
    """

    host: str
    port: int | None = None

    def allows(self, host: str, port: int) -> bool:
        """Whether it names this host, which is in lower case, and port."""
        if port not in (_PORTS.values() if self.port is None else (self.port,)):
            return False
        if self.host.startswith("*."):
            # The zone of an IPv6 address may end like a name.
            return host.endswith(self.host[1:]) and ":" not in host
        return self.host in ("*", host)


def host_rule(text: str) -> HostRule:
    """Read ``*``, a host name, ``*.domain`` or an address, with a port or not.

    Raises ValueError; addresses of IPv6 stand in brackets.
    """
    host, port = text.strip().lower(), ""
    if not host.endswith("]") and ":" in host:
        host, _, port = host.rpartition(":")
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            raise ValueError(f"{text!r} has no port between 1 and 65535 behind its colon")
    if host.startswith("[") and host.endswith("]"):
        host = str(ip_address(host[1:-1]))
    elif host != "*" and not _NAME.fullmatch(host):
        raise ValueError(f"{text!r} is not a host name")
    return HostRule(host, int(port) if port else None)


def network_rule(text: str) -> Network:
    """Read a network such as ``10.1.0.0/16``. Raises ValueError."""
    return ip_network(text.strip())


@dataclass(frozen=True, slots=True)
class ExternalRules:
    """What may be read. Without ``hosts`` nothing may.

    ``networks`` may be connected to although they are not public. ``max_bytes`` is the size of the
    largest object, ``timeout`` how long reading one may take at most, in seconds.
    """

    hosts: tuple[HostRule, ...] = ()
    networks: tuple[Network, ...] = ()
    max_bytes: int = 5 * 2**30
    timeout: int = 1_800

    def check(self, url: str) -> None:
        """Raise Forbidden unless the URL's scheme, host and port may be read."""
        try:
            parts = urlsplit(url)
            self.check_place(parts.scheme, parts.hostname or "", parts.port)
        except ValueError:
            raise Forbidden("the URL of the external copy cannot be read") from None

    def check_place(self, scheme: str, host: str, port: int | None) -> None:
        """The same for the parts of a URL. No part of it is in the error: it may be a secret."""
        if scheme not in _PORTS:
            raise Forbidden("an external copy is read with http or https only")
        name = host.lower().removesuffix(".")
        wanted = _PORTS[scheme] if port is None else port
        if not any(rule.allows(name, wanted) for rule in self.hosts):
            raise Forbidden(
                "the settings do not allow to read from the host of the external copy"
                " (external_copy_hosts)"
            )
