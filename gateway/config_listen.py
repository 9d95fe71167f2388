"""The parts of gateway.yaml's `sip:` that say where SIP is heard, by which certificates, and what peers are told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.core.errors import ConfigError
from gateway.flow.fields import Fields, Report, text_of
from gateway.flow.nodes import Node
from gateway.sip.certificates import VERIFY, Certificate, Contexts, Pair
from gateway.sip.config import LOCAL_NETWORKS, SipConfig
from gateway.sip.connections import ConnectionLimits
from gateway.sip.edge import Listen
from gateway.sip.place import DEFAULT_PORTS
from gateway.sip.uri import ip_of

TRANSPORTS = tuple(DEFAULT_PORTS)
EVERYWHERE = ("0.0.0.0", "::")
_URL = re.compile(r"(?:([A-Za-z0-9]+)://)?(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+)(?::([0-9]{1,5}))?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_ORIGIN = re.compile(r"https?://[^/\s]+")
_EXPECTED = "such as 0.0.0.0:5060, or a list of udp://0.0.0.0:5060, tcp://[::]:5060, tls://0.0.0.0:5061"

Advertised = Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class SipListen:
    """`listen` in the order written; `advertise`: host and port by transport for peers outside the `local` networks."""

    listen: tuple[Listen, ...] = (Listen("udp", "0.0.0.0", 5060), Listen("tcp", "0.0.0.0", 5060))
    advertise: Advertised = field(default_factory=dict)
    local: tuple[str, ...] = LOCAL_NETWORKS
    certificate: Certificate = field(default_factory=Certificate)
    origins: tuple[str, ...] = ()
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)

    @classmethod
    def at(cls, host: str, port: int) -> SipListen:
        """UDP and TCP at one address."""
        return cls((Listen("udp", host, port), Listen("tcp", host, port)))

    @property
    def host(self) -> str:
        """The IPv4 address all listeners share, or 0.0.0.0 where they don't; empty where none listens on IPv4."""
        hosts = {each.host for each in self.listen if ":" not in each.host}
        return hosts.pop() if len(hosts) == 1 else "0.0.0.0" if hosts else ""

    def outside(self, ip: str) -> str:
        """The address that a peer at `ip` has to be told for media, where it sees us through a NAT; else empty."""
        host = next((host for host, _ in self.advertise.values() if _address(host)), "")
        if not host or (":" in host) != (":" in ip):
            return ""
        address = ipaddress.ip_address(ip)
        return "" if any(address in ipaddress.ip_network(text) for text in self.local) else host

    def applied(self, config: SipConfig, own: Callable[[str], str]) -> SipConfig:
        """`config` with what peers are told of us. `own` gives this machine's address on the way to another one."""
        v4, v6 = ([each.host for each in self.listen if (":" in each.host) is six] for six in (False, True))
        ports = {each.transport: each.port for each in reversed(self.listen) if each.port}
        return replace(
            config,
            host=_told(v4[0], own("192.0.2.1")) if v4 else "127.0.0.1",
            host6=_told(v6[0], own("2001:db8::1")) if v6 else "",
            port=ports.pop("udp", 0),
            ports=ports,
            advertise=self.advertise,
            local=self.local,
            certificate=self.certificate,
            connections=self.connections,
            origins=self.origins,
            aliases=tuple(dict.fromkeys((*config.aliases, *v4, *v6, "127.0.0.1", "localhost"))),
        )


def _told(bound: str, own: str) -> str:
    return own if bound in EVERYWHERE else bound


def read_listen(f: Fields, base: Path, report: Report) -> SipListen:
    """Takes the keys listen, advertise, local_networks, tls, origins and connections of `sip:`; what is wrong is noted.
    Paths count from `base`."""
    default = SipListen()
    tls = f.node_of("tls")
    certificate = _certificate(Fields(tls, report, "tls"), base, report) if tls else default.certificate
    listen = _listens(f, certificate, report) or default.listen
    local = tuple(text for text in f.texts("local_networks", default.local) if _network(text, f, report))
    origins = f.texts("origins", ())
    for text in origins:
        if not _ORIGIN.fullmatch(text):
            report.add("origins of sip can't be used", f.mark("origins"), read=text, expected="such as https://HOST")
    return SipListen(
        listen, _advertised(f, listen, report), local, certificate, origins, _limits(f, default.connections, report)
    )


def _listens(f: Fields, certificate: Certificate, report: Report) -> tuple[Listen, ...]:
    found: list[Listen] = []
    for node in _items(f, "listen"):
        for each in _urls(node, "listen of sip", report):
            taken = {(_kind(one.transport), one.host, one.port) for one in found}
            if not _address(each.host):
                report.add("listen of sip can't be used", node.mark, read=each.host, expected="an IP address")
            elif each.port and (_kind(each.transport), each.host, each.port) in taken:
                report.add("two listeners of sip want one port", node.mark, read=text_of(node))
            elif each.transport in ("tls", "wss") and not (certificate.pairs or _names_one(f)):
                report.add(
                    f"{each.transport} needs a certificate",
                    node.mark,
                    do="name one: tls: {certificate: FILE, key: FILE} under sip:",
                )
            else:
                found.append(each)
    return tuple(found)


def _names_one(f: Fields) -> bool:
    """Whether a certificate is named, good or not."""
    tls = f.node_of("tls")
    return tls is not None and any(key in ("certificate", "key", "names") for key, _ in tls.items())


def read_domain(f: Fields, default: str, report: Report) -> str:
    """`domain`, which stands in our own addresses."""
    text: str = f.text("domain", default)
    if _HOST.fullmatch(text) or ip_of(text):
        return text
    report.add("domain of sip can't be used", f.mark("domain"), read=text, expected="a name such as sip.example.com")
    return default


def _items(f: Fields, key: str) -> list[Node]:
    node = f.node_of(key)
    if node is None or node.value is None:
        return []
    return list(node.value) if isinstance(node.value, list) else [node]


def _urls(node: Node, what: str, report: Report) -> list[Listen]:
    """What one address stands for: itself, or UDP and TCP where it names no transport."""
    text = text_of(node) or ""
    match = _URL.fullmatch(text)
    port = int(match[3]) if match and match[3] else None
    if match is None or (port or 0) > 65535 or not (match[1] or match[3]):
        report.add(f"{what} can't be used", node.mark, read=node.shown(), expected=_EXPECTED)
        return []
    name, host = (match[1] or "").lower(), match[2].strip("[]")
    if name and name not in DEFAULT_PORTS:
        report.unknown("transport", name, TRANSPORTS, node.mark)
        return []
    return [
        Listen(each, host, DEFAULT_PORTS[each] if port is None else port)
        for each in ([name] if name else ("udp", "tcp"))
    ]


def _advertised(f: Fields, listen: tuple[Listen, ...], report: Report) -> Advertised:
    found: dict[str, tuple[str, int]] = {}
    for node in _items(f, "advertise"):
        text = text_of(node) or ""
        alone = _address(text.strip("[]")) or (_HOST.fullmatch(text) is not None)
        places = (
            [Listen(each.transport, text.strip("[]"), each.port) for each in listen]
            if alone
            else _urls(node, "advertise of sip", report)
        )
        for each in places:
            if not _reachable(each.host) or not each.port:
                report.add("advertise of sip can't be used", node.mark, read=text, expected="an address others reach")
                break
            elif each.transport in found:
                report.add(f"{each.transport} is advertised twice", node.mark, read=text)
            else:
                found[each.transport] = each.host, each.port
    return found


def _reachable(host: str) -> bool:
    """Whether it is a name, or an address of one machine."""
    if not _address(host):
        return _HOST.fullmatch(host) is not None
    address = ipaddress.ip_address(host)
    return not (address.is_unspecified or address.is_multicast)


def _certificate(f: Fields, base: Path, report: Report) -> Certificate:
    """`tls:`: certificate and key, more of them under names:, authorities, verify."""
    pairs: list[Pair] = []
    with f:
        if f.node_of("certificate") or f.node_of("key"):
            _pair(f, base, pairs, report)
        for node in f.sequence("names"):
            with Fields(node, report, "a name of tls") as g:
                _pair(g, base, pairs, report)
        verify = f.choice("verify", VERIFY, "server")
        authorities = f.text("authorities", None)
        made = Certificate(tuple(pairs), base / authorities if authorities else None, verify)
        try:
            Contexts(replace(made, pairs=()))
        except ConfigError as error:
            report.add(error.what, f.mark("authorities"), do=error.do)
    return made


def _pair(f: Fields, base: Path, pairs: list[Pair], report: Report) -> None:
    certificate, key = f.text("certificate"), f.text("key")
    if not certificate or not key:
        return
    pair = Pair(base / certificate, base / key)
    try:
        Contexts(Certificate((pair,), verify="none"))
    except ConfigError as error:
        at = "key" if error.what.startswith("key") else "certificate"
        report.add(error.what, f.mark(at), do=error.do)
        return
    pairs.append(pair)


def _limits(f: Fields, default: ConnectionLimits, report: Report) -> ConnectionLimits:
    node = f.node_of("connections")
    if node is None or node.value is None:
        return default
    with Fields(node, report, "connections") as g:
        return replace(
            default,
            total=g.integer("total", default.total, 1, 100_000),
            per_address=g.integer("per_address", default.per_address, 1, 100_000),
            idle=g.duration("idle", default.idle, 60.0),
        )


def _network(text: str, f: Fields, report: Report) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        report.add(
            "local_networks of sip can't be used", f.mark("local_networks"), read=text, expected="such as 10.0.0.0/8"
        )
        return False
    return True


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _kind(transport: str) -> str:
    return "udp" if transport == "udp" else "tcp"
