"""What decides which sound is a turn: a detector in a process of its own, or the media engine alone."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from gateway.core.errors import ConfigError
from gateway.media import events as media
from gateway.media.engine import MediaEngine
from gateway.speech.ear import Ear, EarEvent, Partial, TurnDropped, TurnStarted, UtteranceHeard
from gateway.speech.ears import Ears
from tests.media.peer import Peer
from tests.speech.conftest import noise, silence, tone
from tests.speech.test_ears import Listener

FAKE = "tests.speech.fakes:recognizer"


@pytest_asyncio.fixture
async def ears() -> AsyncIterator[Ears]:
    made = Ears(FAKE, workers=1, vad="webrtc")
    await made.start()
    yield made
    await made.close()


def children() -> int:
    folders = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return len(list(itertools.chain.from_iterable(folder.read_text().split() for folder in folders)))


class Told(Listener):
    """An ear that is told, on the sound's own clock, what the media engine noticed: (second, speaks, since)."""

    async def hear_told(self, pcm: bytes, *told: tuple[float, bool, float], **listen: int) -> EarEvent:
        self.done.clear()
        self.ear.listen("en-US", **listen)  # type: ignore[arg-type]
        began, waiting = self.clock, list(told)
        for start in range(0, len(pcm), 1280):
            self.clock += 0.04
            while waiting and began + waiting[0][0] <= self.clock:
                _, speaks, since = waiting.pop(0)
                self.ear.voice(speaks, began + since)
            self.ear.feed(pcm[start : start + 1280], self.clock)
            await asyncio.sleep(0.005)
            if self.done.is_set():
                break
        await asyncio.wait_for(self.done.wait(), 20)
        return self.events[-1]


async def test_the_engine_alone_decides_and_no_process_listens(ears: Ears) -> None:
    assert ears.vad_restarts == 0
    alone = children()
    both = Ears(FAKE, workers=1, vad="tests.speech.fakes:vad")
    await both.start()
    assert children() - alone == 2, "a recognizer and a detector"
    await both.close()
    heard = await Told(ears).hear_told(
        silence(0.4) + tone(2.0) + silence(1.2), (0.5, True, 0.4), (2.6, False, 2.4), silence_ms=600
    )
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one two three four"
    assert heard.speech_started == pytest.approx(5000.4, abs=0.15)
    assert heard.speech_ended == pytest.approx(5002.4, abs=0.05)


async def test_the_end_is_counted_from_the_last_voice_not_from_its_notice(ears: Ears) -> None:
    one = Told(ears)
    await one.hear_told(silence(0.4) + tone(1.0) + silence(3.0), (0.5, True, 0.4), (1.6, False, 1.4), silence_ms=600)
    assert one.clock == pytest.approx(5000 + 1.4 + 0.6, abs=0.15)
    assert any(isinstance(event, Partial) for event in one.events)


async def test_a_pause_is_bridged_and_a_later_turn_needs_its_own_voice(ears: Ears) -> None:
    one = Told(ears)
    pause = tone(1.0) + silence(0.45) + tone(1.0) + silence(1.2)
    told = (0.1, True, 0.0), (1.2, False, 1.0), (1.55, True, 1.45), (2.65, False, 2.45)
    heard = await one.hear_told(pause, *told, silence_ms=600)
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one two three four"
    assert isinstance(await one.hear_told(tone(2.0)), TurnDropped), "the engine heard no speech"


async def test_speech_that_began_before_the_turn_counts(ears: Ears) -> None:
    one = Told(ears)
    one.ear.voice(True, 4999.0)
    heard = await one.hear_told(tone(1.0) + silence(1.2), (1.2, False, 1.0))
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one two"


async def test_where_a_detector_listens_the_engines_word_changes_nothing() -> None:
    ears = Ears(FAKE, workers=1, vad="tests.speech.fakes:vad")
    await ears.start()
    try:
        assert isinstance(await Told(ears).hear_told(noise(2.0), (0.1, True, 0.0)), TurnDropped)
        heard = await Told(ears).hear_told(tone(1.0) + silence(1.2), (0.2, False, 0.0))
        assert isinstance(heard, UtteranceHeard)
    finally:
        await ears.close()


async def test_an_unknown_detector_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean: silero"):
        Ears(FAKE, vad="silro")


async def test_a_person_on_the_wire_is_heard_by_the_engine_alone(ears: Ears, spoken: bytes) -> None:
    engine = MediaEngine(max_legs=2)
    await engine.start()
    peer = await Peer.open()
    leg = engine.open_leg("127.0.0.1")
    events: list[EarEvent] = []
    over = asyncio.Event()

    def on_event(event: EarEvent) -> None:
        events.append(event)
        if isinstance(event, UtteranceHeard | TurnDropped):
            over.set()

    ear: Ear = ears.open("call", on_event)

    def on_leg(event: media.MediaEvent) -> None:
        match event:
            case media.SpeechStarted(at=at):
                ear.voice(True, at)
            case media.SpeechEnded(at=at):
                ear.voice(False, at - media.CALM_S)

    leg.on_event, leg.on_audio = on_leg, ear.feed
    leg.attach("127.0.0.1", peer.port, 0)
    leg.listen(True)
    ear.listen("en-US", silence_ms=600)
    words = np.frombuffer(spoken, np.int16)[::2]
    quiet = np.zeros(8000, np.int16)
    try:
        await peer.speak(leg.port, np.concatenate([quiet, words, quiet, quiet]))
        await asyncio.wait_for(over.wait(), 5)
    finally:
        ear.close()
        peer.close()
        await engine.close()
    heard = events[-1]
    assert isinstance(events[0], TurnStarted)
    assert isinstance(heard, UtteranceHeard)
    assert heard.speech_ended - heard.speech_started == pytest.approx(len(words) / 8000, abs=0.6)
    assert heard.endpoint_at - heard.speech_ended < 0.6 + 0.5
