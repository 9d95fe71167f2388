"""Wideband calls and keys as tones: baresip with G.722, L16 and Opus as caller, a trunk without RFC 4733."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gateway.lab.sounds import tone
from gateway.lab.wire import Sound
from gateway.store.record import CallRecord
from tests.peers import baresip, sipp, whole
from tests.peers.programs import Programs
from tests.peers.whole import Hall, story, tones, wait

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

RATE = 16000
AGENT_HZ, CALLERS_HZ = 4600.0, {"G722": 5200.0, "opus": 5600.0, "L16/16000": 6100.0}
"""Beyond the telephone band: what is heard of these was never at 8 kHz."""

WRITTEN = {"G722": "G722/16000/1", "opus": "opus/48000/2", "L16/16000": "L16/16000/1"}
"""Codecs as baresip's accounts name them."""

TALK_OCTETS = 2 * RATE * 2
"""Two seconds in the agent's recording, which is a whole WAV only when the call is over."""

KEY_HZ = {"3": (697.0, 1477.0)}


def wide_tone(hertz: float, seconds: float = 60.0) -> Sound:
    """A sine at 16 kHz."""
    return tone(hertz * 8000 / RATE, seconds * RATE / 8000)


def read(path: Path) -> tuple[int, Sound]:
    """Rate and first channel of a recording of baresip."""
    with wave.open(str(path)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return file.getframerate(), sound[:, 0]


def brightest(path: Path, seconds: float) -> float:
    """How loud it gets between 4.2 and 7 kHz within the first seconds, dBFS of 20 ms."""
    rate, sound = read(path)
    count = rate // 50
    frames = sound[: int(seconds * rate) // count * count].reshape(-1, count) * np.hanning(count) / 32768
    power = np.abs(np.fft.rfft(frames)) ** 2 * 2 / count / (np.hanning(count) ** 2).sum()
    band = slice(round(4200 / 50), round(7000 / 50))
    return float(10 * np.log10(power[:, band].sum(axis=1).max() + 1e-12))


def heard_tones(path: Path) -> set[float]:
    """Which parties' tones sound in a recording of baresip, whatever its rate."""
    rate, sound = read(path)
    asked = {hertz * 8000 / rate: hertz for hertz in (AGENT_HZ, *CALLERS_HZ.values())}
    return {asked[found] for found in tones(sound, list(asked))}


@dataclass
class Talk:
    """One call through the gateway to the agent: its record, and what each side heard."""

    record: CallRecord
    agent: set[float]
    caller: set[float]
    prompts: Path


@pytest.fixture(scope="module")
def agent(hall: Hall, crew: Programs) -> baresip.Baresip:
    voice = wide_tone(AGENT_HZ)
    secret = whole.password("wide1")
    return baresip.start(crew, hall.gateway.sip, "wide1", secret, voice=voice, codecs="G722/16000/1", rate=RATE)


def talk(hall: Hall, crew: Programs, agent: baresip.Baresip, codec: str) -> Talk:
    """baresip calls with this codec alone, presses 8 for the agent, and both speak for a while."""
    user = f"caller-{codec.partition('/')[0].lower()}"
    before = len(agent.recordings())
    phone = baresip.start(
        crew, "", user, voice=wide_tone(CALLERS_HZ[codec]), codecs=WRITTEN[codec], rate=RATE, name=user
    )
    phone.command("dial", f"sip:3001@{hall.gateway.sip}")
    wait(lambda: (r := hall.records.of(user)) and r.of("entered"), "the menu", lambda: phone.text)
    phone.says("established", whole.LONG_S)
    wait(lambda: hall.records.of(user).of("no_input"), "the end of the prompts", lambda: story(hall.records.of(user)))
    phone.command("sndcode", "8")
    wait(lambda: hall.records.of(user).of("bridged"), "the agent", lambda: story(hall.records.of(user)) + phone.text)
    wait(lambda: any(p.stat().st_size > TALK_OCTETS for p in agent.recordings()[before:]), "two seconds of talk")
    phone.command("hangup")
    record = wait(lambda: (r := hall.records.of(user)) and r.head.ended and r, "the end of the call")
    phone.end()
    theirs = wait(lambda: [p for p in agent.recordings()[before:] if baresip.complete(p)], "the agent's recording")
    return Talk(record, heard_tones(theirs[-1]), heard_tones(phone.recordings()[0]), phone.recordings()[0])


@pytest.mark.parametrize("codec", WRITTEN)
def test_wideband_goes_through_the_gateway_both_ways(
    hall: Hall, crew: Programs, agent: baresip.Baresip, codec: str
) -> None:
    call = talk(hall, crew, agent, codec)
    assert call.caller == {AGENT_HZ}
    assert call.agent == {CALLERS_HZ[codec]}
    assert brightest(call.prompts, 2.5) > -50.0, "what the menu says is wideband too"
    media = {str(e.data["party"]): e.data for e in call.record.of("media")}
    assert {party: data["codec"] for party, data in media.items()} == {"caller": codec, "agent": "G722"}
    for data in media.values():
        assert float(str(data["mos"])) > 4.0, data
        assert float(str(data["loss"])) < 1.0, data


def test_keys_that_come_as_tones_navigate(hall: Hall, crew: Programs) -> None:
    low, high = (tone(hertz, 0.2, -12.0) for hertz in KEY_HZ["3"])
    pressed = np.concatenate([tone(300, 0.5, -60.0), low + high, tone(300, 3.0, -60.0)])
    caller = sipp.start(
        crew,
        ["invite", "answered", "stay", "speak", "stay", "bye"],
        hall.gateway.sip,
        name="tones",
        sounds={"caller": pressed},
        **{"from": "5559920", "to": "3001", "talk_ms": "2000", "formats": "0"},
    )
    assert caller.finishes(whole.LONG_S) == 0, caller.text
    record = wait(lambda: (r := hall.records.of("5559920")) and r.head.ended and r, "the end of the call")
    assert [e.data["menu"] for e in record.of("entered")] == ["root", "lines"], story(record)
    assert len(record.of("key")) == 1
    assert not record.of("heard"), "a key is no utterance"
