"""Which connections there are, and how many there may be. Pure: sockets are in streams.py."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from gateway.sip.framing import FrameLimits
from gateway.sip.place import Place


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`total`: connections at once, those we opened included. `per_address`: of strangers, where one IPv6 /64 counts as
    an address. `rate`: new ones a second from one address, once as many as may stand have come. `unread`: bytes that
    may wait for a peer to read them. Seconds: `connect` for a connection we open, `handshake` for TLS and WebSocket,
    `first` until a peer's first message, `stranger` without a word from a peer that was never let in, `idle` without a
    word or keep-alive from one that was; longer than registrations last, so that no phone that sleeps is cut off.
    `ping`: at most so long between keep-alives on connections we opened (RFC 5626 section 4.4.1), `web_ping` on
    WebSockets, which browsers can't keep alive themselves; `pong`: how long their answers may take."""

    total: int = 2000
    per_address: int = 500
    rate: float = 20.0
    unread: int = 262144
    connect: float = 4.0
    handshake: float = 10.0
    first: float = 30.0
    stranger: float = 60.0
    idle: float = 3900.0
    ping: float = 120.0
    web_ping: float = 30.0
    pong: float = 10.0
    frame: FrameLimits = field(default_factory=FrameLimits)


class Connected(Protocol):
    """One connection, or one on its way. `place` has its flow; `opened`: by us."""

    opened: bool

    @property
    def place(self) -> Place: ...


_SOURCES_MAX = 10_000
"""Addresses whose rate is remembered."""

C = TypeVar("C", bound=Connected)


class Connections(Generic[C]):
    """The connections of one endpoint over every transport, by flow and by peer."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._flows: dict[int, C] = {}
        self._peers: dict[tuple[str, str, int, str], C] = {}
        self._sources: Counter[str] = Counter()
        self._strangers: dict[int, C] = {}
        self._spent: dict[str, tuple[float, float]] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._flows.values()))

    def number(self) -> int:
        """A flow number that was never used."""
        self._last += 1
        return self._last

    @property
    def full(self) -> bool:
        """Whether one more has to wait for another one's end."""
        return len(self._flows) >= self.limits.total

    def refuses(self, ip: str, now: float) -> str | None:
        """The counter of the limit that one more connection from a stranger at `ip` would break; None where it may be
        made. `now` in monotonic seconds."""
        key = source(ip)
        if self._sources[key] >= self.limits.per_address:
            return "connections_refused_address"
        return None if self._affords(key, now) else "connections_refused_rate"

    def _affords(self, key: str, now: float) -> bool:
        """A bucket as deep as the connections an address may have, that drains by the rate."""
        spent, at = self._spent.get(key, (0.0, now))
        spent = max(0.0, spent - (now - at) * self.limits.rate)
        if spent + 1.0 > self.limits.per_address:
            return False
        if len(self._spent) >= _SOURCES_MAX and key not in self._spent:
            self._spent = {k: v for k, v in self._spent.items() if v[0] > (now - v[1]) * self.limits.rate}
            if len(self._spent) >= _SOURCES_MAX:
                self._spent.clear()
        self._spent[key] = spent + 1.0, now
        return True

    def stranger(self, known: Callable[[C], bool]) -> C | None:
        """The connection made longest ago by a peer that is not known: the first to go when all are taken. Whoever is
        known when asked for is not asked about again."""
        for flow, connection in list(self._strangers.items()):
            if not known(connection):
                return connection
            del self._strangers[flow]
        return None

    def add(self, connection: C) -> None:
        place = connection.place
        self._flows[place.flow] = connection
        if not connection.opened:
            self._strangers[place.flow] = connection
        self._peers[_peer(place)] = connection
        self._sources[source(place.ip)] += 1

    def remove(self, connection: C) -> None:
        place = connection.place
        if self._flows.pop(place.flow, None) is None:
            return
        self._strangers.pop(place.flow, None)
        if self._peers.get(_peer(place)) is connection:
            del self._peers[_peer(place)]
        key = source(place.ip)
        self._sources[key] -= 1
        if not self._sources[key]:
            del self._sources[key]

    def to(self, place: Place) -> C | None:
        """The connection a message for `place` goes over: its flow, or without one whichever leads to that peer (RFC
        3261 section 18) and proved the name."""
        return self._flows.get(place.flow) if place.flow else self._peers.get(_peer(place))


def source(ip: str) -> str:
    """Whom an address counts for: an IPv6 host picks any address of its /64."""
    if ":" not in ip:
        return ip
    return str(ipaddress.ip_network((ip.partition("%")[0], 64), strict=False).network_address)


def _peer(place: Place) -> tuple[str, str, int, str]:
    return place.transport, place.ip, place.port, place.name
