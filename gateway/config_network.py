"""The parts of gateway.yaml that deal with the network around: `sip: dns:` and `defence:`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from gateway.flow.fields import Fields, Report
from gateway.flow.nodes import Node
from gateway.sip.guard import Defence, Rate


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """`servers`: addresses and ports in place of the system's; none: the system's. `timeout`: seconds for one
    question, all servers and tries."""

    servers: tuple[tuple[str, int], ...] = ()
    timeout: float = 4.0


def read_dns(f: Fields, report: Report) -> DnsSettings:
    """Takes the keys of `dns:`; what is wrong is noted."""
    default = DnsSettings()
    servers = [found for text in f.texts("servers", ()) if (found := _server(text, f, report))]
    timeout = f.duration("timeout", default.timeout, 0.1)
    return DnsSettings(tuple(servers), timeout)


def _server(text: str, f: Fields, report: Report) -> tuple[str, int] | None:
    """`10.0.0.53`, `10.0.0.53:5353`, `fd00::53` or `[fd00::53]:5353`."""
    host, port = text, "53"
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":")
    try:
        ip = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        ip = ""
    if ip and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return ip, int(port)
    report.add(
        "servers of dns can't be used", f.mark("servers"), read=text, expected="such as 10.0.0.53 or [fd00::1]:53"
    )
    return None


def read_defence(f: Fields, report: Report) -> Defence:
    """Takes the keys of `defence:`; what is wrong is noted."""
    default = Defence()
    first = f.duration("lockout", default.lockout[0], 0.1)
    return Defence(
        requests=_rate(f, "requests", default.requests, report),
        registers=_rate(f, "registers", default.registers, report),
        invites=_rate(f, "invites", default.invites, report),
        others=_rate(f, "others", default.others, report),
        strangers=_rate(f, "strangers", default.strangers, report),
        lockout=(first, f.duration("longest_lockout", max(first, default.lockout[1]), first)),
        trusted=_networks(f, default.trusted, report),
        scanners=tuple(each.lower() for each in f.texts("scanners", default.scanners)),
        max_message=f.integer("message_size", default.max_message, 1300, 1_000_000),
        max_headers=f.integer("headers", default.max_headers, 20, 10_000),
    )


def _rate(f: Fields, name: str, default: Rate, report: Report) -> Rate:
    node = f.node_of(name)
    if node is None:
        return default
    with Fields(node if node.value is not None else Node({}, node.mark), report, name) as g:
        rate = g.number("per_second", default.per_second, 0.01, 1e6)
        return Rate(rate, g.integer("burst", default.burst, 1, 1_000_000))


def _networks(f: Fields, default: tuple[str, ...], report: Report) -> tuple[str, ...]:
    found: tuple[str, ...] = f.texts("trusted", default)
    for text in found:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            expected = "IP addresses or networks such as 192.0.2.0/24"
            report.add("trusted of defence can't be used", f.mark("trusted"), read=text, expected=expected)
            return default
    return found
