"""What every synthesizer must do, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.core.audio import SPEECH_RATE, Audio
from gateway.core.errors import ModelMissing
from gateway.core.ports import Synthesizer
from gateway.speech.tts_edge import EdgeVoice
from gateway.speech.tts_pieces import PiecesVoice
from gateway.speech.tts_piper import PiperVoice
from gateway.speech.tts_recorded import RecordedVoice
from gateway.speech.tts_shape import finish
from tests.speech.readaloud import read_aloud

RECORDINGS = Path(__file__).resolve().parents[2] / "ivr_flows" / "recordings"


class Whistle:
    """The fake that other packages' tests may use: a note a letter."""

    name = "whistle"
    live = True

    def voice(self, language: str) -> str | None:
        return "high" if language == "en-US" else None

    def render(self, text: str, language: str) -> Audio:
        if self.voice(language) is None:
            raise ModelMissing("Nobody whistles this language.", read=language, do="hum it")
        return finish(np.sin(2 * np.pi * 800 * np.arange(2205 * len(text)) / 22050), 22050)


Case = tuple[Synthesizer, str, str, str]


@pytest.fixture(scope="module", params=["whistle", "piper", "recorded", "pieces", "edge"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A synthesizer, its language, a short text and a longer one."""
    if request.param == "whistle":
        yield Whistle(), "en-US", "hi", "good morning"
    elif request.param == "piper":
        voice = PiperVoice()
        yield voice, "en-US", "Hello.", "You have three new messages, and one of them is urgent."
        voice.close()
    elif request.param == "recorded":
        yield RecordedVoice(RECORDINGS), "zh-CN", "人民币", "请说出或输入卡号后四位。"
    elif request.param == "pieces":
        yield PiecesVoice(RECORDINGS), "zh-CN", "十二", "一千二百三十四元五角六分"
    else:
        with read_aloud() as (_, address), pytest.MonkeyPatch.context() as patch:
            patch.setattr("edge_tts.communicate.WSS_URL", address)
            yield EdgeVoice(), "en-US", "Table.", "Table."


def test_it_has_a_name_and_says_whether_it_is_live(case: Case) -> None:
    voice = case[0]
    assert voice.name.isalnum()
    assert isinstance(voice.live, bool)


def test_it_has_one_voice_for_its_language_and_none_for_another(case: Case) -> None:
    voice, language, _, _ = case
    assert voice.voice(language)
    assert voice.voice(language) == voice.voice(language)
    assert voice.voice("xx-XX") is None


def test_it_speaks_at_the_rate_and_level_of_prompts_with_tight_ends(case: Case) -> None:
    voice, language, _, long = case
    audio = voice.render(long, language)
    assert audio.rate == SPEECH_RATE
    wave = np.frombuffer(audio.pcm, "<i2").astype(np.float64) / 32768
    top = np.abs(wave).max()
    assert top < 0.9
    voiced = wave[np.abs(wave) > top * 0.05]
    loudness = 20 * np.log10(np.sqrt((voiced**2).mean()))
    assert loudness == pytest.approx(-20, abs=2)
    loud = np.flatnonzero(np.abs(wave) > top * 0.05)
    assert loud[0] < SPEECH_RATE * 0.15
    assert len(wave) - loud[-1] < SPEECH_RATE * 0.25


def test_more_words_take_longer(case: Case) -> None:
    voice, language, short, long = case
    if short != long:
        assert voice.render(long, language).seconds > 1.5 * voice.render(short, language).seconds


def test_another_language_is_refused_with_what_to_do(case: Case) -> None:
    with pytest.raises(ModelMissing) as caught:
        case[0].render("bonjour", "xx-XX")
    assert caught.value.do or caught.value.expected


def test_threads_may_share_it(case: Case) -> None:
    voice, language, short, long = case
    with ThreadPoolExecutor(4) as threads:
        sounds = list(threads.map(lambda text: voice.render(text, language), [short, long] * 3))
    lengths = [sound.seconds for sound in sounds]
    for same in (lengths[::2], lengths[1::2]):
        assert max(same) < 1.4 * min(same)
