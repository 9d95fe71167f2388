"""Whisper by CTranslate2, with the encoder's context cut to the utterance: many callers on one core.

The model was trained on 30 s windows and its authors' decoder pads every utterance to that. Here the mel frames are cut
to the utterance and 5 s of silence, which costs a quarter and changes little (bench/asr_accuracy.py measures both); a
final that looks wrong is decoded once more with the whole window. Partials come from decoding the growing utterance
again and keeping what two decodings in a row agree on (local agreement: Liu, Spanakis and Niehues, Interspeech 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.core.errors import ModelMissing
from gateway.core.ports import Hypothesis
from gateway.speech import models
from gateway.speech.language import Agreement, base, common, tidy, units
from gateway.speech.mel import HOP, RATE, log_mel

WHOLE = 3000
"""Mel frames of the window Whisper was trained on (30 s)."""
TAIL = 500
"""Mel frames of silence behind a cut utterance (5 s; with 3 s one in seven is said twice over)."""
TAIL_PARTIAL = 300
"""The same for partials, which are decoded often and thrown away when they go wrong."""
DOUBT = -1.0
"""Mean log probability of a token below which a final is decoded again with the whole window (Whisper's own
threshold).
"""
NOTHING, PERHAPS_NOTHING, UNSURE = 0.75, 0.5, -0.5
"""Nothing was said where the probability of no speech is above the first, or above the second with a mean log
probability below the third. Noise gives 0.6-0.95 and would be heard as the hints; sentences give at most 0.12, slowly
dictated digits 0.63.
"""
RATE_LIMIT = {"zh": 9.0, "en": 7.0}
"""Units (characters, words) a second that nobody speaks: more are repetitions made up by the decoder."""
PLAIN_MANDARIN = "以下是普通话的句子。"
"""Said before when there are no hints: keeps the output in simplified characters with punctuation."""


class WhisperRecognizer:
    """`model`: folder of the CTranslate2 model; None fetches the default. `threads`: cores one decoding uses."""

    name = "whisper"
    languages: Sequence[str] = ("en-US", "zh-CN")

    def __init__(self, model: str | Path | None = None, *, threads: int = 1, beam: int = 5, tail: int = TAIL) -> None:
        try:
            import ctranslate2
            import tokenizers
        except ImportError as problem:
            raise ModelMissing(
                f"the package {problem.name}, which the recognizer whisper needs, is not installed",
                do='pip install "trunkline[offline]"',
            ) from None
        folder = Path(model) if model else models.ensure("whisper-base")
        self._frames = ctranslate2.StorageView.from_array
        self._model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8", intra_threads=threads)
        self._tokens: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.beam, self.tail, self.retry = beam, tail, True

    def start(self, language: str, hints: Sequence[str] = ()) -> WhisperStream:
        """A new utterance. `hints` are words expected; they are given to the decoder as if they were said before."""
        return WhisperStream(self, language, self.prompt(language, hints))

    def prompt(self, language: str, hints: Sequence[str]) -> list[int]:
        """Tokens the decoder starts from: earlier words, then start, language, task, no time stamps."""
        token: Callable[[str], int] = self._tokens.token_to_id
        mandarin = base(language) == "zh"
        said = ("、" if mandarin else ", ").join(hints)
        said = f"{said}。" if said and mandarin else f"{said}." if said else PLAIN_MANDARIN if mandarin else ""
        earlier: list[int] = self._tokens.encode(f" {said}", add_special_tokens=False).ids[:200] if said else []
        spoken = token(f"<|{base(language)}|>") or token("<|en|>")
        start = [token("<|startoftranscript|>"), spoken, token("<|transcribe|>"), token("<|notimestamps|>")]
        return [token("<|startofprev|>"), *earlier, *start] if earlier else start

    def decode(
        self, samples: NDArray[np.float32], prompt: list[int], tail: int | None, beam: int
    ) -> tuple[str, float, float]:
        """Text, mean log probability of its tokens, probability that nothing was said.

        `samples`: 16 kHz, -1..1; `tail`: frames of silence behind them, None: up to the whole window; `beam`:
        hypotheses followed at a time.
        """
        frames = WHOLE if tail is None else min(WHOLE, len(samples) // HOP + tail)
        mel = log_mel(samples, frames + frames % 2)
        encoded = self._model.encode(self._frames(np.ascontiguousarray(mel[None])))
        # Nobody says more than 8 tokens a second; without a limit a repetition runs to the decoder's end.
        limit = 12 + 8 * len(samples) // RATE
        found: Any = self._model.generate(
            encoded,
            [prompt],
            beam_size=beam,
            max_length=min(448, len(prompt) + limit),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        return self._tokens.decode(found.sequences_ids[0]), float(found.scores[0]), float(found.no_speech_prob)


class WhisperStream:
    """One utterance; see gateway.core.ports.RecognizerStream. Decoding happens in `partial` and `final`, not in
    `feed`.
    """

    def __init__(self, recognizer: WhisperRecognizer, language: str, prompt: list[int]) -> None:
        self._recognizer, self._language, self._prompt = recognizer, language, prompt
        self._pcm = bytearray()
        self._agreement = Agreement()

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm

    def partial(self) -> Hypothesis | None:
        samples = self._samples()
        if len(samples) < RATE * 3 // 10:
            return None
        text, score, silence = self._recognizer.decode(samples, self._prompt, TAIL_PARTIAL, 1)
        text = tidy(text, self._language)
        if nothing(silence, score) or repeats(text, len(samples) / RATE, self._language):
            return None
        said = self._agreement.update(text)
        return Hypothesis(said, math.exp(score)) if said else None

    def final(self) -> Hypothesis:
        samples = self._samples()
        seconds = len(samples) / RATE
        if seconds < 0.1:
            return Hypothesis("", 0.0, final=True)
        text, score, silence = self._recognizer.decode(
            samples, self._prompt, self._recognizer.tail, self._recognizer.beam
        )
        text = tidy(text, self._language)
        doubtful = score < DOUBT or repeats(text, seconds, self._language) or not units(text)
        if self._recognizer.retry and doubtful and not nothing(silence, score):
            text, score, silence = self._recognizer.decode(samples, self._prompt, None, self._recognizer.beam)
            text = tidy(text, self._language)
        if nothing(silence, score) or not units(text):
            return Hypothesis("", 0.0, final=True)
        return Hypothesis(text, math.exp(score), final=True)

    def _samples(self) -> NDArray[np.float32]:
        return np.frombuffer(bytes(self._pcm), dtype="<i2").astype(np.float32) / 32768.0


def nothing(silence: float, score: float) -> bool:
    """Whether a decoding is of no speech at all. `silence`: probability of that; `score`: mean log probability."""
    return silence > NOTHING or (silence > PERHAPS_NOTHING and score < UNSURE)


def repeats(text: str, seconds: float, language: str) -> bool:
    """Whether `text` looks made up by a decoder that went round in circles: said twice over, or faster than anyone
    speaks.
    """
    said = units(text)
    if len(said) > RATE_LIMIT.get(base(language), 8.0) * seconds + 2:
        return True
    least = 3 if base(language) == "zh" else 2
    for period in range(least, len(said) - least + 1):
        same = common(said[::-1], said[-1 - period :: -1])
        if same >= max(least, 0.6 * period) and not all(unit.isdecimal() for unit in said[-same:]):
            return True
    return False


def create(model: str | None = None, threads: int = 1) -> WhisperRecognizer:
    """The entry point's factory."""
    return WhisperRecognizer(model, threads=threads)
