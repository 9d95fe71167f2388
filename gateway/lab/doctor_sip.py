"""What stands between a phone and this gateway: ports, addresses, certificates, clock, trunks, and who was refused."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gateway
from gateway.config import GatewayConfig, load_agents
from gateway.config_listen import EVERYWHERE
from gateway.core.errors import TrunklineError
from gateway.lab.row import Row
from gateway.media.addresses import Addresses
from gateway.sip.certificates import Contexts
from gateway.sip.config import SipConfig
from gateway.sip.edge import Listen
from gateway.sip.udp import receive_buffer, who_holds
from gateway.trunks_file import load_trunks

Report = Mapping[str, Any]
Ask = Callable[[tuple[str, int], str], Report | None]

OUTSIDE = {4: "203.0.113.1", 6: "2606:4700::1"}
"""Addresses that are in nobody's own network (a documentation network, and a public one): nothing is sent there."""
INSIDE = {4: "192.168.0.1", 6: "fd00::1"}
SOON_DAYS = 14
MOST_SHOWN = 5
_DEMO = "-demo-2611"
_ADJUSTED_US = 16_000_000
"""A clock whose error may be larger is not synchronised, as systemd counts."""

WHY_NOT_REGISTERED = {
    400: "its registration can't be read, or its Contact leads nowhere",
    403: "a wrong password, the name of another agent, or more contacts than registrar: allows",
    404: "it registers at a domain that is not ours: see domain: under sip:",
}
"""Where a REGISTER's status means something else than a call's."""

WHY = {
    400: "its message can't be read: look at the trace of its program",
    403: "a wrong password, or it calls under the name of another agent",
    404: "nobody serves that number: it stands under numbers: of no flow, and under numbers: of no trunk",
    407: "it asked us to log in at a proxy",
    408: "it did not answer in time",
    415: "it offers a kind of body that is not SDP",
    416: "it calls an address that is neither sip: nor tel:",
    420: "it insists on an extension that is not known here",
    422: "its session timer is too short",
    423: "it wants to register for too short a time: see min_expires under registrar:",
    480: "the caller or the gateway gave up before the call was answered",
    482: "its call came twice, by two ways",
    486: "the number is busy",
    488: "no codec in common, or SRTP that one side insists on and the other lacks: see codecs: and srtp: under media:",
    503: "the gateway was full, starting, draining, or its trunk has no line free",
    513: "its message is too large",
}


def ask_gateway(where: tuple[str, int], path: str) -> Report | None:
    """JSON of the gateway that runs at its HTTP address, whatever the status; None where nothing answers."""
    host = "127.0.0.1" if where[0] in EVERYWHERE else where[0]
    url = f"http://{f'[{host}]' if ':' in host else host}:{where[1]}{path}"
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            found = json.load(error)
        except ValueError:
            return None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def rows(config: GatewayConfig, ask: Ask = ask_gateway, now: float | None = None) -> Iterator[Row]:
    """Everything about SIP, in words. `now`: seconds since 1970."""
    now = time.time() if now is None else now
    health = ask(config.http, "/healthz")
    running = health is not None and "active_calls" in health
    yield _gateway(config, health if running else None)
    for listen in config.sip.listen:
        yield _port(listen, running)
    yield from _receive_buffer(config)
    yield from _addresses(config)
    yield from _certificates(config, now)
    yield from _clock(now)
    yield from _passwords(config)
    yield from _trunk_file(config)
    if health is not None and running:
        report = ask(config.http, "/sip") or {}
        yield from _trunks(health.get("checks", {}), report.get("trunks", {}))
        yield from _report(report)


def _gateway(config: GatewayConfig, health: Report | None) -> Row:
    where = f"http://{config.http[0]}:{config.http[1]}"
    if health is None:
        return Row("gateway", False, f"none answers at {where}: trunkline run starts one", optional=True)
    ill = ", ".join(f"{name}: {said}" for name, said in health.get("checks", {}).items() if said != "ok")
    calls = health["active_calls"]
    said = f"runs, {calls} call{'' if calls == 1 else 's'}" + (f"; {ill}" if ill else "")
    if health.get("draining"):
        said += "; it drains and takes no new call"
    return Row("gateway", bool(health.get("ok")), said, optional=True)


def _port(listen: Listen, running: bool) -> Row:
    what = f"SIP on {listen}"
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if listen.transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as sock:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((listen.host, listen.port))
    except OSError as error:
        return _taken(what, listen, error, running)
    if running:
        return Row(what, False, "free, though a gateway runs: it listens elsewhere; is this its configuration?")
    return Row(what, True, "free")


def _taken(what: str, listen: Listen, error: OSError, running: bool) -> Row:
    """Why a port can't be had, and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        holder = who_holds(listen.port, "udp" if listen.transport == "udp" else "tcp")
        by = f" by {holder}" if holder else ""
        if running:
            return Row(what, True, f"taken, as it should be while a gateway runs{',' if by else ''}{by}")
        return Row(what, False, f"taken{by}: stop that program, or choose another port under listen:")
    do = {
        errno.EADDRNOTAVAIL: "it is no address of this machine, name one that is under listen:",
        errno.EACCES: "choose a port from 1024 on under listen:, or give the program CAP_NET_BIND_SERVICE",
    }.get(error.errno or 0, "choose another address or port under listen:")
    return Row(what, False, f"{error.strerror}: {do}")


def _receive_buffer(config: GatewayConfig) -> Iterator[Row]:
    if not any(listen.transport == "udp" for listen in config.sip.listen):
        return
    got, wanted = receive_buffer()
    said = f"{got >> 10} KB"
    if got < wanted:
        said += f" of {wanted >> 10}: bursts of messages are lost; sysctl net.core.rmem_max={wanted} allows more"
    yield Row("receive buffer of SIP over UDP", got >= wanted, said, optional=True)


# --- addresses ----------------------------------------------------------------------------------------------------


def _addresses(config: GatewayConfig) -> Iterator[Row]:
    """What phones are told to send to, and whether those outside can."""
    hosts = tuple(dict.fromkeys(each.host for each in config.sip.listen))
    media = () if config.media_address == "auto" else (config.media_address,)
    addresses = Addresses(hosts, media, config.sip.outside)
    told = config.sip.applied(SipConfig(domain=config.domain), addresses.own)
    for listen in config.sip.listen:
        version = 6 if ":" in listen.host else 4
        host, port = told.told(listen.transport, OUTSIDE[version])
        inside, _ = told.told(listen.transport, INSIDE[version])
        yield _told(f"address told, {listen.transport}", host, port, inside, config)
    for version in sorted({6 if ":" in host else 4 for host in hosts}):
        host = addresses.towards(OUTSIDE[version])
        yield _told(f"address of media, IPv{version}", host, 0, addresses.own(INSIDE[version]), config)


def _told(what: str, host: str, port: int, inside: str, config: GatewayConfig) -> Row:
    shown = f"{host}:{port}" if port else host
    ip = _resolved(host)
    if ip is None:
        return Row(what, False, f"{shown} is a name that leads nowhere: mend it in DNS, or advertise an IP address")
    address = ipaddress.ip_address(ip)
    if address.is_loopback:
        return Row(what, False, f"{shown}: only programs on this machine reach it", optional=True)
    if inside != host:
        also = f"; phones inside are told {inside}"
        if address.is_private:
            return Row(what, False, f"{shown} is advertised and yet private: phones outside can't reach it", True)
        return Row(what, True, f"{shown}, advertised to phones outside{also}: let its router forward the port")
    if address.is_private:
        said = f"{shown} is of a private network: phones in it reach it, those outside don't"
        return Row(what, False, f"{said}; name the public address under advertise: of sip:", optional=True)
    return Row(what, True, f"{shown}, public")


def _resolved(host: str) -> str | None:
    """An IP address for a host name, by the system's resolver; None where there is none."""
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0]).partition("%")[0]
    except OSError:
        return None


# --- certificates, the clock, passwords ---------------------------------------------------------------------------


def _certificates(config: GatewayConfig, now: float) -> Iterator[Row]:
    wanted = [host for transport, (host, _) in config.sip.advertise.items() if transport in ("tls", "wss")]
    secure = [each for each in config.sip.listen if each.transport in ("tls", "wss")]
    if not secure:
        yield Row("SIP over TLS", False, "not listened for: signalling and its keys are in the clear", optional=True)
        return
    try:
        shown = Contexts(config.sip.certificate).shown
    except TrunklineError as error:
        yield Row("certificates", False, error.what)
        return
    for each in shown:
        days = each.days_left(now)
        names = ", ".join(each.names) or "no name"
        if days < 0:
            yield Row(f"certificate {each.file.name}", False, f"expired {-days:.0f} days ago: no phone will accept it")
        else:
            yield Row(f"certificate {each.file.name}", days >= SOON_DAYS, f"{days:.0f} days left, for {names}")
    known = {name for each in shown for name in each.names}
    for name in dict.fromkeys((*wanted, config.domain)):
        if not (_named(name, known) or (name == config.domain and wanted)):
            said = f"phones that connect to {name} will refuse: it is in no certificate ({', '.join(sorted(known))})"
            yield Row(f"certificate for {name}", False, said, optional=name not in wanted)


def _named(host: str, names: set[str]) -> bool:
    low = host.lower()
    return low in names or f"*.{low.partition('.')[2]}" in names


def _clock(now: float) -> Iterator[Row]:
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    installed = Path(gateway.__file__).stat().st_mtime
    if now < installed - 86_400:
        yield Row("clock", False, f"{shown}, before this program was installed: certificates and records will be wrong")
        return
    state = clock_error_us()
    if state is None:
        yield Row("clock", True, f"{shown}; whether it is synchronised can't be known here")
    elif state < _ADJUSTED_US:
        yield Row("clock", True, f"{shown}, synchronised, off by {state / 1000:.0f} ms at most")
    else:
        yield Row("clock", False, f"{shown}, not synchronised: run chrony or systemd-timesyncd", optional=True)


def clock_error_us() -> int | None:
    """The largest error of the clock that the kernel admits, in microseconds, by adjtimex(2); None where that can't be
    asked."""

    class Timex(ctypes.Structure):
        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("rest", ctypes.c_byte * 256),
        )

    try:
        asked = Timex()
        answer: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None
    return int(asked.maxerror) if answer >= 0 else None


def _passwords(config: GatewayConfig) -> Iterator[Row]:
    if config.agents is None:
        return
    try:
        roster = load_agents(config.agents, config.domain)
    except TrunklineError as error:
        yield Row("agents", False, str(error).partition("\n")[0])
        return
    known = [agent for agent, password in roster.passwords.items() if password.endswith(_DEMO)]
    open_to = any(not ipaddress.ip_address(each.host).is_loopback for each in config.sip.listen)
    if known and open_to:
        said = f"{', '.join(known)} have the passwords this project ships: change them in {config.agents}"
        yield Row("agents' passwords", False, said, optional=True)


def _trunk_file(config: GatewayConfig) -> Iterator[Row]:
    if config.trunks is None:
        return
    try:
        many = len(load_trunks(config.trunks).trunks)
    except TrunklineError as error:
        yield Row("trunks", False, " ".join(str(error).splitlines()[:2]))
    else:
        yield Row("trunks", True, f"{many} in {config.trunks}")


# --- what the running gateway tells -------------------------------------------------------------------------------


def _trunks(checks: Mapping[str, str], words: Mapping[str, str]) -> Iterator[Row]:
    for name, said in checks.items():
        if name.startswith("trunk "):
            yield Row(name, said == "ok", words.get(name.removeprefix("trunk "), said))


def _report(report: Report) -> Iterator[Row]:
    phones = report.get("phones", [])
    if "registered" in report:
        behind = sum(bool(phone.get("behind_nat")) for phone in phones)
        said = f"{report['registered']} registered" + (f", {behind} behind a NAT" if behind else "")
        yield Row("phones", report["registered"] > 0, said, optional=True)
    for phone in phones:
        if phone.get("missed"):
            said = f"{phone['from']} left {phone['missed']} pings unanswered"
            yield Row(f"phone of {phone['aor']}", False, said, optional=True)
    for refused in report.get("refused", [])[:MOST_SHOWN]:
        yield Row(f"refused {_span(refused['ago'])} ago", False, _why(refused), optional=True)
    locked = report.get("locked_out", [])
    for each in locked[:MOST_SHOWN]:
        said = f"not listened to for {_span(each['for'])} more, after wrong passwords"
        yield Row(f"locked out {each['source']}", False, said, optional=True)
    if len(locked) > MOST_SHOWN:
        yield Row("locked out", False, f"{len(locked) - MOST_SHOWN} more sources", optional=True)


def _why(refused: Report) -> str:
    what = "to register" if refused["method"] == "REGISTER" else "to call"
    agent = f" ({refused['agent']})" if refused.get("agent") else ""
    why = WHY.get(refused["status"], "")
    if refused["method"] == "REGISTER":
        why = WHY_NOT_REGISTERED.get(refused["status"], why)
    said = f"{refused['from']}{agent} wanted {what} {refused['wanted'] or 'nobody'}"
    return f"{said}: {refused['status']} {refused['reason']}" + (f": {why}" if why else "")


def _span(seconds: float) -> str:
    """A time as a person says it."""
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"
