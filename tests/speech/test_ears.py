"""Ears end to end: real worker processes, shared memory and endpointing; a fake recognizer and detector, then the real
models.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.speech.ear import Ear, EarEvent, Partial, TurnDropped, TurnStarted, Unheard, UtteranceHeard
from gateway.speech.ears import Ears
from gateway.speech.language import digits_in, units
from tests.speech.conftest import noise, silence, tone

FAKE = {"recognizer": "tests.speech.fakes:recognizer", "vad": "tests.speech.fakes:vad"}


class Listener:
    """An ear and what it said. `hear` feeds sound faster than real time, on a clock of its own."""

    def __init__(self, ears: Ears, pace: float = 0.002) -> None:
        self.events: list[EarEvent] = []
        self.done = asyncio.Event()
        self.ear: Ear = ears.open("call", self.take)
        self.pace = pace
        self.clock = 5000.0

    def take(self, event: EarEvent) -> None:
        self.events.append(event)
        if isinstance(event, UtteranceHeard | Unheard | TurnDropped):
            self.done.set()

    async def hear(self, pcm: bytes, **listen: Any) -> EarEvent:
        """Listens, feeds 40 ms pieces, and gives the event that ended the turn."""
        self.done.clear()
        self.ear.listen(listen.pop("language", "en-US"), **listen)
        for start in range(0, len(pcm), 1280):
            self.clock += 0.04
            self.ear.feed(pcm[start : start + 1280], self.clock)
            await asyncio.sleep(self.pace)
            if self.done.is_set():
                break
        await asyncio.wait_for(self.done.wait(), 60)
        return self.events[-1]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@pytest_asyncio.fixture
async def ears() -> AsyncIterator[Ears]:
    made = Ears(**FAKE, workers=1, timeout_s=3.0)
    await made.start()
    yield made
    await made.close()


async def test_a_turn_is_told_from_its_start_to_its_words(ears: Ears) -> None:
    one = Listener(ears, pace=0.01)
    heard = await one.hear(silence(0.4) + tone(2.0) + silence(1.0))
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one two three four"
    assert heard.score == pytest.approx(0.9)
    assert one.kinds()[0] == "TurnStarted"
    partials = [event for event in one.events if isinstance(event, Partial)]
    assert partials
    assert all(heard.text.startswith(partial.text) for partial in partials)
    assert partials[0].voiced_ms >= 200


async def test_times_are_those_of_the_sound_not_of_its_handling(ears: Ears) -> None:
    one = Listener(ears)
    heard = await one.hear(silence(0.4) + tone(2.0) + silence(1.0))
    assert isinstance(heard, UtteranceHeard)
    assert isinstance(one.events[0], TurnStarted)
    assert one.events[0].at == pytest.approx(5000.4, abs=0.05)
    assert heard.speech_started == one.events[0].at
    assert heard.speech_ended == pytest.approx(5002.4, abs=0.05)
    assert heard.decoded_at <= time.monotonic()


async def test_sound_that_is_no_speech_is_a_false_alarm(ears: Ears) -> None:
    assert isinstance(await Listener(ears).hear(noise(2.0)), TurnDropped)


async def test_a_pause_in_a_sentence_does_not_end_it(ears: Ears) -> None:
    one = Listener(ears, pace=0.01)
    heard = await one.hear(tone(1.0) + silence(0.45) + tone(1.0) + silence(1.0))
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one two three four"
    assert one.kinds().count("UtteranceHeard") == 1


async def test_expected_digits_end_the_turn_without_the_long_silence(ears: Ears) -> None:
    waiting, ended = Listener(ears, pace=0.01), Listener(ears, pace=0.01)
    pcm = tone(2.0) + silence(2.5)
    slow = await waiting.hear(pcm, expect="digits", silence_ms=2000, length=0)
    fast = await ended.hear(pcm, expect="digits", silence_ms=2000, length=4)
    assert isinstance(slow, UtteranceHeard)
    assert isinstance(fast, UtteranceHeard)
    assert fast.text == slow.text == "one two three four"
    assert ended.clock - 5000 < waiting.clock - 5000 - 0.8


async def test_the_next_turn_needs_a_new_listen_and_then_is_heard(ears: Ears) -> None:
    one = Listener(ears)
    await one.hear(tone(1.0) + silence(1.0))
    count = len(one.events)
    one.ear.feed(tone(1.0))
    await asyncio.sleep(0.1)
    assert len(one.events) == count
    heard = await one.hear(tone(0.5) + silence(1.0))
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one"


async def test_listening_anew_drops_the_turn_half_way(ears: Ears) -> None:
    one = Listener(ears, pace=0.01)
    one.ear.listen("en-US")
    one.ear.feed(tone(1.0))
    await asyncio.sleep(0.2)
    heard = await one.hear(tone(0.5) + silence(1.0))
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one"
    assert one.kinds().count("UtteranceHeard") == 1


async def test_a_turn_ends_when_no_more_sound_arrives_at_all(ears: Ears) -> None:
    heard = await Listener(ears).hear(tone(1.0))
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one two"


async def test_the_longest_turn_is_cut_and_decoded(ears: Ears) -> None:
    heard = await Listener(ears).hear(tone(6.0), max_ms=2000)
    assert isinstance(heard, UtteranceHeard)
    assert heard.text.startswith("one two three four")
    assert heard.speech_ended - heard.speech_started < 2.3


async def test_a_dead_recognizer_costs_that_utterance_only(ears: Ears) -> None:
    one, other = Listener(ears), Listener(ears)
    pcm = tone(1.0) + silence(1.0)
    assert await one.hear(pcm, hints=("die",)) == Unheard("failed")
    heard = await other.hear(pcm)
    assert isinstance(heard, UtteranceHeard)
    assert heard.text == "one two"
    assert ears.load.restarts == 1


async def test_a_turn_that_ends_while_no_recognizer_runs_is_not_left_waiting() -> None:
    ears = Ears(**FAKE, workers=1, patience_s=0.3)
    await ears.start()
    try:
        worker = ears.pool._workers[0]
        worker.backoff_s = 5.0
        worker.kill()
        assert await Listener(ears).hear(tone(1.0) + silence(1.0)) == Unheard("failed")
        assert ears.load.ready == 0
    finally:
        await ears.close()


async def test_a_hung_recognizer_is_ended_and_replaced(ears: Ears) -> None:
    one = Listener(ears)
    pcm = tone(1.0) + silence(1.0)
    assert await one.hear(pcm, hints=("hang",)) == Unheard("failed")
    assert isinstance(await one.hear(pcm), UtteranceHeard)


async def test_a_recognizer_that_raises_fails_the_utterance_and_goes_on(ears: Ears) -> None:
    one = Listener(ears)
    pcm = tone(1.0) + silence(1.0)
    assert await one.hear(pcm, hints=("break",)) == Unheard("failed")
    assert isinstance(await one.hear(pcm), UtteranceHeard)
    assert ears.load.restarts == 0


async def test_a_killed_voice_activity_detector_comes_back(ears: Ears) -> None:
    one = Listener(ears, pace=0.01)
    os.kill(ears._vad.pid or 0, signal.SIGKILL)
    ended = await one.hear(tone(1.0) + silence(1.0))
    assert isinstance(ended, Unheard | UtteranceHeard)
    await asyncio.wait_for(ears._vad.wait_ready(), 30)
    assert isinstance(await one.hear(tone(1.0) + silence(1.0)), UtteranceHeard)
    assert ears.vad_restarts == 1


async def test_too_many_callers_at_once_are_told_so_and_none_waits_for_ever() -> None:
    ears = Ears(**FAKE, workers=1, depth=2, patience_s=2.0)
    await ears.start()
    try:
        crowd = [Listener(ears) for _ in range(8)]
        pcm = tone(1.0) + silence(1.0)
        ended = await asyncio.gather(*(one.hear(pcm, hints=("slow",)) for one in crowd))
        assert Unheard("saturated") in ended
        assert any(isinstance(event, UtteranceHeard) for event in ended)
        assert all(isinstance(event, UtteranceHeard) or event == Unheard("saturated") for event in ended)
        assert ears.load.saturated == ended.count(Unheard("saturated"))
        assert ears.load.waiting == 0
    finally:
        await ears.close()


async def test_no_shared_memory_is_left_behind() -> None:
    before = set(os.listdir("/dev/shm"))
    ears = Ears(**FAKE, workers=2)
    await ears.start()
    crowd = [Listener(ears) for _ in range(6)]
    await asyncio.gather(*(one.hear(tone(1.0) + silence(1.0)) for one in crowd))
    crowd[0].ear.listen("en-US")
    crowd[0].ear.feed(tone(0.5))
    for one in crowd:
        one.ear.close()
    await ears.close()
    assert set(os.listdir("/dev/shm")) - before == set()
    assert ears.load.ready == 0


# --- with the real models -----------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real() -> AsyncIterator[Ears]:
    pytest.importorskip("ctranslate2")
    pytest.importorskip("onnxruntime")
    made = Ears(workers=1, patience_s=60.0, timeout_s=60.0)
    await made.start()
    yield made
    await made.close()


@pytest.mark.model
@pytest.mark.asyncio(loop_scope="module")
async def test_a_person_is_understood(real: Ears, spoken: bytes) -> None:
    one = Listener(real, pace=0.04)
    heard = await one.hear(silence(0.4) + spoken + silence(1.2))
    assert isinstance(heard, UtteranceHeard)
    assert units(heard.text) == ["please", "enter", "your", "password", "followed", "by", "the", "pound", "key"]
    assert heard.score > 0.7
    assert "Partial" in one.kinds()


@pytest.mark.model
@pytest.mark.asyncio(loop_scope="module")
async def test_mandarin_is_understood_with_the_menus_words(real: Ears, mandarin: bytes) -> None:
    heard = await Listener(real, pace=0.01).hear(
        mandarin + silence(1.2), language="zh-CN", hints=("退货", "取消订单", "发票", "投诉", "人工")
    )
    assert isinstance(heard, UtteranceHeard)
    assert "取消订单" in "".join(units(heard.text))


@pytest.mark.model
@pytest.mark.asyncio(loop_scope="module")
async def test_dictated_digits_are_read(real: Ears, digits: bytes) -> None:
    one = Listener(real, pace=0.02)
    heard = await one.hear(digits + silence(2.5), expect="digits", silence_ms=1500, length=8)
    assert isinstance(heard, UtteranceHeard)
    assert digits_in(heard.text, "en-US") == "10070025"


@pytest.mark.model
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("level", [60.0, 600.0, 3000.0])
async def test_noise_is_never_words(real: Ears, level: float) -> None:
    for language in ("en-US", "zh-CN"):
        hints = ("fraud", "balance") if language == "en-US" else ("诈骗", "余额")
        heard = await Listener(real).hear(noise(3.0, level), language=language, hints=hints)
        assert isinstance(heard, TurnDropped)


@pytest.mark.model
@pytest.mark.asyncio(loop_scope="module")
async def test_a_recording_is_transcribed_in_one_go(real: Ears, spoken: bytes) -> None:
    found = await real.transcribe(spoken, "en-US")
    assert "password" in found.text
    assert found.final
