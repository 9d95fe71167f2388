"""Two plain legs face to face on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gateway.lab.leg import Leg, Pacer
from gateway.lab.sounds import likeness, noise, tone, tones_heard
from gateway.lab.wire import PCMA
from tests.peers.programs import eventually


@pytest.fixture
def pair() -> Iterator[tuple[Leg, Leg]]:
    pacer = Pacer()
    a, b = pacer.add(Leg()), pacer.add(Leg())
    pacer.start()
    a.attach("127.0.0.1", b.port)
    b.attach("127.0.0.1", a.port)
    yield a, b
    pacer.stop()
    a.close()
    b.close()


def test_what_one_says_the_other_hears(pair: tuple[Leg, Leg]) -> None:
    a, b = pair
    voice = noise(1.0, -20, seed=3, kind="babble")
    said = a.say(voice)
    eventually(lambda: said.done)
    eventually(lambda: len(b.track.speech) > a.sent - 3)
    assert likeness(voice, b.track.sound()) > 0.97
    assert (b.track.lost, b.track.garbage) == (0, 0)


def test_voice_is_timed_from_its_first_to_its_last_sample(pair: tuple[Leg, Leg]) -> None:
    a, b = pair
    quiet = np.zeros(4000, np.int16)
    said = a.say(np.concatenate([quiet, tone(440, 0.61), quiet]))
    eventually(lambda: said.done)
    assert said.started is not None
    assert said.ended is not None
    heard = eventually(lambda: b.first_voiced_after(said.started - 0.01))
    assert abs(heard - said.started) < 0.02
    stopped = b.silent_after(said.started + 0.1)
    assert stopped is not None
    assert abs(stopped - said.ended) < 0.06


def test_keys_are_heard_once_each_and_in_order(pair: tuple[Leg, Leg]) -> None:
    a, b = pair
    pressed = a.press("199#")
    eventually(lambda: pressed.done)
    eventually(lambda: b.track.keys == "199#", what="all keys")
    assert b.track.lost == 0


def test_a_law_is_heard_as_it_was_said(pair: tuple[Leg, Leg]) -> None:
    a, b = pair
    a.attach("127.0.0.1", b.port, PCMA)
    b.payload = PCMA
    said = a.say(tone(440, 0.5))
    eventually(lambda: said.done and len(b.voiced) > 20)
    assert tones_heard(b.track.sound(), [440, 880]) == {440}
