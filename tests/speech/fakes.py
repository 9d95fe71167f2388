"""A recognizer and a voice activity detector without models, for tests of everything around them. They run in real
workers.

The fake hears one word for every half second of loud sound: "one two three ...". Words in `hints` steer it: "slow"
takes a second for each decoding, "die" ends the process, "hang" never answers, "break" raises.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gateway.core.ports import Hypothesis

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class FakeStream:
    def __init__(self, hints: Sequence[str]) -> None:
        self.hints = hints
        self.pcm = bytearray()
        self.told = ""

    def feed(self, pcm: bytes) -> None:
        self.pcm += pcm

    def words(self) -> str:
        held = np.frombuffer(bytes(self.pcm[: len(self.pcm) // 2 * 2]), np.int16)
        loud = int((np.abs(held.astype(int)) > 2000).sum() / (16000 * 0.37))
        return " ".join(WORDS[: min(loud, len(WORDS))])

    def partial(self) -> Hypothesis | None:
        words = self.words()
        if not words or words == self.told:
            return None
        self.told = words
        return Hypothesis(words, 0.5)

    def final(self) -> Hypothesis:
        if "slow" in self.hints:
            time.sleep(1.0)
        if "die" in self.hints:
            os._exit(9)
        if "hang" in self.hints:
            time.sleep(3600)
        if "break" in self.hints:
            raise ValueError("broken on purpose")
        words = self.words()
        return Hypothesis(words, 0.9 if words else 0.0, final=True)


class FakeRecognizer:
    name = "fake"
    languages = ("en-US",)

    def start(self, language: str, hints: Sequence[str] = ()) -> FakeStream:
        return FakeStream(hints)


def recognizer() -> FakeRecognizer:
    return FakeRecognizer()


class FakeVad:
    """Loud is speech."""

    def score(self, sounds: Sequence[tuple[Any, bytes]], forget: Iterable[Any] = ()) -> list[list[float]]:
        return [
            [float(np.abs(w.astype(int)).mean() > 2000) for w in np.frombuffer(pcm, np.int16).reshape(-1, 512)]
            for _, pcm in sounds
        ]


def vad() -> FakeVad:
    return FakeVad()


class Served:
    """What the tests of gateway.core.worker call."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.calls = 0

    def say(self, more: str) -> str:
        self.calls += 1
        return f"{self.word} {more} {self.calls}"

    def pid(self) -> int:
        return os.getpid()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def die(self) -> None:
        os._exit(3)

    def fail(self) -> None:
        raise KeyError("no such thing")

    def echo(self, value: Any) -> Any:
        print("this must not reach the parent's standard output")
        return value


def served(word: str) -> Served:
    return Served(word)


def unbuildable(*_: object) -> None:
    from gateway.core.errors import ModelMissing

    raise ModelMissing("the model is not here", do="fetch it")
