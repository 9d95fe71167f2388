"""Where messages come from and go: an address, a transport, and the connection between."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}
"""Transports by the name that URIs give them, and the port each has where none is named (RFC 3261 19.1.2, RFC 7118)."""


SECURE = frozenset(("tls", "wss"))


class Place(NamedTuple):
    """`ip` without brackets. `transport`: udp, tcp, tls, ws or wss. `flow`: the number of a connection (0: none yet),
    over UDP that of our socket. `name`: the host name that a TLS certificate has to show, "" for none."""

    ip: str
    port: int
    transport: str = "udp"
    flow: int = 0
    name: str = ""

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats what is lost by itself (RFC 3261 section 17)."""
        return self.transport != "udp"

    def reaches(self, other: Place) -> bool:
        """Whether a connection to this place is the one that `other` was, or will be, reached by."""
        return self[:3] == other[:3] and (not other.flow or not self.flow or self.flow == other.flow)
