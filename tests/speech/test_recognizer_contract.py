"""What every recognizer must do, whatever is inside: the fake, Whisper, and Vosk with a real (Korean) model."""

from __future__ import annotations

from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from gateway.core.ports import Hypothesis, Recognizer
from gateway.speech.language import units
from tests.speech import fakes
from tests.speech.conftest import tone

_built: dict[str, Recognizer] = {}


def whisper(_: pytest.FixtureRequest) -> Recognizer:
    pytest.importorskip("ctranslate2")
    from gateway.speech.asr_whisper import create

    return create()


def vosk(request: pytest.FixtureRequest) -> Recognizer:
    pytest.importorskip("vosk")
    from gateway.speech.asr_vosk import create

    folder: Path = request.getfixturevalue("korean_model")
    return create({"ko-KR": str(folder)})


MAKERS: dict[str, Callable[[pytest.FixtureRequest], Recognizer]] = {
    "fake": lambda _: fakes.recognizer(),
    "whisper": whisper,
    "vosk": vosk,
}


@pytest.fixture(params=list(MAKERS))
def recognizer(request: pytest.FixtureRequest) -> Recognizer:
    name: str = request.param
    if name not in _built:
        _built[name] = MAKERS[name](request)
    return _built[name]


@pytest.fixture
def speech(recognizer: Recognizer, request: pytest.FixtureRequest) -> bytes:
    """Sound with words in it, as this recognizer sees it. The Korean model hears syllables in English speech."""
    if recognizer.name == "fake":
        return tone(2.2)
    spoken: bytes = request.getfixturevalue("spoken")
    return spoken


def decoded(recognizer: Recognizer, pcm: bytes, piece: int) -> tuple[list[Hypothesis], Hypothesis]:
    stream = recognizer.start(recognizer.languages[0])
    partials = []
    for start in range(0, len(pcm), piece):
        stream.feed(pcm[start : start + piece])
        if (found := stream.partial()) is not None:
            partials.append(found)
    return partials, stream.final()


def test_it_says_its_name_and_its_languages(recognizer: Recognizer) -> None:
    assert recognizer.name
    assert all("-" in language for language in recognizer.languages)


def test_speech_gives_words_with_a_score(recognizer: Recognizer, speech: bytes) -> None:
    _, final = decoded(recognizer, speech, len(speech))
    assert final.final
    assert len(units(final.text)) >= 3
    assert 0.0 < final.score <= 1.0


def test_the_size_of_the_pieces_does_not_matter_even_odd_ones(recognizer: Recognizer, speech: bytes) -> None:
    whole = recognizer.start(recognizer.languages[0])
    whole.feed(speech)
    cut = recognizer.start(recognizer.languages[0])
    for start in range(0, len(speech), 6401):
        cut.feed(speech[start : start + 6401])
    one, other = units(cut.final().text), units(whole.final().text)
    if recognizer.name == "vosk":  # Kaldi adds a random dither to the sound, so it never decodes quite the same twice
        assert SequenceMatcher(None, one, other).ratio() > 0.3
    else:
        assert one == other


def test_partials_only_grow_and_none_means_nothing_new(recognizer: Recognizer, speech: bytes) -> None:
    partials, final = decoded(recognizer, speech, 2 * 6400)
    assert partials
    lengths = [len(units(partial.text)) for partial in partials]
    assert lengths == sorted(set(lengths))
    assert all(not partial.final and 0.0 < partial.score <= 1.0 for partial in partials)
    if recognizer.name != "vosk":  # the Korean model can't be sure of what it makes of English
        assert units(final.text)[0] == units(partials[-1].text)[0]


def test_two_utterances_at_once_are_kept_apart(recognizer: Recognizer, speech: bytes) -> None:
    one, other = recognizer.start(recognizer.languages[0]), recognizer.start(recognizer.languages[0])
    for start in range(0, len(speech), 32000):
        one.feed(speech[start : start + 32000])
        other.feed(bytes(len(speech[start : start + 32000])))
    assert len(units(one.final().text)) >= 3
    assert len(units(other.final().text)) <= 1


def test_nothing_was_said(recognizer: Recognizer) -> None:
    stream = recognizer.start(recognizer.languages[0])
    assert stream.partial() is None
    final = stream.final()
    assert (final.text, final.score, final.final) == ("", 0.0, True)


def test_two_seconds_of_silence_hold_no_words(recognizer: Recognizer) -> None:
    stream = recognizer.start(recognizer.languages[0])
    stream.feed(bytes(64000))
    assert units(stream.final().text) == []


def test_hints_are_taken_or_passed_over(recognizer: Recognizer, speech: bytes) -> None:
    stream = recognizer.start(recognizer.languages[0], ("password", "pound key"))
    stream.feed(speech)
    assert len(units(stream.final().text)) >= 3
