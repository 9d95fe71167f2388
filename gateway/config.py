"""Reads sip_config/gateway.yaml and agents.yaml into frozen values. Errors carry file:line:column, all at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway import config_media
from gateway.config_dialogs import DialogSettings, read_dialogs
from gateway.config_listen import SipListen, read_domain, read_listen
from gateway.config_network import DnsSettings, read_defence, read_dns
from gateway.config_registrar import read_registrar
from gateway.core.errors import ConfigError, Mark, nearest
from gateway.flow.fields import Fields, Report, text_of
from gateway.flow.nodes import Node, read
from gateway.media.engine import ENGINES, IO
from gateway.media.recorder import FORMATS, RATES
from gateway.routing.model import Agent
from gateway.sip.crypto import OPTIONAL
from gateway.sip.guard import Defence
from gateway.sip.numbers import e164
from gateway.sip.registrar import RegistrarSettings
from gateway.speech.ears import VADS
from gateway.speech.recognizers import known
from gateway.speech.tts_voices import VOICES

USER = re.compile(r"[A-Za-z0-9._-]+")
"""An agent's id is the user part of a SIP address."""

_AGENT = ("name", "phone", "password", "srtp", "queues", "skills")
_PHONE = re.compile(r"\+[1-9][0-9]{2,14}")


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """One gateway's settings. `media_address` is "auto" or the IP address put into SDP. Ports are inclusive.
    `recognizer` is one by name, `recognizer_models` its model's folder by language where it is not the usual one,
    `recognizers` how many processes decode, `vad` what decides which sound is a turn. `codecs` stand in order of
    liking; `srtp` is never, optional or required; `media_io` is how the engine reads and writes its sockets;
    `auto_gain` makes quiet speakers louder. `recordings` are a format and a sampling rate in Hz; `traces`: calls
    whose SIP messages are kept; `pickup`: what an agent dials to take a waiting caller, empty for nothing."""

    sip: SipListen = field(default_factory=SipListen)
    dialogs: DialogSettings = field(default_factory=DialogSettings)
    domain: str = "trunkline.local"
    registrar: RegistrarSettings = field(default_factory=RegistrarSettings)
    dns: DnsSettings = field(default_factory=DnsSettings)
    defence: Defence = field(default_factory=Defence)
    http: tuple[str, int] = ("127.0.0.1", 8080)
    media_address: str = "auto"
    media_ports: tuple[int, int] = (20000, 29998)
    media_engine: str = "native"
    media_threads: int = 1
    media_io: str = "auto"
    codecs: tuple[str, ...] = ("G722", "PCMU", "PCMA")
    srtp: str = OPTIONAL
    auto_gain: bool = True
    flows: tuple[Path, ...] = ()
    agents: Path | None = None
    trunks: Path | None = None
    data: Path = Path("var")
    recognizer: str = "whisper"
    recognizer_models: Mapping[str, str] = field(default_factory=dict)
    recognizers: int = 1
    vad: str = "silero"
    voices: tuple[str, ...] = ("recorded", "pieces", "piper")
    recordings: tuple[str, int] = ("wav", 8000)
    traces: int = 500
    pickup: str = "*8"
    pickup_mark: Mark | None = field(default=None, compare=False)
    max_calls: int = 200
    file: str = ""

    @property
    def legs(self) -> int:
        """Legs that the calls may need: the caller's and the agent's, and some that are about to close."""
        return self.max_calls * 2 + 8

    def with_options(
        self,
        *,
        flows: Sequence[Path] | None = None,
        sip: str = "",
        http: str = "",
        data: Path | None = None,
        engine: str = "",
    ) -> GatewayConfig:
        """The same with what the command line says. Raises ConfigError."""
        if engine and engine not in ENGINES:
            raise ConfigError(
                "--engine names no media engine",
                read=engine,
                expected=" or ".join(ENGINES),
                near=nearest(engine, ENGINES),
            )
        return replace(
            self,
            flows=tuple(flows) if flows else self.flows,
            sip=SipListen.at(*endpoint(sip, "--sip")) if sip else self.sip,
            http=endpoint(http, "--http") if http else self.http,
            data=data or self.data,
            media_engine=engine or self.media_engine,
        )


@dataclass(frozen=True, slots=True)
class Roster:
    """The agents and their passwords; `srtp`: of those for whom it is another one than for everybody; `marks`: where
    each stands in the file."""

    agents: tuple[Agent, ...]
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    srtp: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict, compare=False)


def endpoint(text: str, what: str, mark: Mark | None = None) -> tuple[str, int]:
    """HOST:PORT as a pair; HOST is an IP address (IPv6 in brackets). Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if colon and port.isascii() and port.isdigit() and int(port) < 65536 and _is_address(host):
        return host, int(port)
    raise ConfigError(f"{what} is not an address and port", where=mark, read=text, expected="such as 0.0.0.0:5060")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def load_config(path: Path) -> GatewayConfig:
    """Reads gateway.yaml. Relative paths in it count from its own folder. Raises Findings or ConfigError."""
    report = Report(ConfigError)
    base = path.parent
    default = GatewayConfig()
    with Fields(read(path, ConfigError), report, "the configuration") as f:
        sip = _section(f, "sip", report)
        sip_listen, domain = read_listen(sip, base, report), read_domain(sip, default.domain, report)
        dialogs = read_dialogs(sip, report)
        dns_fields = _section(sip, "dns", report)
        dns = read_dns(dns_fields, report)
        _done(dns_fields)
        _done(sip)
        phones = _section(f, "registrar", report)
        registrar = read_registrar(phones, report)
        _done(phones)
        guarding = _section(f, "defence", report)
        defence = read_defence(guarding, report)
        _done(guarding)
        http = _section(f, "http", report)
        http_listen = _listen(http, report, default.http)
        _done(http)
        media = _section(f, "media", report)
        address = config_media.media_address(media, report)
        ports = config_media.ports(media, report, default.media_ports)
        engine = media.choice("engine", tuple(ENGINES), default.media_engine)
        threads = media.integer("threads", default.media_threads, 1, 64)
        io = media.choice("io", IO, default.media_io)
        codecs = config_media.codecs(media.sequence("codecs"), report) or default.codecs
        srtp = config_media.srtp(media, report, default.srtp)
        auto_gain = media.flag("auto_gain", default.auto_gain)
        _done(media)
        flows = tuple(base / name for name in f.texts("flows", ()))
        agents = f.text("agents", None)
        trunks = f.text("trunks", None)
        data = f.text("data", None)
        speech = _section(f, "speech", report)
        recognizer = speech.choice("recognizer", tuple(known()), default.recognizer)
        models = {tag: str(base / (text_of(node) or "")) for tag, node in speech.named("models")}
        recognizers = speech.integer("recognizers", default.recognizers, 1, 64)
        vad = speech.choice("vad", tuple(VADS), default.vad)
        voices = speech.texts("voices", default.voices)
        for name in voices:
            if name not in VOICES:
                report.unknown("voice", name, VOICES, speech.mark("voices"))
        _done(speech)
        kept = _section(f, "recordings", report)
        form = kept.choice("format", [suffix[1:] for suffix in FORMATS], default.recordings[0])
        rate = kept.choice("rate", [str(rate) for rate in RATES], str(default.recordings[1]))
        _done(kept)
        trace = _section(f, "trace", report)
        traces = trace.integer("calls", default.traces, 0, 100_000)
        _done(trace)
        pickup, pickup_mark = f.text("pickup", default.pickup), f.mark("pickup")
        limits = _section(f, "limits", report)
        max_calls = limits.integer("calls", default.max_calls, 1, 100_000)
        _done(limits)
    report.settle(str(path))
    return GatewayConfig(
        sip=sip_listen,
        domain=domain,
        dialogs=dialogs,
        registrar=registrar,
        dns=dns,
        defence=defence,
        http=http_listen,
        media_address=address,
        media_ports=ports,
        media_engine=engine,
        media_threads=threads,
        media_io=io,
        codecs=codecs,
        srtp=srtp,
        auto_gain=auto_gain,
        flows=flows,
        agents=base / agents if agents else None,
        trunks=base / trunks if trunks else None,
        data=base / data if data else default.data,
        recognizer=recognizer,
        recognizer_models=models,
        recognizers=recognizers,
        vad=vad,
        voices=voices,
        recordings=(form, int(rate)),
        traces=traces,
        pickup=pickup,
        pickup_mark=pickup_mark,
        max_calls=max_calls,
        file=str(path),
    )


def _section(f: Fields, key: str, report: Report) -> Fields:
    node = f.node_of(key)
    return Fields(node if node is not None and node.value is not None else Node({}, f.node.mark), report, key)


def _done(fields: Fields) -> None:
    fields.__exit__(None, None, None)


def _listen(f: Fields, report: Report, default: tuple[str, int]) -> tuple[str, int]:
    text = f.text("listen", "")
    if not text:
        return default
    try:
        return endpoint(text, f"listen of {f.what}", f.mark("listen"))
    except ConfigError as error:
        report.items.append(error)
        return default


def load_agents(path: Path, domain: str = "trunkline.local") -> Roster:
    """Reads agents.yaml. Raises Findings or ConfigError."""
    report = Report(ConfigError)
    agents: list[Agent] = []
    passwords: dict[str, str] = {}
    srtp: dict[str, str] = {}
    marks: dict[str, Mark] = {}
    with Fields(read(path, ConfigError), report, "the agents' file") as f:
        for agent_id, node in f.named("agents", required=True):
            marks[agent_id] = node.key_mark or node.mark
            with Fields(node, report, f"agent {agent_id}") as g:
                name = g.text("name", agent_id)
                phone = _phone(g, report)
                misspelt = any(nearest(key, ("password", "phone")) for key, _ in node.items() if key not in _AGENT)
                optional = phone or misspelt or g.node_of("phone")
                password = g.text("password", "") if optional else g.text("password")
                if password:
                    passwords[agent_id] = password
                if "password" in node.value and not password:
                    report.add(f"agent {agent_id} has an empty password", g.mark("password"), expected="a password")
                elif phone and password:
                    report.add(
                        f"agent {agent_id} has two phones",
                        g.mark("phone"),
                        expected="password: for one that registers, or phone: for a number outside",
                    )
                if not USER.fullmatch(agent_id):
                    report.add(
                        "no SIP user can be called so", node.mark, read=agent_id, expected="letters, digits, . _ or -"
                    )
                if policy := config_media.srtp(g, report, ""):
                    srtp[agent_id] = policy
                queues = g.texts("queues", ())
                skills = {skill: _level(level, skill, report) for skill, level in g.named("skills")}
            agents.append(Agent(agent_id, name, phone or f"sip:{agent_id}@{domain}", skills, queues))
    report.settle(str(path))
    return Roster(tuple(agents), passwords, srtp, marks)


def _phone(g: Fields, report: Report) -> str:
    """A number outside that is an agent's phone, as a tel: URI; empty where the phone registers."""
    text: str = g.text("phone", "") or ""
    number = e164(text)
    if text and not _PHONE.fullmatch(number):
        report.add(f"phone of {g.what} can't be used", g.mark("phone"), read=text, expected="such as +4930123456")
        return ""
    return f"tel:{number}" if text else ""


def _level(node: Node, skill: str, report: Report) -> int:
    text = text_of(node) or ""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 5:
        return int(text)
    report.add(
        f"level of skill {skill} can't be used", node.mark, read=node.shown(), expected="a whole number from 1 to 5"
    )
    return 1
