"""Trunks as configured: who may call us without a phone of ours, and by whom we call numbers outside."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gateway.core.errors import ConfigError
from gateway.sip.auth import Account
from gateway.sip.numbers import full, readings
from gateway.sip.uri import Uri, parse_uri

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVACY = ("keep", "always")
"""Whose number is withheld on a call that goes out: of callers who asked for it, or everybody's."""


@dataclass(frozen=True, slots=True)
class RegisterAs:
    """An address of ours at a peer's registrar, `user` at the trunk's domain, kept alive with `account`. `expires`:
    seconds we ask for."""

    user: str
    account: Account
    expires: int = 600


@dataclass(frozen=True)
class Trunk:
    """A peer that carries calls. Calls come in from `addresses` (IP addresses or networks in CIDR notation), from where
    we registered (`register`), or with the password of `account`; they go out to `server`, by `outbound_proxy`, both
    SIP URIs, or to where `account` registered. `domain`: the host part of addresses there, `server`'s by default.
    `credentials` answer the peer's challenges. `country` is how numbers are dialled there, `number_format` how it wants
    them, `caller_id` our own number, `identity`, `privacy` how callers are named to it; `trust`: its P-Asserted-
    Identity is believed; `refer`: callers who came by it are handed back to it by REFER where they go on to a number
    outside. `max_calls` at once, `per_second` new ones in each direction; 0 is no limit. `failover`:
    trunks that are tried after it; lower `priority` first, `weight` shares among equals. `ping_s`: seconds between
    OPTIONS, 0 for none. `patience_s`: seconds a call out waits for a first answer before it goes on to the next trunk.
    Raises ConfigError where an address or a URI is none."""

    name: str
    addresses: tuple[str, ...] = ()
    server: str = ""
    domain: str = ""
    outbound_proxy: str = ""
    register: RegisterAs | None = None
    account: Account | None = None
    credentials: tuple[Account, ...] = ()
    codecs: tuple[str, ...] = ()
    srtp: str = ""
    country: str | None = None
    number_format: str = "as_is"
    caller_id: str = ""
    identity: str = "from"
    privacy: str = "keep"
    trust: bool = False
    anonymous: bool = True
    refer: bool = False
    max_calls: int = 0
    per_second: float = 0.0
    failover: tuple[str, ...] = ()
    priority: int = 1
    weight: int = 1
    ping_s: float = 0.0
    patience_s: float = 6.0

    def __post_init__(self) -> None:
        _ = self.networks
        for text in (self.server, self.outbound_proxy):
            if text:
                parse_uri(text)

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        found = []
        for text in self.addresses:
            try:
                found.append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                raise ConfigError(
                    f"Trunk {self.name} has an address that is none",
                    read=text,
                    expected="an IP address or a network such as 203.0.113.0/24",
                ) from None
        return tuple(found)

    @cached_property
    def server_uri(self) -> Uri | None:
        return parse_uri(self.server) if self.server else None

    @cached_property
    def proxy_uri(self) -> Uri | None:
        return parse_uri(self.outbound_proxy) if self.outbound_proxy else None

    @cached_property
    def home(self) -> Uri | None:
        """What the host part of addresses there is: the domain, or the server."""
        return Uri("sip", None, self.domain) if self.domain else self.server_uri

    @property
    def accounts(self) -> tuple[Account, ...]:
        """What we answer its challenges with."""
        return self.credentials or ((self.register.account,) if self.register else ())

    @property
    def dials(self) -> bool:
        """Whether calls can go out over it."""
        return bool(self.server or self.account)


@dataclass(frozen=True)
class Destinations:
    """What may be dialled outside, nothing unless it is listed. `allow`, `deny`: beginnings of numbers as `e164` gives
    them (`+49`, `+49900`), `*` for all; the longest that fits decides. `routes`: beginning -> trunks in order, where
    not all take part. `country`: how numbers without + are read. `max_calls` at once, `per_minute` new ones over all
    trunks; 0 is no limit."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    country: str | None = None
    max_calls: int = 0
    per_minute: float = 0.0

    def permits(self, number: str, country: str | None = None) -> bool:
        """Whether `number` may be dialled; of an equally long allow and deny, deny holds, whichever way a peer in
        `country` may read it. What begins with + and is no valid number has to be listed itself."""
        country = country or self.country
        allowed, ways = longest(number, self.allow), readings(number, country)
        if allowed is None or not ways:
            return False
        if number.startswith("+") and number != allowed and not full(number):
            return False
        denied = (longest(way, self.deny) for way in ways)
        return all(each is None or len(allowed.rstrip("*")) > len(each.rstrip("*")) for each in denied)

    def trunks_for(self, number: str) -> tuple[str, ...]:
        """The trunks a route names for `number`, or none where every trunk may carry it."""
        found = longest(number, self.routes)
        return self.routes[found] if found is not None else ()


def longest(number: str, beginnings: Mapping[str, object] | tuple[str, ...]) -> str | None:
    """The longest of `beginnings` that `number` begins with; a trailing * may stand after each."""
    best: str | None = None
    for text in beginnings:
        if number.startswith(text.rstrip("*")) and (best is None or len(text.rstrip("*")) > len(best.rstrip("*"))):
            best = text
    return best
