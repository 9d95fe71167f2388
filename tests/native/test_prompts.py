"""Prompts on the wire: bit-exact, in sequence, looped, stopped by keys, muted by speech and resumed."""

from __future__ import annotations

import struct
from collections import deque

import numpy as np
import pytest

import native
from native import kernels

from . import lines
from .test_engine import vowel
from .wire import Phone, wait_for


def coded(pcm: np.ndarray, payload: int = 0) -> np.ndarray:
    return kernels.g711_decode(kernels.g711_encode(pcm, payload), payload)


def words(seed: int, samples: int) -> np.ndarray:
    """Something that is never silent and repeats nowhere."""
    return np.random.default_rng(seed).integers(2000, 9000, samples).astype(np.int16)


@pytest.mark.parametrize("payload", [0, 8])
def test_prompts_are_bit_exact_and_without_a_gap(engine: native.Engine, payload: int) -> None:
    phone = Phone(engine, payload)
    a, b = words(1, 1234), words(2, 4321)
    engine.play(phone.leg, [engine.load_prompt(a), engine.load_prompt(b)], 77)
    heard = phone.hear(42).reshape(-1)
    begin = int(np.argmax(np.abs(heard) > 1000))
    expected = coded(np.concatenate([a, b]), payload)
    assert begin % 160 == 0
    assert np.array_equal(heard[begin : begin + len(expected)], expected)
    assert np.abs(heard[begin + len(expected) :]).max() <= 8
    events = [e for e in engine.events() if e[0] in (native.PROMPT_STARTED, native.PROMPT_DONE)]
    assert [(e[0], e[3], e[4]) for e in events] == [(native.PROMPT_STARTED, 77, 0), (native.PROMPT_DONE, 77, 0)]


def test_append_loop_replace_and_free(engine: native.Engine) -> None:
    phone = Phone(engine)
    one, two = engine.load_prompt(words(1, 480)), engine.load_prompt(words(2, 480))
    engine.play(phone.leg, [one], 1, loop=True)
    engine.free_prompt(one)
    heard = phone.hear(20).reshape(-1)
    begin = int(np.argmax(np.abs(heard) > 1000))
    assert np.array_equal(heard[begin : begin + 1440], coded(np.tile(words(1, 480), 3)))
    engine.play(phone.leg, [two], 2, append=True)
    phone.hear(10)
    done = [(e[0], e[3], e[4]) for e in engine.events()]
    assert done[:1] == [(native.PROMPT_STARTED, 1, 0)] or (native.PROMPT_STARTED, 1, 0) in done
    assert done[-3:] == [(native.PROMPT_DONE, 1, 0), (native.PROMPT_STARTED, 2, 0), (native.PROMPT_DONE, 2, 0)]
    engine.play(phone.leg, [two], 3, loop=True)
    phone.hear(3)
    engine.play(phone.leg, [two], 4)
    phone.hear(10)
    done = [(e[0], e[3], e[4]) for e in engine.events() if e[0] == native.PROMPT_DONE]
    assert done == [(native.PROMPT_DONE, 3, 1), (native.PROMPT_DONE, 4, 0)]
    with pytest.raises(native.EngineError):
        engine.play(phone.leg, [one], 5)


def test_a_key_stops_the_prompt_it_may_stop(engine: native.Engine) -> None:
    phone = Phone(engine)
    prompt = engine.load_prompt(words(1, 16000))
    for stops in (True, False):
        engine.play(phone.leg, [prompt], 9, keys_stop=stops)
        phone.hear(10)
        phone.receive()
        phone.send(phone.packet(struct.pack("!BBH", 3, 10, 160), 101, marker=True))
        wait_for(engine, [native.KEY])
        heard = phone.hear(6)
        assert (np.abs(heard[-3:]).max() <= 8) == stops
        engine.stop_play(phone.leg)
        phone.hear(3)


def test_speech_mutes_and_resume_goes_on_where_it_was(engine: native.Engine) -> None:
    phone = Phone(engine)
    prompt = np.round(words(5, 24000) * 0.2).astype(np.int16)
    engine.play(phone.leg, [engine.load_prompt(prompt)], 6, barge_in=True)
    before = phone.hear(30).reshape(-1)
    during = np.concatenate([p.pcm() for p in phone.talk(np.tile(vowel(), 8)[: 30 * 160])])
    events = wait_for(engine, [native.PROMPT_MUTED])
    start = next(e for e in events if e[0] == native.SPEECH_STARTED)
    muted = next(e for e in events if e[0] == native.PROMPT_MUTED)
    assert (start[3], muted[3]) == (1, 6)
    assert start[2] + start[4] * 1000 == pytest.approx(muted[2], abs=1_000_000)
    heard = np.concatenate([before, during])
    played = np.flatnonzero(heard)
    begin, end = played[0], played[-1] + 1
    assert np.array_equal(heard[begin:end], coded(prompt)[: end - begin])
    assert end < len(heard) - 10 * 160
    phone.hear(15)
    wait_for(engine, [native.SPEECH_ENDED])
    engine.resume(phone.leg)
    rest = phone.hear(40).reshape(-1)
    again = np.flatnonzero(rest)[0]
    assert np.array_equal(rest[again : again + 3200], coded(prompt)[end - begin : end - begin + 3200])
    assert engine.stats(phone.leg)["muted_frames"] > 10


def test_speech_does_not_mute_a_prompt_that_must_be_heard(engine: native.Engine) -> None:
    phone = Phone(engine)
    engine.play(phone.leg, [engine.load_prompt(words(5, 24000))], 6)
    phone.hear(20)
    phone.talk(np.tile(vowel(), 8)[: 30 * 160])
    events = engine.events()
    assert [e[3] for e in events if e[0] == native.SPEECH_STARTED] == [0]
    assert not [e for e in events if e[0] == native.PROMPT_MUTED]
    assert np.abs(phone.hear(5)).min(axis=1).min() > 1000


def test_a_call_on_hold_does_not_lose_its_prompt(engine: native.Engine) -> None:
    phone = Phone(engine)
    port = phone.socket.getsockname()[1]
    engine.set_remote(phone.leg, "127.0.0.1", port, 0, 101, send=False)
    prompt = words(8, 1600)
    engine.play(phone.leg, [engine.load_prompt(prompt)], 1)
    engine.set_remote(phone.leg, "127.0.0.1", port, 0, 101)
    heard = phone.hear(20).reshape(-1)
    begin = int(np.argmax(np.abs(heard) > 1000))
    assert np.array_equal(heard[begin : begin + 1600], coded(prompt))


def test_the_prompts_own_echo_does_not_mute_it(engine: native.Engine, speech: list[np.ndarray]) -> None:
    """It comes back 12 dB softer, and 60 ms later than it left."""
    phone = Phone(engine)
    words = lines.talk(np.random.default_rng(12), speech, 4, -20)
    engine.play(phone.leg, [engine.load_prompt(words.astype(np.int16))], 6, barge_in=True)
    line = deque([np.zeros(160, np.int16)] * 3)
    for _ in range(150):
        line.append(phone.pcm(phone.receive()) // 4)
        phone.send(phone.audio(line.popleft()))
    assert not [e for e in engine.events() if e[0] in (native.SPEECH_STARTED, native.PROMPT_MUTED)]
