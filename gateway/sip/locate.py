"""Where a URI leads (RFC 3263): which DNS questions to ask, and what the answers make of it. Asks nobody itself."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

from gateway.sip.place import DEFAULT_PORTS, SECURE, Place
from gateway.sip.uri import Uri, ip_of

MAX_SERVICES = 8
MAX_TARGETS = 16
MAX_ADDRESSES = 8
MAX_PLACES = 24
"""What is made of one name: services tried, SRV targets, addresses of each target, places in all."""

_NAMED = {
    "sip": {"udp": "udp", "tcp": "tcp", "tls": "tls", "ws": "ws", "wss": "wss"},
    "sips": {"tcp": "tls", "tls": "tls", "ws": "wss", "wss": "wss"},
}
"""What `transport=` means in each scheme; anything else can't be sent (RFC 3261 26.2.2, RFC 7118 section 5)."""

_PLAIN = {"sip": "udp", "sips": "tls"}
"""Where neither the URI nor DNS names a transport (RFC 3263 section 4.1)."""

_NAPTR = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls", "SIP+D2W": "ws", "SIPS+D2W": "wss"}
_SRV = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp", "ws": "_sip._ws", "wss": "_sips._ws"}
_GUESSED = {"sip": ("udp", "tcp"), "sips": ("tls",)}
"""Transports whose SRV records are asked for where there is no NAPTR record."""


_EVERYBODY = ipaddress.ip_address("255.255.255.255")


class Query(NamedTuple):
    """`kind`: NAPTR, SRV, A or AAAA. `name` without a dot at its end, in lower case."""

    name: str
    kind: str


class Naptr(NamedTuple):
    """RFC 3403 section 4.1, without the regular expression: SIP uses the replacement alone."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


class Srv(NamedTuple):
    """RFC 2782. An empty `target`: this service is not offered here."""

    priority: int
    weight: int
    port: int
    target: str


Record = Naptr | Srv | str
"""A string is an address, the answer to A and AAAA."""

Answers = Mapping[Query, Sequence[Record]]
Steps = Generator[tuple[Query, ...], Answers, list[Place]]
"""Yields the questions to ask next, is sent their answers (one left out counts as empty), returns the places."""


def locate(
    uri: Uri,
    transports: Sequence[str],
    families: Sequence[str],
    rng: random.Random,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Steps:
    """The places to try for a URI, best first; none where it can't be reached. `transports`: what we can send over, in
    order of liking. `families`: A and AAAA in order of liking. `rng` spreads calls over equal servers by weight.
    `names`: host names with an address of their own, that nobody is asked about."""
    if uri.scheme not in _NAMED or not uri.host:
        return []
    target = _target(uri)
    transport = _transport(uri, target, transports)
    if transport == "":
        return []
    if ip := ip_of(target) or names.get(target):
        return [_place(ip, uri.port, transport or _default(uri, transports), uri)] if _usable(ip) else []
    if uri.port is not None:
        goals = [Srv(0, 0, uri.port, target)]
        return (yield from _addresses([(transport or _default(uri, transports), goals)], families, uri))
    services = [(transport, f"{_SRV[transport]}.{target}")] if transport else []
    if not services:
        asked = Query(target, "NAPTR")
        services = _services((yield (asked,)).get(asked, ()), uri.scheme, transports)
    fallback = services[0][0] if services else _default(uri, transports)
    if not services:
        services = [(each, f"{_SRV[each]}.{target}") for each in transports if each in _GUESSED[uri.scheme]]
    answers = yield tuple(dict.fromkeys(Query(name, "SRV") for _, name in services))
    found = [(each, _sorted(answers.get(Query(name, "SRV"), ()), rng)) for each, name in services]
    offered = [(each, [srv for srv in records if srv.target]) for each, records in found]
    if not any(records for _, records in found):
        offered = [(fallback, [Srv(0, 0, 0, target)])]
    return (yield from _addresses(offered, families, uri))


def _target(uri: Uri) -> str:
    """RFC 3263 section 4: `maddr`, or the host."""
    return (uri.param("maddr") or uri.host).rstrip(".").lower()


def _transport(uri: Uri, target: str, transports: Sequence[str]) -> str | None:
    """The transport that a URI itself settles; None where DNS may say, "" where we can't send there."""
    asked = uri.param("transport")
    if asked:
        named = _NAMED[uri.scheme].get(asked.lower(), "")
        return named if named in transports else ""
    usable = any(each in transports for each in _NAMED[uri.scheme].values())
    return None if target and usable else ""


def _default(uri: Uri, transports: Sequence[str]) -> str:
    plain = _PLAIN[uri.scheme]
    usable = (each for each in transports if each in _NAMED[uri.scheme].values())
    return plain if plain in transports else next(usable)


def _services(records: Iterable[Record], scheme: str, transports: Sequence[str]) -> list[tuple[str, str]]:
    """Transport and SRV name of each NAPTR record that is of use, by order and preference. Those that point at
    anything but SRV records (RFC 3263 4.1), or to a transport we lack, are passed over."""
    found: list[tuple[str, str]] = []
    for record in sorted(each for each in records if isinstance(each, Naptr)):
        transport = _NAPTR.get(record.service.upper(), "")
        secure = scheme != "sips" or transport in SECURE
        if record.flags.lower() == "s" and record.replacement and transport in transports and secure:
            found.append((transport, record.replacement))
    return list(dict.fromkeys(found))[:MAX_SERVICES]


def _sorted(records: Iterable[Record], rng: random.Random) -> list[Srv]:
    """By priority; within one, drawn one after the other with chances by weight (RFC 2782)."""
    drawn: list[Srv] = []
    srvs = sorted(each for each in records if isinstance(each, Srv))[: MAX_TARGETS * 4]
    for _, group in groupby(srvs, key=lambda srv: srv.priority):
        left = list(group)
        rng.shuffle(left)
        left.sort(key=lambda srv: srv.weight > 0)  # weight 0 stands first, which leaves it a small chance
        while left:
            point, sum_so_far, chosen = rng.randint(0, sum(srv.weight for srv in left)), 0, 0
            for chosen, srv in enumerate(left):  # noqa: B007
                sum_so_far += srv.weight
                if sum_so_far >= point:
                    break
            drawn.append(left.pop(chosen))
    return drawn[:MAX_TARGETS]


def _addresses(services: Sequence[tuple[str, Sequence[Srv]]], families: Sequence[str], uri: Uri) -> Steps:
    """Asks for the addresses of every target and lines the places up; a port of 0 is the transport's own."""
    names = dict.fromkeys(srv.target for _, goals in services for srv in goals)
    answers: Answers = {}
    if names:
        answers = yield tuple(Query(name, kind) for name in list(names)[:MAX_TARGETS] for kind in families)
    places: dict[Place, None] = {}
    for transport, goals in services:
        for srv in goals:
            for kind in families:
                for ip in answers.get(Query(srv.target, kind), ())[:MAX_ADDRESSES]:
                    if isinstance(ip, str) and _usable(ip):
                        places[_place(ip, srv.port, transport, uri)] = None
    return list(places)[:MAX_PLACES]


def _usable(ip: str) -> bool:
    """Nothing is sent to everybody, to groups, or to no address, whatever DNS says."""
    address = ipaddress.ip_address(ip)
    address = getattr(address, "ipv4_mapped", None) or address
    return not (address.is_multicast or address.is_unspecified or address == _EVERYBODY)


def _place(ip: str, port: int | None, transport: str, uri: Uri) -> Place:
    """`name` is the URI's own host, never what DNS made of it (RFC 5922 section 4)."""
    name = uri.host.strip("[]").rstrip(".").lower() if transport in SECURE else ""
    return Place(ip, port or DEFAULT_PORTS[transport], transport, 0, name)
