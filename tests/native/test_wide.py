"""Codecs on the wire: wideband is wide from end to end, rates meet in bridges and prompts, a change is followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import native
from native import kernels

from .test_engine import vowel
from .wire import Phone, converse, tone, tones_in, wait_for

NEEDS = "codecs"
WIDE = [("G722", 9, 160), ("L16/16000", 97, 320), ("opus", 111, 960)]
"""Name, payload type, ticks of the RTP clock in 20 ms."""

HERTZ = (1000, 6000)


def both(frames: int, rate: int = 16000) -> np.ndarray:
    """1 kHz and 6 kHz, or 1 kHz alone where there is no room for more."""
    return sum(tone(hz, frames, 4000, rate) for hz in HERTZ if hz < rate / 2).astype(np.int16)


def taped(engine: native.Engine, phone: Phone) -> np.ndarray:
    out = np.zeros((131072, 2), np.int16)
    return out[: engine.read_tap(phone.leg, out)]


@pytest.mark.parametrize(("name", "payload", "ticks"), WIDE)
def test_wideband_is_wide_both_ways(engine: native.Engine, name: str, payload: int, ticks: int) -> None:
    phone = Phone(engine, payload, codec=name)
    phone.talk(np.zeros(3 * 320, np.int16))
    engine.tap(phone.leg, True, rate=16000)
    engine.play(phone.leg, [engine.load_prompt(both(60), rate=16000)], 1)
    (heard,) = converse([phone], [both(40)])
    assert tones_in(heard[-20:], HERTZ, 16000, 2500) == set(HERTZ)
    left, right = taped(engine, phone)[-20 * 320 :].T
    assert tones_in(left, HERTZ, 16000, 2500) == set(HERTZ)
    assert tones_in(right, HERTZ, 16000, 2500) == set(HERTZ)
    assert {(b.stamp - a.stamp) % 2**32 for a, b in zip(phone.got, phone.got[1:], strict=False)} == {ticks}
    assert {p.payload for p in phone.got} == {payload}
    stats = engine.stats(phone.leg)
    assert (stats["rate"], stats["codec"], stats["lost"]) == (16000, name, 0)
    assert stats["jitter_ms"] < 20


def test_what_a_recognizer_reads_is_wideband(engine: native.Engine) -> None:
    phone = Phone(engine, 9)
    engine.listen(phone.leg, True)
    phone.hear(15)
    voice = kernels.upsample(np.tile(vowel(), 10)[: 40 * 160])
    phone.talk((voice + 0.5 * tone(6000, 40, 4000, 16000)).astype(np.int16))
    out = np.zeros(32000, np.int16)
    wait_for(engine, [native.SPEECH_STARTED])
    got = out[: engine.read(phone.leg, out)]
    assert len(got) % 320 == 0
    assert tones_in(got[-20 * 320 :], [6000], 16000, 1500) == {6000}


def test_rates_meet_in_a_room(engine: native.Engine) -> None:
    """The upper band reaches who can hear it; nobody hears it folded down."""
    wide, other, narrow = Phone(engine, 9), Phone(engine, 97, codec="L16/16000"), Phone(engine, 8)
    room = engine.open_room()
    for phone in (wide, other, narrow):
        engine.join(room, phone.leg)
    words = [both(40), np.zeros(40 * 320, np.int16), tone(2500, 40, 4000)]
    heard = converse([wide, other, narrow], words)
    candidates = [1000, 2000, 2500, 5500, 6000]
    assert tones_in(heard[0][-20:], candidates, 16000) == {2500}
    assert tones_in(heard[1][-20:], candidates, 16000) == {1000, 2500, 6000}
    assert tones_in(heard[2][-20:], candidates[:3]) == {1000}


def test_prompts_of_either_rate_on_legs_of_either_rate(engine: native.Engine, tmp_path: Path) -> None:
    """A prompt may lie in a mapped file that nobody can write."""
    narrow, wide = Phone(engine), Phone(engine, 9)
    (tmp_path / "prompt").write_bytes(both(60).tobytes())
    mapped = np.memmap(tmp_path / "prompt", np.int16, "r")
    prompts = [engine.load_prompt(mapped, rate=16000), engine.load_prompt(both(60, 8000))]
    for prompt, expected in zip(prompts, ({1000, 6000}, {1000}), strict=True):
        for phone in (narrow, wide):
            engine.play(phone.leg, [prompt], 1)
        heard = converse([narrow, wide], [np.zeros(30 * 160, np.int16), np.zeros(30 * 320, np.int16)])
        assert tones_in(heard[0][-15:], [1000, 2000]) == {1000}
        assert tones_in(heard[1][-15:], [1000, 2000, 6000, 7000], 16000) == expected
    with pytest.raises(native.EngineError):
        engine.load_prompt(mapped, rate=44100)


@pytest.mark.parametrize("payload", [0, 9])
def test_a_change_of_codec_in_mid_stream_is_followed(engine: native.Engine, payload: int) -> None:
    phone = Phone(engine, payload, codecs={0: "PCMU", 8: "PCMA", 9: "G722", 97: "L16/16000", 111: "opus"})
    phone.hear(3)
    rate = 16000 if payload == 9 else 8000
    engine.tap(phone.leg, True, rate=rate)
    frames = 25
    for pt, name in ((0, "PCMU"), (8, "PCMA"), (9, "G722"), (111, "opus"), (97, "L16/16000"), (0, "PCMU")):
        phone.use(pt, name)
        phone.talk(tone(1000, frames, 6000, phone.rate))
    phone.talk(tone(1000, 8, 6000, phone.rate))
    said = taped(engine, phone)[:, 0].reshape(-1, rate // 50)
    loud = np.abs(said.astype(int)).max(axis=1) > 3000
    begin = int(np.argmax(loud))
    assert 1000 in tones_in(said[-10:], [1000], rate, 4000)
    assert len(loud) - begin >= 6 * frames
    assert (~loud[begin : begin + 6 * frames]).sum() <= 12, "a change costs no more than two frames"
    stats = engine.stats(phone.leg)
    assert (stats["lost"], stats["duplicate"], stats["discarded"]) == (0, 0, 0)


def test_lost_packets_of_opus_are_made_up(engine: native.Engine) -> None:
    phone = Phone(engine, 111, codec="opus")
    phone.hear(5)
    engine.tap(phone.leg, True, rate=16000)
    for k, frame in enumerate(tone(700, 75, 8000, 16000).reshape(-1, 320)):
        phone.receive()
        octets = phone.audio(frame)
        if k % 10 != 5:
            phone.send(octets)
    said = taped(engine, phone)[:, 0].reshape(-1, 320)[20:60]
    assert np.abs(said.astype(int)).max(axis=1).min() > 2000
    assert engine.stats(phone.leg)["lost"] in (7, 8)


def test_codecs_that_can_not_be_used_are_named(engine: native.Engine) -> None:
    leg, _ = engine.open_leg("127.0.0.1")
    for payload, codecs, why in (
        (0, {0: "PCMX"}, "PCMX"),
        (9, {0: "PCMU"}, "payload 9"),
        (111, None, "payload 111"),
    ):
        with pytest.raises(native.EngineError, match=why):
            engine.set_remote(leg, "127.0.0.1", 4000, payload, codecs=codecs)
    with pytest.raises(native.EngineError, match="8000"):
        engine.tap(leg, True, rate=44100)
