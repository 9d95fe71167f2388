"""What a caller wants: a sentence to a probability for every intent of a flow, and for none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.core.errors import ConfigError, nearest
from gateway.core.ports import Ranked
from gateway.flow.background import sentences
from gateway.flow.classifier import Calibration, Real, calibrate, solve
from gateway.flow.embedding import Embedder, Vectors, default_embedder
from gateway.flow.features import Grams, unit, views
from gateway.flow.model import Flow
from gateway.flow.respell import Respelling
from gateway.flow.sounds import content, plain
from gateway.flow.templates import expand

Examples = Mapping[str, Sequence[str | Sequence[str]]]
"""Sentences an intent; an inner sequence holds the variants of one template, which count as one sentence."""

_OUTSIDE = "-"
_MEANING = 3.0
"""How much the kernel of meanings weighs against that of n-grams, which is 1."""
_SHARPNESS = 2.0
_BACKGROUND_IMPORTANCE = 0.5
_SURE = 0.8
"""A sentence ranked with less than this is tried again with the characters it may have been misheard for."""
_RESPELLED = 0.8
"""What the probability of a sentence written again is multiplied with: at best it is worth a confirming question."""
_VARIANTS = 12
"""The most variants of one template that are learned from."""
_TOO_NEAR = 0.9
"""A background sentence this like an example (1 is the same) is something this flow does serve: it is left out."""


class _Space:
    """Where sentences are compared: a Gaussian kernel of centred embeddings plus a linear one of n-grams."""

    def __init__(self, texts: Sequence[str], language: str, embedder: Embedder | None) -> None:
        self._language, self._embedder = language, embedder
        self.grams: tuple[Grams, ...] = views(language, texts)
        known = self._embed(texts)
        self._centre = known.mean(axis=0) if known is not None else np.zeros(1, dtype=np.float32)
        self.meanings = unit(known - self._centre) if known is not None else None

    def _embed(self, texts: Sequence[str]) -> Vectors | None:
        return self._embedder.embed([self.plain(t) or _OUTSIDE for t in texts]) if self._embedder else None

    def meaning_of(self, texts: Sequence[str]) -> Vectors | None:
        found = self._embed(texts)
        return None if found is None else unit(found - self._centre)

    def plain(self, text: str) -> str:
        return plain(text, self._language)

    def content_of(self, texts: Sequence[str]) -> list[str]:
        return [content(t, self._language) for t in texts]


def _gaussian(cosine: Vectors) -> Real:
    out: Real = _MEANING * np.exp(-_SHARPNESS * (1.0 - cosine.astype(np.float64)))
    return out


class IntentModel:
    """The intents of one flow in one language. Made by `fit`; immutable; `rank` takes about 15 ms with embeddings."""

    def __init__(self, intents: tuple[str, ...], space: _Space, weights: Real, calibration: Calibration) -> None:
        self.intents, self._space, self._calibration = intents, space, calibration
        self._weights, self._bias = weights, weights.sum(axis=0)
        self._gram_weights: list[Vectors] = []
        self._respelling: Respelling | None = None
        self.held_out: tuple[tuple[str, str, Ranked], ...] = ()
        """(text, intent or "-", ranking made without that text) for every example, to choose thresholds on."""

    @classmethod
    def fit(
        cls,
        examples: Examples,
        background: Sequence[str],
        language: str,
        embedder: Embedder | None = None,
        negative: Sequence[str] = (),
    ) -> IntentModel:
        """Learns from sentences an intent and sentences nobody serves. Deterministic; a second or two.

        `negative` sentences are background too, however near an example they are. Without an embedder only words,
        letters and sounds are compared. Raises ConfigError without two intents.
        """
        intents = tuple(examples)
        if len(intents) < 2 or not all(examples.values()):
            raise ConfigError(
                "An intent model needs two intents or more, each with an example.", read=", ".join(intents)
            )
        groups = [(i, _variants(e)) for i, name in enumerate(intents) for e in examples[name]]
        groups += [(len(intents), [text]) for text in (*background, *negative)]
        texts = list(chain.from_iterable(variants for _, variants in groups))
        labels = np.array([label for label, variants in groups for _ in variants])
        group = np.array([g for g, (_, variants) in enumerate(groups) for _ in variants])
        importance = np.array([1 / len(variants) for _, variants in groups for _ in variants])
        importance[labels == len(intents)] *= _BACKGROUND_IMPORTANCE

        space = _Space(texts, language, embedder)
        rows = [view.rows(space.content_of(texts)) for view in space.grams]
        kernel: Real = sum((r @ r.T for r in rows), start=np.zeros((len(texts),) * 2)) / len(rows)
        if space.meanings is not None:
            kernel += _gaussian(space.meanings @ space.meanings.T)
        kept = _apart(kernel, labels == len(intents), len(negative))
        fit = solve(kernel[np.ix_(kept, kept)], labels[kept], len(intents) + 1, importance[kept], group[kept])
        weights = np.zeros((len(texts), len(intents) + 1))
        weights[kept] = fit.weights

        model = cls(intents, space, weights, calibrate(fit.held_out, labels[kept]))
        model._gram_weights = [r.T @ (weights / len(rows)).astype(np.float32) for r in rows]
        if language.startswith("zh"):
            served = [variants for label, variants in groups if label < len(intents)]
            model._respelling = Respelling(served, background)
        names = (*intents, _OUTSIDE)
        model.held_out = tuple(
            (texts[i], names[labels[i]], model._ranked(row)) for i, row in zip(kept, fit.held_out, strict=True)
        )
        return model

    def rank(self, text: str) -> Ranked:
        """Every intent with its probability, best first. What is missing to 1 is the chance that it is none of them."""
        said = self._space.plain(text)
        if not said:
            return Ranked(tuple((name, 0.0) for name in self.intents))
        ranked = self._ranked(self._scores(said))
        if self._respelling is None or ranked.best[1] >= _SURE:
            return ranked
        meant = self._respelling(said)
        if meant == said:
            return ranked
        guess = self._ranked(self._scores(meant))
        if guess.best[1] * _RESPELLED <= ranked.best[1]:
            return ranked
        return Ranked(tuple((name, round(chance * _RESPELLED, 4)) for name, chance in guess.scores))

    def _scores(self, said: str) -> Real:
        scores: Real = self._bias.copy()
        words = self._space.content_of([said])
        for view, weights in zip(self._space.grams, self._gram_weights, strict=True):
            scores += (view.rows(words) @ weights)[0]
        meaning = self._space.meaning_of([said])
        if meaning is not None and self._space.meanings is not None:
            scores += (_gaussian(meaning @ self._space.meanings.T) @ self._weights)[0]
        return scores

    def _ranked(self, scores: Real) -> Ranked:
        chances = self._calibration(scores.copy())[:-1]
        order = np.argsort(-chances, kind="stable")
        return Ranked(tuple((self.intents[i], round(float(chances[i]), 4)) for i in order))


def _variants(example: str | Sequence[str]) -> list[str]:
    """The sentences of one example: all of a small template, some of every part of a large one."""
    if isinstance(example, str):
        return [example]
    return list(example[:: -(-len(example) // _VARIANTS)])


def _apart(kernel: Real, outside: NDArray[np.bool_], spared: int) -> NDArray[np.int64]:
    """The rows to learn from: all but the background sentences (the last `spared` excepted) too near an example."""
    size = np.sqrt(np.maximum(np.diag(kernel), 1e-9))  # a sentence of hesitations only has no n-grams
    likeness = kernel / np.outer(size, size)
    near = outside & (likeness[:, ~outside].max(axis=1) > _TOO_NEAR)
    near[len(near) - spared :] = False
    return np.flatnonzero(~near)


class FlowUnderstanding:
    """All languages of a flow. Lives in a worker process: models never run in the process that carries calls."""

    def __init__(
        self,
        examples: Mapping[str, Examples],
        embedder: Embedder | None = None,
        negative: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.models = {
            language: IntentModel.fit(said, sentences(language), language, embedder, (negative or {}).get(language, ()))
            for language, said in examples.items()
        }

    def rank(self, text: str, language: str) -> Ranked:
        """Ranks a sentence of one of the flow's languages. Raises ConfigError for another."""
        if language not in self.models:
            raise ConfigError(
                "This flow is not written in that language.",
                read=language,
                expected=", ".join(self.models),
                near=nearest(language, self.models),
            )
        return self.models[language].rank(text)


def lessons(flow: Flow) -> tuple[dict[str, dict[str, list[tuple[str, ...]]]], dict[str, list[str]]]:
    """What a flow teaches: its utterances by language and intent, templates expanded, and its negatives by language."""
    said = {
        language: {
            name: [expand(u) for u in intent.utterances.get(language, ())] for name, intent in flow.intents.items()
        }
        for language in flow.languages
    }
    unsaid = {
        language: [n for i in flow.intents.values() for t in i.negative.get(language, ()) for n in expand(t)]
        for language in flow.languages
    }
    return said, unsaid


def serve(
    examples: Mapping[str, Examples], negative: Mapping[str, Sequence[str]] | None = None, cache: str | None = None
) -> FlowUnderstanding:
    """The factory for a worker process: `Worker("gateway.flow.intents:serve", lessons(flow))`; it answers `rank`.

    `cache` is the folder for embeddings (TRUNKLINE_MODELS or ~/.cache/trunkline without it).
    """
    return FlowUnderstanding(examples, default_embedder(Path(cache) if cache else None), negative)
