"""Vosk (Kaldi): a streaming recognizer that decodes while the caller speaks, so that its final costs next to nothing.

Its models are fetched on first use (gateway.speech.models). It takes no hints: a Kaldi grammar would shut out all other
words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.core.audio import SPEECH_RATE
from gateway.core.errors import ConfigError, ModelMissing, nearest
from gateway.core.ports import Hypothesis
from gateway.speech import models
from gateway.speech.language import Agreement, base, tidy

BLOCK = 2 * SPEECH_RATE // 10
"""Bytes given to Kaldi at a time (100 ms)."""
DEFAULT = {"en-US": "vosk-en-US", "zh-CN": "vosk-zh-CN"}


class VoskRecognizer:
    """`folders`: where each language's Kaldi model lies, by BCP 47 tag."""

    name = "vosk"
    incremental = True
    """Nothing is gained by asking for a final before the turn is over."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        try:
            import vosk
        except ImportError as problem:
            raise ModelMissing(
                f"the package {problem.name}, which the recognizer vosk needs, is not installed",
                do='pip install "trunkline[vosk]"',
            ) from None
        vosk.SetLogLevel(-1)
        self._kaldi = vosk.KaldiRecognizer
        self.languages: Sequence[str] = tuple(folders)
        self._models = {language: load(vosk, folder) for language, folder in folders.items()}

    def start(self, language: str, hints: Sequence[str] = ()) -> VoskStream:
        """A new utterance. A language without a model of its own uses one of the same primary subtag; else
        ConfigError.
        """
        near = [tag for tag in self._models if base(tag) == base(language)]
        if not near:
            raise ConfigError(
                "the recognizer vosk has no model for this language",
                read=language,
                expected=", ".join(self._models),
                near=nearest(language, self._models),
            )
        kaldi = self._kaldi(self._models[language if language in near else near[0]], float(SPEECH_RATE))
        kaldi.SetWords(True)
        return VoskStream(kaldi, language)


class VoskStream:
    """One utterance; see gateway.core.ports.RecognizerStream. Kaldi cuts it at pauses; the pieces are joined here."""

    def __init__(self, kaldi: Any, language: str) -> None:
        self._kaldi, self._language = kaldi, language
        self._rest = b""
        self._pieces: list[dict[str, Any]] = []
        self._agreement = Agreement()

    def feed(self, pcm: bytes) -> None:
        self._rest += pcm
        # Kaldi adapts to the speaker block by block: blocks of one size make the result independent of the caller's.
        while len(self._rest) >= BLOCK:
            self._accept(self._rest[:BLOCK])
            self._rest = self._rest[BLOCK:]

    def _accept(self, pcm: bytes) -> None:
        if self._kaldi.AcceptWaveform(pcm):
            self._pieces.append(json.loads(self._kaldi.Result()))

    def partial(self) -> Hypothesis | None:
        running = json.loads(self._kaldi.PartialResult()).get("partial", "")
        text = tidy(" ".join([*(piece.get("text", "") for piece in self._pieces), running]), self._language)
        said = self._agreement.update(text)
        return Hypothesis(said, 0.5) if said else None

    def final(self) -> Hypothesis:
        if self._rest:
            self._accept(self._rest[: len(self._rest) // 2 * 2])
        self._pieces.append(json.loads(self._kaldi.FinalResult()))
        text = tidy(" ".join(piece.get("text", "") for piece in self._pieces), self._language)
        sure = [float(word.get("conf", 0.0)) for piece in self._pieces for word in piece.get("result", ())]
        return Hypothesis(text, min(1.0, sum(sure) / len(sure)) if sure and text else 0.0, final=True)


def load(vosk: Any, folder: Path) -> Any:
    """A Kaldi model. Raises ModelMissing where the folder holds none."""
    if not (folder / "am" / "final.mdl").is_file():
        raise ModelMissing(
            "this folder holds no Vosk model",
            read=str(folder),
            expected=str(folder / "am" / "final.mdl"),
            do="trunkline models",
        )
    try:
        return vosk.Model(str(folder))
    except Exception as problem:  # vosk raises nothing more exact
        raise ModelMissing(
            "this Vosk model can't be loaded", read=f"{folder}: {problem}", do="trunkline models"
        ) from None


def create(folders: Mapping[str, str] | None = None, languages: Sequence[str] = tuple(DEFAULT)) -> VoskRecognizer:
    """The entry point's factory. `folders`: language -> folder of a model that is here; else those of `languages` are
    fetched.
    """
    if folders:
        return VoskRecognizer({language: Path(folder) for language, folder in folders.items()})
    return VoskRecognizer({language: models.ensure(named(language)) for language in languages})


def named(language: str) -> str:
    """The table's name for a language's model. Raises ConfigError."""
    if language not in DEFAULT:
        raise ConfigError("there is no Vosk model for this language", read=language, expected=", ".join(DEFAULT))
    return DEFAULT[language]
