"""Which of this machine's addresses media is heard on, and which a peer is told."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.errors import MediaError

ANY = {4: "0.0.0.0", 6: "::"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def family(ip: str) -> int:
    """4 or 6."""
    return 6 if ":" in ip else 4


@dataclass(frozen=True, slots=True)
class Addresses:
    """`hosts`: the IP addresses that the gateway listens on, 0.0.0.0 or :: for all. `told`: what peers are told in
    place of those, one of a family; `outside` gives what a peer beyond a NAT is told, "" where there is none."""

    hosts: tuple[str, ...] = ("127.0.0.1",)
    told: tuple[str, ...] = ()
    outside: Callable[[str], str] = lambda peer: ""

    def bind(self, peer: str) -> str:
        """Where a leg listens that speaks with `peer`, an IP address. Raises MediaError where the gateway listens to no
        address of its family."""
        wanted = family(peer)
        if any(host in ANY.values() for host in self.hosts):
            return ANY[wanted]
        found = next((host for host in self.hosts if family(host) == wanted), None)
        if found is None:
            raise MediaError(
                f"The gateway has no IPv{wanted} address for media.",
                read=", ".join(self.hosts),
                do=f"have sip: listen to an IPv{wanted} address too",
            )
        return found

    def towards(self, peer: str) -> str:
        """The address that `peer` is told. Raises MediaError as bind does."""
        self.bind(peer)
        return self._told(peer) or self.outside(peer) or self.own(peer)

    def own(self, peer: str) -> str:
        """The address that a peer on this side of a NAT is told: the configured one, the one listened on, or this
        machine's own on the way there. Nothing is sent. Raises MediaError as bind does."""
        wanted = family(peer)
        known = self._told(peer) or self.bind(peer)
        if known != ANY[wanted]:
            return known
        with socket.socket(socket.AF_INET6 if wanted == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((peer, 9))
            except OSError:
                return LOOPBACK[wanted]
            return str(ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]))

    def _told(self, peer: str) -> str:
        return next((told for told in self.told if family(told) == family(peer)), "")
