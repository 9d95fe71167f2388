"""The parts of gateway.yaml that deal with the network around: `sip: dns:`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from gateway.flow.fields import Fields, Report


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
    if ip and port.isdigit() and 0 < int(port) < 65536:
        return ip, int(port)
    report.add(
        "servers of dns can't be used", f.mark("servers"), read=text, expected="such as 10.0.0.53 or [fd00::1]:53"
    )
    return None
