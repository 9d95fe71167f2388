"""Keys as tones, heard and sent, where no telephone-event was agreed on (ITU-T Q.23, Q.24)."""

from __future__ import annotations

import struct

import numpy as np

import native

from .test_engine import vowel
from .wire import Phone, converse, tone, tones_in, wait_for

LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
ROWS = "123A456B789C*0#D"


def pressed(digits: str, ms: int = 60, pause: int = 60, size: float = 4000) -> np.ndarray:
    """The tones of `digits`, whole frames."""
    parts: list[np.ndarray] = [np.zeros(800)]
    for digit in digits:
        row, column = divmod(ROWS.index(digit), 4)
        t = 2 * np.pi * np.arange(ms * 8) / 8000
        parts += [size * (np.sin(LOW[row] * t) + np.sin(HIGH[column] * t)), np.zeros(pause * 8)]
    line = np.concatenate([*parts, np.zeros(1600)])
    return np.round(line[: len(line) // 160 * 160]).astype(np.int16)


def keys(engine: native.Engine, many: int = 0) -> str:
    """The keys told so far, `many` at least."""
    found = engine.events()
    while sum(e[0] == native.KEY for e in found) < many:
        found += wait_for(engine, [native.KEY])
    return "".join(chr(e[3]) for e in found if e[0] == native.KEY)


def test_every_key_is_heard_once(engine: native.Engine) -> None:
    narrow, wide = Phone(engine, 8, dtmf=-1), Phone(engine, 9, dtmf=-1)
    words = pressed("1590*#A22")
    doubled = np.interp(np.arange(0, len(words), 0.5), np.arange(len(words)), words)
    converse([narrow, wide], [words, np.round(doubled).astype(np.int16)])
    events = [e for e in engine.events() if e[0] == native.KEY]
    for phone in (narrow, wide):
        assert "".join(chr(e[3]) for e in events if e[1] == phone.leg) == "1590*#A22"


def test_tones_are_keys_only_where_there_are_no_events(engine: native.Engine) -> None:
    phone = Phone(engine)
    phone.talk(pressed("1"))
    assert keys(engine) == ""
    engine.inband_dtmf(phone.leg, True)
    phone.talk(pressed("2"))
    assert keys(engine, 1) == "2"
    engine.inband_dtmf(phone.leg, False)
    phone.talk(pressed("3"))
    phone.receive()
    phone.send(phone.packet(struct.pack("!BBH", 4, 10, 160), 101, marker=True))
    assert keys(engine, 1) == "4"


def test_a_key_in_the_sound_stops_a_prompt_and_is_masked(engine: native.Engine) -> None:
    phone = Phone(engine, dtmf=-1)
    engine.play(phone.leg, [engine.load_prompt(tone(500, 300))], 1, keys_stop=True)
    engine.mask(phone.leg, True)
    phone.talk(pressed("7"))
    events = engine.events()
    assert [(chr(e[3]), e[4]) for e in events if e[0] == native.KEY] == [("7", 1)]
    assert [(e[3], e[4]) for e in events if e[0] == native.PROMPT_DONE] == [(1, 1)]
    assert np.abs(phone.hear(5)).max() <= 8


def test_speech_and_single_tones_are_no_keys(engine: native.Engine) -> None:
    phone = Phone(engine, dtmf=-1)
    noise = np.random.default_rng(4).integers(-8000, 8000, 15 * 160).astype(np.int16)
    phone.talk(np.concatenate([np.tile(vowel(), 5), tone(770, 6), tone(1336, 6), noise, pressed("5", ms=16)]))
    assert keys(engine) == ""


def test_keys_are_sent_as_tones(engine: native.Engine) -> None:
    phone = Phone(engine, dtmf=-1)
    phone.hear(3)
    engine.send_dtmf(phone.leg, "1D", ms=100)
    frames = phone.hear(24)
    loud = np.flatnonzero(np.abs(frames.astype(int)).max(axis=1) > 1000)
    begin = int(loud[0])
    first, second = frames[begin + 1 : begin + 4], frames[begin + 9 : begin + 12]
    assert tones_in(first, LOW + HIGH, least=2000) == {697, 1209}
    assert tones_in(second, LOW + HIGH, least=2000) == {941, 1633}
    assert np.abs(frames[begin + 6 : begin + 7]).max() <= 8
    assert 9 <= len(loud) <= 12
    assert {p.payload for p in phone.got} == {0}
