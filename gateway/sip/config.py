"""What an Endpoint is told about the world: its own name, who may call and register, what may be dialled, limits."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gateway.core.errors import ConfigError
from gateway.sip.auth import ALGORITHMS, Account
from gateway.sip.certificates import Certificate
from gateway.sip.codecs import CODECS
from gateway.sip.connections import ConnectionLimits
from gateway.sip.crypto import NEVER, POLICIES
from gateway.sip.guard import Defence
from gateway.sip.place import DEFAULT_PORTS
from gateway.sip.registrar import RegistrarSettings
from gateway.sip.states import Base
from gateway.sip.trunks import Destinations, Trunk
from gateway.sip.uri import Uri, hostport, ip_of

__all__ = ["Account", "SipConfig", "Trunk"]

RELIABLE = ("never", "supported", "required")
LOCAL_NETWORKS = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""Networks that no NAT of ours stands before (RFC 1918, 6598, 3927, 4193, 4291)."""


@dataclass(frozen=True)
class SipConfig:
    """`domain`: our name, the part after @ in our users' addresses and the digest realm. `host`, `port`: what peers are
    told to send to over UDP (port 0: the one that is bound), `host6` where they speak IPv6; `ports`: the same of other
    transports by name. `advertise`: host and port by transport for peers outside the `local` networks, who see us
    through a NAT. `certificate`: what is shown and trusted over TLS; `connections`: limits of TCP, TLS and WebSocket;
    `origins`: pages that may connect by WebSocket, any where none is named. `aliases`: other hosts a Request-URI may
    name. `accounts`: who may register and call with digest. `destinations`: user parts that may be dialled; a trailing
    * stands for any rest; nothing listed, nothing taken. `credentials`: what we answer other people's challenges with.
    `names`: host names we can send to -> IP address. `codecs`: what may be agreed, in order of liking; `srtp`:
    never, optional or required.
    `session_expires`: how long a call may stand without a refresh (RFC 4028), 0 for no timer of ours; `min_se`: less is
    refused. `reliable`: whether provisional responses are acknowledged (RFC 3262): never, supported (where the peer
    asks for it, and for early media to a peer that knows how), required. Times in seconds, sizes in bytes."""

    domain: str = "trunkline.local"
    host: str = "127.0.0.1"
    port: int = 0
    host6: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    advertise: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    local: tuple[str, ...] = LOCAL_NETWORKS
    certificate: Certificate = field(default_factory=Certificate)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    origins: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()
    trunks: tuple[Trunk, ...] = ()
    outside: Destinations = field(default_factory=Destinations)
    """What may be called over the trunks."""
    destinations: tuple[str, ...] = ()
    credentials: tuple[Account, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    srtp: str = NEVER
    user: str = "trunkline"
    user_agent: str = "Trunkline"
    registrar: RegistrarSettings = field(default_factory=RegistrarSettings)
    max_calls: int = 2000
    session_expires: int = 1800
    min_se: int = 90
    reliable: str = "supported"
    base: Base = field(default_factory=Base)
    defence: Defence = field(default_factory=Defence)

    def __post_init__(self) -> None:
        algorithms = self.registrar.algorithms
        if {*algorithms} - {*ALGORITHMS}:
            read, expected = ", ".join(algorithms), " or ".join(ALGORITHMS)
            raise ConfigError("A digest algorithm is not known", read=read, expected=expected)
        if self.srtp not in POLICIES:
            raise ConfigError("A policy for SRTP is not known", read=self.srtp, expected=" or ".join(POLICIES))
        if self.reliable not in RELIABLE:
            raise ConfigError("100rel is not set so", read=self.reliable, expected=" or ".join(RELIABLE))
        unknown = sorted({*self.codecs} - {*CODECS})
        if unknown or not self.codecs:
            raise ConfigError("A codec is not known", read=", ".join(unknown), expected=", ".join(CODECS))

    @cached_property
    def transports(self) -> tuple[str, ...]:
        """What requests may leave over, in order of liking; a browser can't be connected to (RFC 7118), its own
        connection is used."""
        return tuple(name for name in DEFAULT_PORTS if name in ("udp", "tcp", "tls", *self.ports))

    @cached_property
    def _local(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(text) for text in self.local)

    def told(self, transport: str, ip: str) -> tuple[str, int]:
        """Our host and port as a peer at `ip` is told them."""
        outside = self.advertise.get(transport)
        if outside and _reaches(outside[0], ip) and not any(ipaddress.ip_address(ip) in net for net in self._local):
            return outside
        host = self.host6 if self.host6 and ":" in ip else self.host
        return host, self.port if transport == "udp" else self.ports.get(transport, self.port)

    @cached_property
    def sent_by(self) -> frozenset[str]:
        """Everything our own Vias may name."""
        ports = {"udp": self.port, **self.ports}.values()
        own = {(host, port) for host in (self.host, self.host6) if host for port in ports}
        return frozenset(hostport(host.lower(), port) for host, port in {*own, *self.advertise.values()})

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Hosts a Request-URI may name when it means us."""
        outside = (host for host, _ in self.advertise.values())
        return frozenset(h.lower() for h in (self.domain, self.host, self.host6, *self.aliases, *outside))

    def means_us(self, host: str) -> bool:
        """Whether a URI's host is ours: a configured name, or any IP address, since what arrives under an address of a
        NAT or of another interface was sent to us, and nothing is ever sent on."""
        return host.lower() in self.hosts or ip_of(host) is not None

    def serves(self, user: str) -> bool:
        """Whether somebody configured that `user` may be dialled."""
        for pattern in self.destinations:
            if user == pattern or (pattern.endswith("*") and user.startswith(pattern[:-1])):
                return True
        return False

    def aor(self, user: str) -> str:
        """The address of record of one of our users."""
        return str(Uri("sip", user, self.domain))


def _reaches(host: str, ip: str) -> bool:
    """Whether a peer at `ip` can use `host`: a name, or an address of its own family."""
    address = ip_of(host)
    return address is None or (":" in address) == (":" in ip)
