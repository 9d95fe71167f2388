"""A sentence as numbers: n-grams of its words, letters and sounds, hashed and weighted by how rare they are."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.flow.sounds import content, pinyin_keys, word_keys

Matrix = NDArray[np.float32]
View = Callable[[str], list[str]]

_BUCKETS = 8192


def _runs(units: Sequence[str], shortest: int, longest: int, joint: str = "") -> list[str]:
    return [joint.join(units[i : i + n]) for n in range(shortest, longest + 1) for i in range(len(units) - n + 1)]


def _english_words(text: str) -> list[str]:
    return _runs(text.split(), 1, 2, " ")


def _english_letters(text: str) -> list[str]:
    return [gram for word in text.split() for gram in _runs(f" {word} ", 3, 5)]


def _english_sounds(text: str) -> list[str]:
    keys = word_keys(text)
    return [*_runs(keys, 1, 2, " "), *_runs("".join(keys), 4, 6)]


def _mandarin_characters(text: str) -> list[str]:
    return _runs(text, 1, 3)


def _mandarin_sounds(text: str) -> list[str]:
    return _runs(pinyin_keys(text), 1, 3, " ")


def _mandarin_letters(text: str) -> list[str]:
    return _runs(f" {' '.join(pinyin_keys(text))} ", 3, 5)


VIEWS: dict[str, tuple[View, ...]] = {
    "en": (_english_words, _english_letters, _english_sounds),
    "zh": (_mandarin_characters, _mandarin_sounds, _mandarin_letters),
}


class Grams:
    """TF-IDF over hashed n-grams of one view (sublinear counts, rows of length 1)."""

    def __init__(self, view: View, texts: Sequence[str]) -> None:
        self._view = view
        seen = np.zeros(_BUCKETS, dtype=np.float64)
        for text in texts:
            seen[list({_bucket(gram) for gram in view(text)})] += 1
        self._idf = (np.log((1 + len(texts)) / (1 + seen)) + 1).astype(np.float32)

    def rows(self, texts: Sequence[str]) -> Matrix:
        """Shape (len(texts), 8192)."""
        out = np.zeros((len(texts), _BUCKETS), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            for gram in self._view(text):
                row[_bucket(gram)] += 1
        np.log1p(out, out=out)
        out *= self._idf
        return unit(out)


def _bucket(gram: str) -> int:
    return zlib.crc32(gram.encode()) % _BUCKETS


def unit(rows: Matrix) -> Matrix:
    """Rows scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def views(language: str, texts: Iterable[str]) -> tuple[Grams, ...]:
    """The views of a language, fitted to texts. A language without its own is treated as English is."""
    known = [content(text, language) for text in texts]
    return tuple(Grams(view, known) for view in VIEWS.get(language.split("-")[0], VIEWS["en"]))
