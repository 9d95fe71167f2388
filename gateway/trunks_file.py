"""Reads sip_config/trunks.yaml: who calls us and whom we call by, which numbers lead where, what may be dialled."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway import config_media
from gateway.config import GatewayConfig, Roster
from gateway.core.errors import ConfigError, nearest
from gateway.flow.dialled import Dids, Number
from gateway.flow.fields import Fields, Report, duration_of, text_of
from gateway.flow.nodes import Node, read
from gateway.sip import identity
from gateway.sip.auth import Account
from gateway.sip.numbers import COUNTRIES, FORMATS, e164
from gateway.sip.trunks import PRIVACY, Destinations, RegisterAs, Trunk
from gateway.sip.uri import hostport, ip_of

TRANSPORTS = ("udp", "tcp", "tls")
NAME = re.compile(r"[A-Za-z0-9._-]+")

_DOMAIN = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::([0-9]{1,5}))?")
_USER = re.compile(r"[!#-9;=?A-~]+")
"""What may stand before the @ of a SIP address."""
_CALLER = re.compile(r"\+?[A-Za-z0-9._-]+")
_BEGINNING = re.compile(r"\+?[0-9]*\*?")


@dataclass(frozen=True, slots=True)
class Trunks:
    """What trunks.yaml holds. `dids`: trunk -> numbers -> where they lead."""

    trunks: tuple[Trunk, ...] = ()
    destinations: Destinations = field(default_factory=Destinations)
    dids: Mapping[str, Dids] = field(default_factory=dict)
    file: str = ""


def load_trunks(path: Path) -> Trunks:
    """Raises Findings or ConfigError. Whether the flows exist that numbers lead to is for `dialled.check`."""
    report = Report(ConfigError)
    trunks: list[Trunk] = []
    dids: dict[str, Dids] = {}
    with Fields(read(path, ConfigError), report, "the trunks' file") as f:
        nodes = f.named("trunks", required=True)
        names = {name: _is_for_calls_out(node) for name, node in nodes}
        for name, node in nodes:
            if not NAME.fullmatch(name):
                report.add("no trunk can be called so", node.key_mark, read=name, expected="letters, digits, . _ or -")
            with Fields(node, report, f"trunk {name}") as g:
                trunk = _trunk(name, g, names, report)
                _alone(trunk, trunks, g, report)
                dids[name] = _dids(g, trunk.country, report)
            trunks.append(trunk)
        destinations = _destinations(f, names, report)
    report.settle(str(path))
    return Trunks(tuple(trunks), destinations, dids, str(path))


def check_agents(roster: Roster, trunks: Trunks, served: Iterable[str] = ()) -> None:
    """Raises Findings where an agent's number may not be called, a trunk's account has an agent's name, or an agent's
    name is a number in `served`, which leads to a flow."""
    report = Report(ConfigError)
    accounts = {trunk.account.user: trunk.name for trunk in trunks.trunks if trunk.account}
    taken = {*served, *(number for dids in trunks.dids.values() for number in dids)}
    for agent in roster.agents:
        mark, number = roster.marks.get(agent.id), agent.aor.removeprefix("tel:")
        if number != agent.aor and not trunks.destinations.permits(number):
            report.add(
                f"the phone of agent {agent.id} may not be called",
                mark,
                do=f"list the beginning of its number under outbound: allow: in {trunks.file or 'trunks.yaml'}",
            )
        if agent.id in accounts:
            report.add(f"trunk {accounts[agent.id]} has an account with the name of an agent", mark, read=agent.id)
        if agent.id in taken:
            report.add("an agent has the name of a number that leads to a flow", mark, read=agent.id)
    report.settle("the agents' file")


def check_pickup(config: GatewayConfig, roster: Roster, trunks: Trunks, served: Iterable[str]) -> None:
    """Raises ConfigError where what an agent dials to take a waiting caller is somebody else's number."""
    taken = {*served, *(number for dids in trunks.dids.values() for number in dids)}
    if config.pickup in taken or config.pickup in roster.marks:
        raise ConfigError(
            "pickup is the number of a flow or the name of an agent",
            where=config.pickup_mark,
            read=config.pickup,
            expected="one that leads nowhere, such as *8",
        )


def _is_for_calls_out(node: Node) -> bool:
    """Whether a trunk is meant to be dialled by, right or not."""
    return not isinstance(node.value, dict) or any(key in ("server", "account") for key, _ in node.items())


def _alone(trunk: Trunk, others: Iterable[Trunk], g: Fields, report: Report) -> None:
    """What tells a trunk from the others when a call comes in."""
    for other in others:
        if trunk.account and other.account and trunk.account.user == other.account.user:
            report.add(
                f"trunks {other.name} and {trunk.name} have accounts of one name",
                g.mark("account"),
                read=trunk.account.user,
            )
        for network in set(trunk.networks) & set(other.networks):
            report.add(f"trunks {other.name} and {trunk.name} have one address", g.mark("addresses"), read=str(network))


def _trunk(name: str, g: Fields, names: Mapping[str, bool], report: Report) -> Trunk:
    transport = g.choice("transport", TRANSPORTS, "")
    server = _host(g, "server", transport, report)
    addresses = _addresses(g, report)
    register = _register(g, report)
    account = _account(g, "account", report)
    credentials = _account(g, "credentials", report)
    keys = {key for key, _ in g.node.items()}
    if not g.broken and keys.isdisjoint(("server", "addresses", "account")):
        report.add(
            f"trunk {name} carries no calls", g.node.key_mark, expected="server:, addresses: or account:, or several"
        )
    country = _country(g, report)
    calls, per_second = _limits(g, report)
    trunk = Trunk(
        name,
        addresses,
        server=server,
        domain=_matching(g, "domain", _DOMAIN, "a host such as sip.example.com", report),
        outbound_proxy=_host(g, "outbound_proxy", transport, report),
        register=register,
        account=account,
        credentials=(credentials,) if credentials else (),
        codecs=config_media.codecs(_listed(g, "codecs"), report),
        srtp=config_media.srtp(g, report, ""),
        country=country,
        number_format=g.choice("number_format", FORMATS, "as_is"),
        caller_id=e164(_matching(g, "caller_id", _CALLER, "a number such as +4930123456", report, country), country),
        identity=g.choice("identity", identity.MODES, "from"),
        privacy=g.choice("privacy", PRIVACY, "keep"),
        trust=g.flag("trust", False),
        refer=g.flag("refer", False),
        anonymous=g.choice("anonymous", ("allow", "refuse"), "allow") == "allow",
        max_calls=calls,
        per_second=per_second,
        failover=_named_trunks(g, "failover", {n: dials for n, dials in names.items() if n != name}, report),
        priority=g.integer("priority", 1, 1, 1000),
        weight=g.integer("weight", 1, 1, 1000),
        ping_s=_ping(g),
        patience_s=g.duration("patience", 6.0, 0.5),
    )
    _told(trunk, g, report)
    return trunk


def _told(trunk: Trunk, g: Fields, report: Report) -> None:
    """What can't work although each line is right."""
    if trunk.ping_s and g.node_of("server") is None:
        report.add(f"options_ping of trunk {trunk.name} has nobody to ask", g.mark("options_ping"), expected="server:")
    if trunk.number_format == "national" and not trunk.country and g.node_of("country") is None:
        report.add(
            f"number_format of trunk {trunk.name} needs a country beside it",
            g.mark("number_format"),
            expected="country: of two letters, such as DE",
        )


def _matching(
    g: Fields, key: str, pattern: re.Pattern[str], expected: str, report: Report, country: str | None = None
) -> str:
    """Words of a certain form, empty where they are not given; a number in any spelling has it."""
    text: str = g.text(key, "")
    if text and not pattern.fullmatch(e164(text, country)):
        report.add(f"{key} of {g.what} can't be used", g.mark(key), read=text, expected=expected)
        return ""
    return text


def _host(g: Fields, key: str, transport: str, report: Report) -> str:
    """HOST or HOST:PORT as a SIP URI, empty where it is not given."""
    text: str = g.text(key, "") or ""
    if not text:
        return ""
    match = _HOST.fullmatch(text)
    if not match or (match[1][0] == "[" and ip_of(match[1]) is None) or not 0 < int(match[2] or 5060) < 65536:
        report.add(
            f"{key} of {g.what} can't be used",
            g.mark(key),
            read=text,
            expected="HOST or HOST:PORT, such as sip.example.com or 203.0.113.5:5080",
        )
        return ""
    return f"sip:{hostport(match[1], int(match[2]) if match[2] else None)}" + (
        f";transport={transport}" if transport else ""
    )


def _addresses(g: Fields, report: Report) -> tuple[str, ...]:
    good = []
    for node in _listed(g, "addresses"):
        text = text_of(node) or ""
        try:
            ipaddress.ip_network(text, strict=False)
            good.append(text)
        except ValueError:
            report.add(
                f"addresses of {g.what} can't be used",
                node.mark,
                read=node.shown(),
                expected="IP addresses or networks such as 203.0.113.0/24",
            )
    return tuple(good)


def _listed(g: Fields, key: str) -> list[Node]:
    """The items of a list; one word stands for a list of one."""
    node = g.node_of(key)
    if node is None or node.value is None:
        return []
    return node.value if isinstance(node.value, list) else [node]


def _register(g: Fields, report: Report) -> RegisterAs | None:
    node = g.node_of("register")
    if node is None or node.value is None:
        return None
    with Fields(node, report, f"register of {g.what}") as h:
        user = h.text("user") or ""
        if user and not _USER.fullmatch(user):
            report.add(f"user of {h.what} can't be used", h.mark("user"), read=user, expected="the part before the @")
        login = Account(h.text("auth_user", "") or user, _password(h, report))
        expires = int(h.duration("expires", 600.0, 30.0))
    if "server" not in g.node.value and not h.broken:
        report.add(f"{g.what} registers nowhere", node.key_mark, expected="server: of the registrar")
    return RegisterAs(user, login, expires) if user else None


def _account(g: Fields, key: str, report: Report) -> Account | None:
    node = g.node_of(key)
    if node is None or node.value is None:
        return None
    with Fields(node, report, f"{key} of {g.what}") as h:
        user = h.text("user") or ""
        account = Account(user, _password(h, report), h.text("realm", None))
    return account if user else None


def _password(h: Fields, report: Report) -> str:
    """`password`, or what the environment variable named by `password_env` holds."""
    word: str = h.text("password", "") or ""
    variable: str = h.text("password_env", "") or ""
    if word and variable:
        report.add(f"{h.what} has two passwords", h.mark("password_env"), expected="password: or password_env:")
    elif variable and not os.environ.get(variable):
        report.add(
            f"password_env of {h.what} names a variable that is not set",
            h.mark("password_env"),
            read=variable,
            do=f"start the gateway with {variable} in its environment",
        )
    elif not word and not variable and not h.broken and not _misspelt(h):
        report.add(
            f"{h.what} has no password", h.node.key_mark or h.node.mark, expected="password: or password_env: VARIABLE"
        )
    return word or os.environ.get(variable, "")


def _misspelt(h: Fields) -> bool:
    """Whether a key that nobody knows is taken for a password's, which is told by itself."""
    return any(nearest(key, ("password", "password_env")) for key, _ in h.node.items() if key not in h.taken)


def _country(g: Fields, report: Report) -> str | None:
    code: str | None = g.text("country", None)
    if code is not None and code not in COUNTRIES:
        near = code.upper() if code.upper() in COUNTRIES else None
        report.add(
            f"country of {g.what} can't be used",
            g.mark("country"),
            read=code,
            expected="two letters of ISO 3166 such as DE, US or CN",
            near=near,
        )
        return None
    return code


def _limits(g: Fields, report: Report) -> tuple[int, float]:
    node = g.node_of("limits")
    if node is None or node.value is None:
        return 0, 0.0
    with Fields(node, report, f"limits of {g.what}") as h:
        return h.integer("calls", 0, 1, 100_000), h.number("per_second", 0.0, 0.01, 10_000)


def _ping(g: Fields) -> float:
    node = g.node_of("options_ping")
    if node is None or node.value is None or node.value is False:
        return 0.0
    seconds = duration_of(node)
    if seconds is None or seconds < 1.0:
        g.report.add(
            f"options_ping of {g.what} can't be used",
            node.mark,
            read=node.shown(),
            expected="a duration such as 30s, at least 1s",
        )
        return 0.0
    return seconds


def _named_trunks(g: Fields, key: str, names: Mapping[str, bool], report: Report) -> tuple[str, ...]:
    """The trunks a list names. `names`: those there are, and which of them can be dialled by."""
    found = []
    for node in _listed(g, key):
        name = text_of(node) or node.shown()
        if names.get(name):
            found.append(name)
        elif name in names:
            report.add(f"no call goes out by trunk {name}", node.mark, read=name, expected="server: or account: there")
        else:
            report.unknown("trunk", name, names, node.mark)
    return tuple(found)


# --- numbers ------------------------------------------------------------------------------------------------------


def _dids(g: Fields, country: str | None, report: Report) -> Dids:
    """`dids`, and the trunk's own `flow` and `language` as `*`."""
    found: dict[str, Number] = {}
    for text, node in g.named("dids"):
        if "*" in text[:-1]:
            report.add("a number can't hold * but at its end", node.key_mark, read=text, expected="such as +49301234*")
        number = text if text.endswith("*") else e164(text, country)
        if number in found:
            report.add(f"number {number} of {g.what} stands twice", node.key_mark, read=text)
        if isinstance(node.value, dict):
            with Fields(node, report, f"number {text}") as h:
                flow, language, where = h.text("flow") or "", h.text("language", None), h.mark("flow")
        else:
            flow, language, where = text_of(node) or "", None, node.mark
            if not flow:
                report.add(f"number {text} leads nowhere", node.mark, read=node.shown(), expected="a flow's id")
        if flow:
            found[number] = Number(flow, language, where)
    flow, language = g.text("flow", ""), g.text("language", None)
    if flow and "*" in found:
        report.add(f"{g.what} has a flow for all other numbers twice", g.mark("flow"), expected="flow: or '*' of dids:")
    elif flow:
        found["*"] = Number(flow, language, g.mark("flow"))
    elif language:
        report.add(f"language of {g.what} needs a flow beside it", g.mark("language"), expected="flow:")
    return found


def _destinations(f: Fields, names: Mapping[str, bool], report: Report) -> Destinations:
    node = f.node_of("outbound")
    if node is None or node.value is None:
        return Destinations()
    with Fields(node, report, "outbound") as g:
        allow, deny = _beginnings(g, "allow", report), _beginnings(g, "deny", report)
        routes = {}
        for beginning, child in g.named("routes"):
            holder = Fields(Node({beginning: child}, child.mark), report, "routes")
            routes[beginning] = _named_trunks(holder, beginning, names, report)
        country = _country(g, report)
        calls = g.integer("calls", 0, 1, 100_000)
        per_minute = g.number("per_minute", 0.0, 0.01, 100_000)
    return Destinations(allow, deny, routes, country, calls, per_minute)


def _beginnings(g: Fields, key: str, report: Report) -> tuple[str, ...]:
    found = []
    for node in _listed(g, key):
        text = text_of(node) or ""
        if not text or not _BEGINNING.fullmatch(text):
            report.add(
                f"{key} of outbound can't be used",
                node.mark,
                read=node.shown(),
                expected="beginnings of numbers such as +49, or * for all",
            )
        else:
            found.append(text)
    return tuple(found)
