"""Which of this machine's addresses media is heard on, and which a peer is told."""

from __future__ import annotations

import ipaddress
import socket
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
    place of the machine's own address, at most one of each family."""

    hosts: tuple[str, ...] = ("127.0.0.1",)
    told: tuple[str, ...] = ()

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
        """The address that `peer` is told: the configured one of its family, the one listened on, or this machine's own
        on the way there. Nothing is sent. Raises MediaError as bind does."""
        wanted = family(peer)
        bound = self.bind(peer)
        for told in self.told:
            if family(told) == wanted:
                return told
        if bound != ANY[wanted]:
            return bound
        with socket.socket(socket.AF_INET6 if wanted == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((peer, 9))
            except OSError:
                return LOOPBACK[wanted]
            return str(ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]))
