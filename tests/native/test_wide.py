"""Codecs on the wire: wideband is wide from end to end, rates meet in bridges and prompts, a change is followed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import native
from native import kernels

from .test_engine import vowel
from .wire import Phone, converse, tone, tones_in, wait_for

WIDE = [("G722", 9, 160), ("L16/16000", 97, 320), ("opus", 111, 960)]
"""Name, payload type, ticks of the RTP clock in 20 ms."""

HERTZ = (1000, 6000)


def both(frames: int, rate: int = 16000) -> np.ndarray:
    """1 kHz and 6 kHz, or 1 kHz alone where there is no room for more."""
    return sum(tone(hz, frames, 4000, rate) for hz in HERTZ if hz < rate / 2).astype(np.int16)


def taped(engine: native.Engine, phone: Phone) -> np.ndarray:
    out = np.zeros((131072, 2), np.int16)
    return out[: engine.read_tap(phone.leg, out)]


def test_wideband_is_wide_both_ways(engine: native.Engine) -> None:
    phones = [Phone(engine, payload, codec=name) for name, payload, _ in WIDE]
    prompt = engine.load_prompt(both(60), rate=16000)
    for phone in phones:
        engine.tap(phone.leg, True, rate=16000)
        engine.play(phone.leg, [prompt], 1)
    heard = converse(phones, [both(30)] * 3)
    for (name, payload, ticks), phone, h in zip(WIDE, phones, heard, strict=True):
        assert tones_in(h[-15:], HERTZ, 16000, 2500) == set(HERTZ)
        left, right = taped(engine, phone)[-15 * 320 :].T
        assert tones_in(left, HERTZ, 16000, 2500) == set(HERTZ)
        assert tones_in(right, HERTZ, 16000, 2500) == set(HERTZ)
        assert {(b.stamp - a.stamp) % 2**32 for a, b in pairwise(phone.got)} == {ticks}
        assert {p.payload for p in phone.got} == {payload}
        stats = engine.stats(phone.leg)
        assert (stats["rate"], stats["codec"], stats["lost"]) == (16000, name, 0)
        assert stats["jitter_ms"] < 20


def test_what_a_recognizer_reads_is_wideband(engine: native.Engine) -> None:
    phone = Phone(engine, 9)
    engine.listen(phone.leg, True)
    phone.hear(15)
    voice = kernels.upsample(np.tile(vowel(), 7))
    phone.talk((voice + 0.5 * tone(6000, 28, 4000, 16000)).astype(np.int16))
    out = np.zeros(32000, np.int16)
    wait_for(engine, [native.SPEECH_STARTED])
    got = out[: engine.read(phone.leg, out)]
    assert len(got) % 320 == 0
    assert tones_in(got[-12 * 320 :], [6000], 16000, 1500) == {6000}


def test_rates_meet_in_a_room(engine: native.Engine) -> None:
    """The upper band reaches who can hear it; nobody hears it folded down."""
    wide, other, narrow = Phone(engine, 9), Phone(engine, 97, codec="L16/16000"), Phone(engine, 8)
    room = engine.open_room()
    for phone in (wide, other, narrow):
        engine.join(room, phone.leg)
    words = [both(26), np.zeros(26 * 320, np.int16), tone(2500, 26, 4000)]
    heard = converse([wide, other, narrow], words)
    candidates = [1000, 2000, 2500, 5500, 6000]
    assert tones_in(heard[0][-12:], candidates, 16000) == {2500}
    assert tones_in(heard[1][-12:], candidates, 16000) == {1000, 2500, 6000}
    assert tones_in(heard[2][-12:], candidates[:3]) == {1000}


def test_prompts_of_either_rate_on_legs_of_either_rate(engine: native.Engine, tmp_path: Path) -> None:
    """A prompt may lie in a mapped file that nobody can write."""
    narrow, wide = Phone(engine), Phone(engine, 9)
    (tmp_path / "prompt").write_bytes(both(60).tobytes())
    mapped = np.memmap(tmp_path / "prompt", np.int16, "r")
    prompts = [engine.load_prompt(mapped, rate=16000), engine.load_prompt(both(60, 8000))]
    for prompt, expected in zip(prompts, ({1000, 6000}, {1000}), strict=True):
        for phone in (narrow, wide):
            engine.play(phone.leg, [prompt], 1)
        heard = converse([narrow, wide], [np.zeros(18 * 160, np.int16), np.zeros(18 * 320, np.int16)])
        assert tones_in(heard[0][-10:], [1000, 2000]) == {1000}
        assert tones_in(heard[1][-10:], [1000, 2000, 6000, 7000], 16000) == expected
    with pytest.raises(native.EngineError):
        engine.load_prompt(mapped, rate=44100)


def test_a_change_of_codec_in_mid_stream_is_followed(engine: native.Engine) -> None:
    table = {0: "PCMU", 8: "PCMA", 9: "G722", 97: "L16/16000", 111: "opus"}
    phones = [Phone(engine, 0, codecs=table), Phone(engine, 9, codecs=table)]
    engine.tap(phones[0].leg, True)
    engine.tap(phones[1].leg, True, rate=16000)
    frames, order = 12, (0, 8, 9, 111, 97, 0)
    for payload in order:
        for phone in phones:
            phone.use(payload, table[payload])
        for k in range(frames):
            for phone in phones:
                phone.receive()
                phone.send(phone.audio(tone(1000, frames, 6000, phone.rate).reshape(frames, -1)[k]))
    for phone, rate in zip(phones, (8000, 16000), strict=True):
        said = taped(engine, phone)[:, 0].reshape(-1, rate // 50)
        loud = np.abs(said.astype(int)).max(axis=1) > 3000
        begin = int(np.argmax(loud))
        assert len(loud) - begin >= len(order) * frames - 10
        assert (~loud[begin:]).sum() <= 12, "a change costs no more than two frames"
        assert tones_in(said[-8:], [500, 1000, 2000], rate, 4000) == {1000}
        stats = engine.stats(phone.leg)
        assert (stats["lost"], stats["duplicate"], stats["discarded"]) == (0, 0, 0)


def test_lost_packets_of_opus_are_made_up(engine: native.Engine) -> None:
    phone = Phone(engine, 111, codec="opus")
    phone.hear(5)
    engine.tap(phone.leg, True, rate=16000)
    for k, frame in enumerate(tone(700, 45, 8000, 16000).reshape(-1, 320)):
        phone.receive()
        octets = phone.audio(frame)
        if k % 10 != 5:
            phone.send(octets)
    said = taped(engine, phone)[:, 0].reshape(-1, 320)[15:40]
    loudest = np.abs(said.astype(int)).max(axis=1)
    assert loudest.min() > 500
    assert np.median(loudest) > 6000
    assert engine.stats(phone.leg)["lost"] in (3, 4)


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
