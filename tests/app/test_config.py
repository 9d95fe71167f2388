"""gateway.yaml and agents.yaml: what is read, and what is said about what can't be."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from rich.console import Console

from gateway.app import Gateway
from gateway.config import GatewayConfig, endpoint, load_agents, load_config
from gateway.config_listen import SipListen
from gateway.core.errors import ConfigError, Findings
from gateway.media import host
from gateway.sip.guard import Defence

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_configuration_is_the_default() -> None:
    found = load_config(ROOT / "sip_config" / "gateway.yaml")
    default = GatewayConfig()
    for name in (
        "sip",
        "domain",
        "registrar",
        "traces",
        "dns",
        "defence",
        "http",
        "media_address",
        "media_ports",
        "media_engine",
        "media_threads",
        "media_io",
        "codecs",
        "srtp",
        "auto_gain",
        "recognizer",
        "recognizers",
        "vad",
        "recordings",
        "max_calls",
        "pickup",
    ):
        assert getattr(found, name) == getattr(default, name), name
    assert [path.name for path in found.flows] == ["bank.yaml", "shop.yaml"]
    assert all(path.exists() for path in found.flows)


def test_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("sip:\nflows: []\n")
    assert load_config(path).sip == GatewayConfig().sip


def test_the_pick_up_code_may_be_another_or_none(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    for code in ("**", ""):
        path.write_text(f'pickup: "{code}"\n')
        assert load_config(path).pickup == code


def test_recordings_have_a_format_and_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("recordings: {format: opus, rate: 16000}\n")
    assert load_config(path).recordings == ("opus", 16000)


def test_codecs_stand_in_order_of_liking(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("media: {codecs: [L16, PCMA, L16], threads: 2, io: plain, auto_gain: false}\n")
    found = load_config(path)
    assert found.codecs == ("L16", "PCMA")
    assert (found.media_threads, found.media_io, found.auto_gain) == (2, "plain", False)


def test_media_is_encrypted_by_a_policy_of_the_gateway_and_of_agents(tmp_path: Path) -> None:
    path, people = tmp_path / "gateway.yaml", tmp_path / "agents.yaml"
    path.write_text("media: {srtp: required}\n")
    people.write_text("agents:\n  ann: {password: x}\n  bob: {password: y, srtp: never}\n")
    assert load_config(path).srtp == "required"
    assert load_agents(people).srtp == {"bob": "never"}
    path.write_text("media:\n  srtp: requierd\n")
    people.write_text("agents:\n  ann: {password: x, srtp: 'yes'}\n")
    with pytest.raises(Findings, match=r":2:9: srtp of media can't be used\n.*requierd\n.*\n.*did you mean: required"):
        load_config(path)
    with pytest.raises(Findings, match=r":2:28: srtp of agent ann can't be used"):
        load_agents(people)


def test_srtp_that_the_machine_has_not_got(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "srtp_missing", lambda profile: "libsrtp is missing; install pylibsrtp")
    path = tmp_path / "gateway.yaml"
    path.write_text("media: {srtp: required}\n")
    with pytest.raises(Findings, match="srtp of media can't be used on this machine"):
        load_config(path)
    path.write_text("media: {srtp: optional}\n")
    assert load_config(path).srtp == "optional"


def test_codecs_that_nobody_knows_or_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "opus needs libopus; install it"
    monkeypatch.setattr(host, "codec_missing", lambda name: missing if name == "opus" else "")
    path = tmp_path / "gateway.yaml"
    path.write_text("media:\n  codecs: [G772, PCMU, opus]\n  io: urin\n  threads: 0\n")
    with pytest.raises(Findings) as caught:
        load_config(path)
    shown = str(caught.value)
    for part in (
        ":2:12: unknown codec G772",
        "did you mean: G722",
        ":2:24: codec opus can't be used on this machine",
        f"do: {missing}",
        ":3:7: io of media can't be used",
        "did you mean: uring",
        ":4:12: threads of media",
    ):
        assert part in shown


def test_all_errors_come_at_once_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "sip:\n  listn: 0.0.0.0:5060\n  listen: here\nmedia: {ports: 5, address: there, engine: refrence}\n"
        "speech: {recognizer: wisper, vad: webrt, voices: [pipr]}\nrecordings: {format: opsu, rate: 44100}\n"
        "trunks: [{name: a}]\n"
    )
    with pytest.raises(Findings) as caught:
        load_config(path)
    shown = str(caught.value)
    for line in (
        ":2:3: unknown key in sip: listn",
        ":3:11: listen of sip",
        ":4:16: ports of media",
        ":6:34: rate of recordings can't be used",
        ":7:9: trunks of the configuration",
    ):
        assert line in shown
    assert "did you mean: listen" in shown
    assert "did you mean: whisper" in shown
    assert "did you mean: reference" in shown
    assert "did you mean: opus" in shown
    assert "did you mean: webrtc" in shown
    assert "did you mean: piper" in shown


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    changed = GatewayConfig().with_options(sip="127.0.0.1:0", data=tmp_path, flows=[tmp_path / "a.yaml"])
    assert (changed.sip, changed.data, changed.flows) == (
        SipListen.at("127.0.0.1", 0),
        tmp_path,
        (tmp_path / "a.yaml",),
    )
    with pytest.raises(ConfigError, match="not an address and port"):
        GatewayConfig().with_options(http="localhost")
    assert GatewayConfig().with_options(engine="reference").media_engine == "reference"
    with pytest.raises(ConfigError, match="did you mean: native"):
        GatewayConfig().with_options(engine="natve")


@pytest.mark.parametrize(("text", "pair"), [("[::1]:5060", ("::1", 5060)), ("10.0.0.1:0", ("10.0.0.1", 0))])
def test_addresses_with_ports(text: str, pair: tuple[str, int]) -> None:
    assert endpoint(text, "it") == pair


def test_agents_have_skills_from_one_to_five_and_a_password(tmp_path: Path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(
        "agents:\n  anna: {name: Anna, password: x, skills: {en-US: 5, cards: 9}}\n  bo: {skills: {en-US: 1}}\n"
    )
    with pytest.raises(Findings) as caught:
        load_agents(path)
    assert ":2:61: level of skill cards" in str(caught.value)
    assert "agent bo has no password" in str(caught.value)
    roster = load_agents(ROOT / "sip_config" / "agents.yaml", "example.org")
    assert roster.agents[0].aor == "sip:anna@example.org"
    assert "anna-demo" not in repr(roster)


def test_agents_who_could_never_register_are_named(tmp_path: Path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text('agents:\n  anna: {password: ""}\n  bo b: {password: x}\n')
    with pytest.raises(Findings) as caught:
        load_agents(path)
    assert "agent anna has an empty password" in str(caught.value)
    assert "read: bo b" in str(caught.value)


async def test_a_gateway_that_could_serve_nobody_does_not_start() -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(ConfigError, match="there is no flow to serve"):
            await Gateway(GatewayConfig(), Console()).open(stack)


def test_name_servers_are_addresses_with_or_without_a_port(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "sip: {dns: {servers: [10.0.0.53, '10.0.0.54:5353', 'fd00::53', '[fd00::54]:5353'], timeout: 500ms}}\n"
    )
    found = load_config(path).dns
    assert found.servers == (("10.0.0.53", 53), ("10.0.0.54", 5353), ("fd00::53", 53), ("fd00::54", 5353))
    assert found.timeout == 0.5
    path.write_text("sip:\n  dns:\n    servers: [ns.example.com]\n    timeout: never\n    server: 1\n")
    with pytest.raises(Findings) as caught:
        load_config(path)
    assert len(caught.value.items) == 3
    assert {error.where.line for error in caught.value.items} == {3, 4, 5}


def test_the_defence_is_read_with_marked_errors(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "defence: {trusted: 10.0.0.0/8, requests: {per_second: 5}, invites: , lockout: 2s, longest_lockout: 10m,"
        " scanners: [Evil], message_size: 4096, headers: 50}\n"
    )
    found, default = load_config(path).defence, Defence()
    assert (found.trusted, found.scanners, found.lockout) == (("10.0.0.0/8",), ("evil",), (2.0, 600.0))
    assert (found.requests.per_second, found.requests.burst) == (5.0, default.requests.burst)
    assert (found.invites, found.max_message, found.max_headers) == (default.invites, 4096, 50)
    path.write_text(
        "defence:\n  trusted: [10.0.0.0/8, elsewhere]\n  registers:\n    burst: 0\n    rate: 1\n  strangers: 7\n"
        "  lockout: 10m\n  longest_lockout: 1m\n  headers: 1\n  scanner: x\n"
    )
    with pytest.raises(Findings) as caught:
        load_config(path)
    assert sorted(error.where.line for error in caught.value.items) == [2, 4, 5, 6, 8, 9, 10]
