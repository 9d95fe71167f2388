"""Phones and trunks that are not ours: baresip as agent and as caller, sipp as a trunk, hold, damage, refusals."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest

from gateway.lab.script import Listen, Press, Speak, Wait
from gateway.lab.sounds import tone, voiced_spans
from gateway.lab.stage import ROOT
from gateway.lab.wire import level, read_wav, write_wav
from gateway.observe.trace_files import read
from tests.peers import baresip, sipp, whole
from tests.peers.programs import Programs, need
from tests.peers.whole import Calling, Hall, Until, page, story, tones, wait

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

AGENT_HZ, CALLER_HZ, BARE_HZ = 1110.0, 620.0, 850.0
CROWD, CROWD_RATE = 20, 10
"""Calls of the trunk at once, and new ones a second."""


@dataclass
class Phones:
    agent: baresip.Baresip
    caller: baresip.Baresip
    calls: dict[str, Calling]
    crowd: sipp.Sipp
    holds: sipp.Sipp
    bridged_hold: sipp.Sipp
    crossing: sipp.Sipp


@pytest.fixture(scope="module")
def phones(hall: Hall, crew: Programs) -> Phones:
    """baresip answers as an agent and calls as talk2's phone; sipp calls as trunks do."""
    agent = baresip.start(crew, hall.gateway.sip, "talk1", whole.password("talk1"), voice=tone(AGENT_HZ, 60.0))
    caller = baresip.start(crew, hall.gateway.sip, "anna", whole.password("anna"), voice=tone(BARE_HZ, 60.0))
    whole.phone(crew, hall, "hold1", "--play", str(_tone(crew, AGENT_HZ)), "--loop")
    spoken = crew.folder / "caller.wav"
    write_wav(spoken, tone(CALLER_HZ, 1.5, -15.0))
    talk = [Listen(), Press("7"), Until("bridged"), Speak(spoken), Wait(1.5)]
    server = hall.gateway.sip
    crowd = sipp.start(
        crew,
        ["invite", "answered", "stay", "bye"],
        server,
        *("-r", str(CROWD_RATE), "-l", str(CROWD)),
        name="crowd",
        calls=CROWD,
        **{"from": "5559910", "to": "1001", "talk_ms": "5000"},
    )
    held = ["invite", "answered", "stay", "reinvite:sendonly:recvonly", "stay", "reinvite:sendrecv:sendrecv", "stay"]
    holds = sipp.start(
        crew, [*held, "bye"], server, name="holds", **{"from": "5559911", "to": "1001", "talk_ms": "1500"}
    )
    keyed = ["invite", "answered", "stay", "info:3", "stay", "info:4", "stay", "stay", *held[2:], "bye"]
    bridged = sipp.start(
        crew, keyed, server, name="bridged", echo=True, **{"from": "5559912", "to": "3001", "talk_ms": "2000"}
    )
    crossing = sipp.start(
        crew, ["invite", "crossing", "bye"], server, name="crossing", **{"from": "5559913", "to": "1001"}
    )
    return Phones(agent, caller, {"agent": hall.start("3001", talk)}, crowd, holds, bridged, crossing)


def _tone(crew: Programs, hertz: float) -> object:
    path = crew.folder / f"{hertz:g}.wav"
    write_wav(path, tone(hertz, 1.0, -15.0))
    return path


def records(hall: Hall, caller: str, count: int) -> list[object]:
    """The ended records of calls from a number, once there are `count`."""

    def ended() -> list[object]:
        found = [h for h in hall.records.recent() if h.caller == caller and h.ended]
        return found if len(found) >= count else []

    return list(wait(ended, f"{count} ended records of {caller}"))


def test_baresip_as_an_agents_phone(phones: Phones) -> None:
    call = phones.calls["agent"]
    assert [d["agent"] for d in call.data("bridged")] == ["talk1"], story(call.record)
    assert AGENT_HZ in tones(call.heard, [AGENT_HZ, CALLER_HZ])
    assert CALLER_HZ not in tones(call.heard, [CALLER_HZ])
    wait(phones.agent.recordings, "baresip's recording")
    phones.agent.end()
    assert tones(read_wav(phones.agent.recordings()[0]), [AGENT_HZ, CALLER_HZ]) == {CALLER_HZ}


def test_baresip_as_a_caller(phones: Phones, hall: Hall) -> None:
    phones.caller.command("dial", f"sip:1001@{hall.gateway.sip}")
    record = wait(lambda: hall.records.of("anna"), "the call of baresip")
    wait(lambda: hall.records.of("anna").of("entered"), "the menu")
    phones.caller.says("established", whole.LONG_S)
    wait(lambda: hall.records.of("anna").of("said")[1:], "the welcome")
    wait(lambda: hall.records.of("anna").of("no_input", "heard", "unheard"), "some of the call")
    phones.caller.command("hangup")
    ended = wait(lambda: (r := hall.records.of("anna")) and r.head.ended and r, "the end of baresip's call")
    assert ended.head.id == record.head.id
    assert ended.head.reason == "caller hung up"
    left, _ = whole.sides(ended.head.recording)
    assert tones(left, [BARE_HZ, AGENT_HZ]) == {BARE_HZ}
    heard = wait(phones.caller.recordings, "baresip's recording")
    phones.caller.end()
    assert sum(end - start for start, end in voiced_spans(read_wav(heard[0]))) >= 1.0


def test_twenty_calls_of_a_trunk_at_once(phones: Phones, hall: Hall) -> None:
    assert phones.crowd.finishes(whole.LONG_S) == 0, phones.crowd.text
    ended = records(hall, "5559910", CROWD)
    assert len(ended) == CROWD
    assert {head.reason for head in ended} == {"caller hung up"}
    starts, ends = [h.started.mono for h in ended], [h.ended.mono for h in ended]
    assert max(starts) < min(ends)  # all at once
    for head in ended:
        _, right = whole.sides(head.recording)
        assert level(right) > -40, head.id


def test_the_trace_of_a_call_shows_both_its_phones_and_no_key(phones: Phones, hall: Hall) -> None:
    call = phones.calls["agent"].record.head.id
    path = wait(
        lambda: next(iter((hall.gateway.data / "traces").glob(f"{call}*.gz")), None), "the trace of a call that is over"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "trace", call, "--data", str(hall.gateway.data), "--pcap", "call.pcap"],
        cwd=path.parent,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    ladder = ran.stdout
    assert f"127.0.0.1:{phones.agent.port}" in ladder
    for text in ("INVITE sip:3001@", "INVITE sip:talk1", "180 Ringing", "200 OK [audio", "ACK", "BYE", "200 OK (BYE)"):
        assert text in ladder, ladder
    program = need("tcpdump")
    told = subprocess.run([program, "-nn", "-A", "-r", "call.pcap"], cwd=path.parent, capture_output=True, text=True)
    assert told.stdout.count("INVITE sip:") >= 2
    assert f"X-Trunkline-Call: {call}" in told.stdout


def test_keys_by_info_are_in_no_trace(phones: Phones, hall: Hall) -> None:
    assert phones.bridged_hold.finishes(whole.LONG_S) == 0, phones.bridged_hold.text
    (head,) = records(hall, "5559912", 1)
    path = wait(lambda: next(iter((hall.gateway.data / "traces").glob(f"{head.id}*.gz")), None), "the trace")
    infos = [line.data for line in read(path).lines if line.data.startswith(b"INFO")]
    assert len(infos) == 2
    assert all(b"Signal=x" in data or b"Signal= x" in data for data in infos), infos


def test_hold_while_a_menu_speaks(phones: Phones, hall: Hall) -> None:
    assert phones.holds.finishes(whole.LONG_S) == 0, phones.holds.text
    (head,) = records(hall, "5559911", 1)
    assert head.reason == "caller hung up"


def test_hold_in_a_conversation(phones: Phones, hall: Hall) -> None:
    assert phones.bridged_hold.finishes(whole.LONG_S) == 0, phones.bridged_hold.text
    (head,) = records(hall, "5559912", 1)
    record = hall.records.of("5559912")
    assert [e.data["agent"] for e in record.of("bridged")] == ["hold1"], story(record)
    assert (head.reason, head.outcome) == ("caller hung up", "served")


def test_a_cancel_that_crosses_the_answer_leaves_the_call_as_it_is(phones: Phones, hall: Hall) -> None:
    assert phones.crossing.finishes(whole.LONG_S) == 0, phones.crossing.text
    (head,) = records(hall, "5559913", 1)
    assert head.reason == "caller hung up"


def test_a_number_that_leads_nowhere_is_404(hall: Hall, crew: Programs) -> None:
    refused = sipp.start(
        crew, ["invite", "refused"], hall.gateway.sip, name="nowhere", **{"to": "4711", "status": "404"}
    )
    assert refused.finishes(whole.LONG_S) == 0, refused.text
    assert hall.metric("trunkline_calls_refused_total", why="unknown number") >= 1


def test_the_doctor_says_who_is_registered_and_who_was_refused(phones: Phones, hall: Hall, crew: Programs) -> None:
    refused = sipp.start(
        crew, ["invite", "refused"], hall.gateway.sip, name="nobody", **{"to": "9042", "status": "404"}
    )
    assert refused.finishes(whole.LONG_S) == 0, refused.text
    command = [sys.executable, "-m", "gateway.cli", "doctor", "--json", "--sip", hall.gateway.sip]
    command += ["--http", f"127.0.0.1:{hall.gateway.http_port}", "--config", str(ROOT / "sip_config" / "gateway.yaml")]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    told = json.loads(ran.stdout)
    found = {row["what"]: row for row in told}
    assert found["gateway"]["ok"], found["gateway"]
    assert found[f"SIP on udp://{hall.gateway.sip}"]["found"].startswith("taken")
    assert "registered" in found["phones"]["found"]
    said = [row["found"] for row in told if row["what"].startswith("refused ")]
    assert any("wanted to call 9042: 404 Not Found: nobody serves that number" in each for each in said), said


def test_garbage_on_its_ports_is_counted_and_calls_go_on(hall: Hall) -> None:
    before = figures(hall)
    call = hall.start("3001", [Listen(), Press("5"), Until("said", 3), Wait(3.0)])
    call.until("said", 3)
    leg = call.line[0].leg
    assert leg.remote is not None
    rtp = leg.remote
    sip = ("127.0.0.1", hall.gateway.sip_port)
    dice = random.Random(11)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for size in range(1, 200):
            for port in (sip, rtp):
                sender.sendto(dice.randbytes(size), port)
            leg.socket.sendto(dice.randbytes(size), rtp)  # a stranger's end in the kernel, the caller's own do not
        sender.sendto(b"INVITE sip:1001@x SIP/2.0\r\nVia: nonsense\r\n\r\n", sip)
        sender.sendto(b"BYE", sip)
    after = wait(lambda: (now := figures(hall)) and grown(before, now) >= 2 and now, "garbage in the metrics")
    assert grown(before, after) >= 2, after
    assert call.record.head.reason == "caller hung up"
    assert call.outcome.answered
    assert call.outcome.rtp["lost"] == 0


def figures(hall: Hall) -> dict[str, float]:
    """The counters of what was no valid packet, SIP's and RTP's."""
    lines = page(hall.gateway.http_port, "/metrics")[1].splitlines()
    wanted = ("trunkline_sip_total{", "trunkline_media_total{")
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith(wanted))
    return {name: float(value) for name, value in values.items() if "garbage" in name or "malformed" in name}


def grown(before: dict[str, float], after: dict[str, float]) -> int:
    """How many of those counters went up."""
    return sum(after[name] > before.get(name, 0.0) for name in after)


def test_health(hall: Hall) -> None:
    status, text = page(hall.gateway.http_port, "/healthz")
    assert status == 200
    assert json.loads(text)["ok"]
    assert set(json.loads(text)["checks"].values()) == {"ok"}
