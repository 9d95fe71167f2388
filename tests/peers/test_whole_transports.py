"""Whole calls over TCP and TLS: a gateway configured by a list of listeners, baresip as caller and as agent."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.lab import stage
from gateway.lab.script import Listen, Press, Speak, Wait
from gateway.lab.sounds import tone, voiced_spans
from gateway.lab.wire import read_wav, write_wav
from tests.peers import baresip, whole
from tests.peers.programs import Programs
from tests.peers.whole import Hall, Until, story, tones, wait
from tests.sip.certs import Authority

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

AGENT_HZ, CALLER_HZ, BARE_HZ = 1110.0, 620.0, 850.0


@dataclass
class Scene:
    hall: Hall
    authority: Authority
    server: dict[str, str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Scene]:
    """A gateway on every transport; `server`: where each is."""
    folder = tmp_path_factory.mktemp("transports")
    authority = Authority(folder / "certificates")
    pair = authority.pair("127.0.0.1", "localhost")
    config = whole.written(folder / "config", bank=False)
    listen = ", ".join(f"{name}://127.0.0.1:0" for name in ("udp", "tcp", "tls", "ws", "wss"))
    config.write_text(
        f"{config.read_text()}sip:\n  listen: [{listen}]\n"
        f"  tls: {{certificate: {pair.certificate}, key: {pair.key}, authorities: {authority.file}}}\n"
    )
    data = whole.data_folder(folder / "data", prompts)
    with stage.gateway(data, config=config, host="") as running:
        hall = Hall(running, folder)
        yield Scene(hall, authority, {name: f"127.0.0.1:{port}" for name, port in running.ports.items()})
        hall.close()
    said = running.log.read_text(errors="replace")
    assert "Traceback" not in said, said[-4000:]


@pytest.mark.parametrize(("name", "encryption"), [("talk1", "srtp"), ("talk2", "")])
def test_an_agent_over_tls_and_a_caller_hear_each_other(
    scene: Scene, crew: Programs, name: str, encryption: str
) -> None:
    """A phone over TLS is offered encryption, and called again without where it has none."""
    hall = scene.hall
    agent = baresip.start(
        crew,
        scene.server["tls"],
        name,
        whole.password(name),
        voice=tone(AGENT_HZ, 60.0),
        transport="tls",
        authority=scene.authority.file,
        encryption=encryption,
    )
    spoken = crew.folder / "caller.wav"
    write_wav(spoken, tone(CALLER_HZ, 1.5, -15.0))
    call = hall.start("3001", [Listen(), Press("7"), Until("bridged"), Speak(spoken), Wait(1.5)])
    assert [d["agent"] for d in call.data("bridged")] == [name], story(call.record)
    assert AGENT_HZ in tones(call.heard, [AGENT_HZ, CALLER_HZ])
    wait(agent.recordings, "baresip's recording")
    agent.end()
    assert tones(read_wav(agent.recordings()[0]), [AGENT_HZ, CALLER_HZ]) == {CALLER_HZ}
    (sound,) = [d for d in call.data("media") if d["party"] == "agent"]
    assert ("srtp" in sound) is bool(encryption)


@pytest.mark.parametrize(("transport", "user"), [("tcp", "anna"), ("tls", "sara")])
def test_a_phone_over_tcp_or_tls_calls_in(scene: Scene, crew: Programs, transport: str, user: str) -> None:
    server, records = scene.server[transport], scene.hall.records
    phone = baresip.start(
        crew,
        server,
        user,
        whole.password(user),
        voice=tone(BARE_HZ, 60.0),
        transport=transport,
        authority=scene.authority.file,
    )
    phone.command("dial", f"sip:3001@{server};transport={transport}")
    phone.says("established", whole.LONG_S)
    wait(lambda: records.of(user) and records.of(user).of("said")[1:], "the welcome")
    wait(lambda: records.of(user).of("no_input", "heard", "unheard"), "some of the call")
    phone.command("hangup")
    ended = wait(lambda: (r := records.of(user)) and r.head.ended and r, "the end of baresip's call")
    assert ended.head.reason == "caller hung up"
    left, _ = whole.sides(ended.head.recording)
    assert tones(left, [BARE_HZ, AGENT_HZ]) == {BARE_HZ}
    heard = wait(phone.recordings, "baresip's recording")
    phone.end()
    assert sum(end - start for start, end in voiced_spans(read_wav(heard[0]))) >= 1.0


def test_connections_and_certificates_are_figures(scene: Scene) -> None:
    url = f"http://127.0.0.1:{scene.hall.gateway.http_port}/metrics"
    with urllib.request.urlopen(url, timeout=whole.LONG_S) as answer:
        shown = answer.read().decode()
    (days,) = (line for line in shown.splitlines() if line.startswith("trunkline_certificate_days{"))
    assert 29 < float(days.rpartition(" ")[2]) <= 30
    said = scene.hall.gateway.log.read_text()
    assert all(f"{transport}://{server}" in said.replace("\n", "") for transport, server in scene.server.items())
