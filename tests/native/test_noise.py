"""Comfort noise of RFC 3389: silence that is told and not sent, both ways; quiet callers, and how loud one is."""

from __future__ import annotations

import time

import numpy as np
import pytest

import native

from . import lines
from .wire import Packet, Phone, converse, tone


def decibels(pcm: np.ndarray) -> float:
    """RMS over that of the loudest square wave."""
    return float(20 * np.log10(max(pcm.astype(float).std(), 1e-3) / 32768))


def taped(engine: native.Engine, phone: Phone) -> np.ndarray:
    out = np.zeros((32000, 2), np.int16)
    return out[: engine.read_tap(phone.leg, out), 0].reshape(-1, 160)


def test_told_silence_is_heard_as_noise(engine: native.Engine) -> None:
    told = {b"\x28": -40, b"\x32\x6e\x90": -50}
    phones = [Phone(engine) for _ in told]
    converse(phones, [tone(400, 15, 2000)] * 2)
    for phone, payload in zip(phones, told, strict=True):
        phone.receive()
        phone.send(phone.packet(payload, 13))
    listen(phones, 10)
    for phone in phones:
        engine.tap(phone.leg, True)
    listen(phones, 22)
    for phone, level in zip(phones, told.values(), strict=True):
        noise = taped(engine, phone)[:20]
        assert decibels(noise) == pytest.approx(level, abs=3)
        assert min(decibels(frame) for frame in noise) > level - 10, "no hole"
        assert max(decibels(frame) for frame in noise) < level + 10
        stats = engine.stats(phone.leg)
        assert stats["noise_frames"] >= 20
        assert (stats["lost"], stats["discarded"]) == (0, 0)
    converse(phones, [tone(400, 15, 8000)] * 2)
    for phone in phones:
        assert decibels(taped(engine, phone)[-5:]) == pytest.approx(decibels(tone(400, 5, 8000)), abs=1)


def listen(phones: list[Phone], frames: int) -> None:
    """Time goes by, and nobody says anything."""
    for _ in range(frames):
        for phone in phones:
            phone.receive()


def test_silence_that_nobody_told_is_silence(engine: native.Engine) -> None:
    phone = Phone(engine)
    phone.talk(tone(400, 20, 8000))
    for _ in range(15):
        phone.receive()
    engine.tap(phone.leg, True)
    for _ in range(10):
        phone.receive()
    assert np.abs(taped(engine, phone)[:8]).max() == 0
    assert engine.stats(phone.leg)["noise_frames"] == 0


def arrived(phone: Phone, seconds: float) -> list[Packet]:
    """What comes while nothing is said."""
    packets, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        phone.socket.settimeout(left)
        try:
            packets.append(Packet.read(phone.socket.recv(2048)))
        except TimeoutError:
            break
    return packets


def test_silence_is_told_where_that_was_agreed_on(engine: native.Engine) -> None:
    phone = Phone(engine, noise_payload=13)
    quiet = arrived(phone, 0.9)
    noise = [p for p in quiet if p.payload == 13]
    assert noise
    assert all(1 <= len(p.data) <= 33 and p.data[0] <= 127 for p in noise)
    assert not any(p.marker for p in noise)
    assert len(quiet) <= 30, "the silence is not sent"
    engine.play(phone.leg, [engine.load_prompt(tone(600, 20))], 1)
    words = [p for p in arrived(phone, 0.55) if p.payload == 0]
    assert 20 <= len(words) <= 35
    assert [p.marker for p in words] == [True] + [False] * (len(words) - 1)
    both = quiet + words
    elapsed = (both[-1].at - both[0].at) * 8000 // 1_000_000_000
    assert ((both[-1].stamp - both[0].stamp) % 2**32) == pytest.approx(elapsed, abs=1600)
    assert (both[-1].stamp - both[0].stamp) % 160 == 0
    loud = [p for p in words if np.abs(p.pcm().astype(int)).max() > 1000]
    assert len(loud) == 20


def test_a_quiet_caller_is_made_louder_and_a_loud_one_is_not(engine: native.Engine, speech: list[np.ndarray]) -> None:
    """Speech at -38, -50 and -12 dBFS, from callers at once; what is wanted is -20 dBm0, or -23 dBFS."""
    quiet, faint, loud = Phone(engine), Phone(engine), Phone(engine)
    listeners = [Phone(engine) for _ in range(3)]
    for caller, listener in zip((quiet, faint, loud), listeners, strict=True):
        engine.bridge(caller.leg, listener.leg)
        engine.auto_gain(caller.leg, True)
    words = lines.talk(np.random.default_rng(5), speech, 2.4, 0)
    said = [words * 10 ** (db / 20) for db in (-38, -50, -12)]
    heard = converse([quiet, faint, loud, *listeners], [*said, *[np.zeros(len(words), np.int16)] * 3])[3:]
    gained = [decibels(h[-50:]) - decibels(s[-50 * 160 :]) for h, s in zip(heard, said, strict=True)]
    assert 5 < gained[0] < 16
    assert 3 < gained[1] < 16
    assert -1.5 < gained[2] < 1
    levels = [engine.stats(phone.leg)["level_dbm0"] for phone in (quiet, loud)]
    assert levels[1] - levels[0] == pytest.approx(26, abs=4)
    assert -50 < levels[0] < -25


def test_a_listener_who_says_nothing_is_not_amplified(engine: native.Engine) -> None:
    phone = Phone(engine)
    engine.auto_gain(phone.leg, True)
    hiss = np.random.default_rng(2).integers(-60, 60, 30 * 160).astype(np.int16)
    engine.tap(phone.leg, True)
    phone.talk(hiss)
    assert decibels(taped(engine, phone)[-10:]) < decibels(hiss) + 1
