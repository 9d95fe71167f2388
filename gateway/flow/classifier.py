"""Kernel ridge regression over sentences with exact held-out scores, and their calibration to probabilities.

A flow has about a thousand sentences a language: every matrix is dense and training is one linear solve. The
held-out scores of each fold follow from that same solve (An, Liu, Venkatesh, "Fast cross-validation algorithms for
least squares support vector machine and kernel ridge regression", Pattern Recognition 40, 2007), so calibration costs
next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Whole = NDArray[np.int64]

_RIDGE = 0.3
_FOLDS = 10
_OUT_OF_SCOPE_SHARE = 0.2
"""The share of calls' sentences no flow serves that probabilities are calibrated for."""


@dataclass(frozen=True, slots=True)
class Fit:
    """`weights` (n, classes) act on a kernel row plus one; `held_out` (n, classes) are scores made without it."""

    weights: Real
    held_out: Real


def solve(kernel: Real, labels: Whole, classes: int, importance: Real, groups: Whole) -> Fit:
    """Fits one score a class (+1 the sentence's own class, -1 another) on a symmetric kernel (n, n).

    `importance` is a weight a sentence; sentences of one group (variants of a template) are held out together.
    """
    target = np.where(np.arange(classes) == labels[:, None], 1.0, -1.0)
    biased = kernel + 1.0
    ridged = biased + np.diag(_RIDGE / importance)
    weights = _solved(ridged, target)
    hat = _solved(ridged, biased).T
    fitted = hat @ target
    held_out = np.empty_like(target)
    for fold in folds(groups):
        block = np.eye(len(fold)) - hat[np.ix_(fold, fold)]
        held_out[fold] = target[fold] - np.linalg.solve(block, target[fold] - fitted[fold])
    return Fit(weights, held_out)


def _solved(left: Real, right: Real) -> Real:
    return np.asarray(np.linalg.solve(left, right), dtype=np.float64)


def folds(groups: Whole) -> list[Whole]:
    """Ten sets of rows (fewer where there are few groups), always the same ones; a group is never split."""
    shuffled = np.random.default_rng(7).permutation(int(groups.max()) + 1) % _FOLDS
    of_row = shuffled[groups]
    return [rows for k in range(_FOLDS) if len(rows := np.flatnonzero(of_row == k))]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Scores to probabilities: softmax(slope * scores), the last class (out of scope) shifted by `shift`."""

    slope: float
    shift: float

    def __call__(self, scores: Real) -> Real:
        """Shape (..., classes), each row sums to 1."""
        logits = self.slope * scores
        logits[..., -1] += self.shift
        logits -= logits.max(axis=-1, keepdims=True)
        exped = np.exp(logits)
        out: Real = exped / exped.sum(axis=-1, keepdims=True)
        return out


def calibrate(held_out: Real, labels: Whole) -> Calibration:
    """The slope and shift with the least log loss on held-out scores, in and out of scope weighted as on real calls."""
    outside = labels == held_out.shape[1] - 1
    weight = np.where(
        outside, _OUT_OF_SCOPE_SHARE / max(1, outside.sum()), (1 - _OUT_OF_SCOPE_SHARE) / max(1, (~outside).sum())
    )

    def loss(slope: float, shift: float) -> float:
        chance = Calibration(slope, shift)(held_out)[np.arange(len(labels)), labels]
        return float(-(weight * np.log(np.maximum(chance, 1e-12))).sum())

    best, step = (3.0, 0.0), (1.0, 1.0)
    for _ in range(12):  # a grid that halves around its best point: two parameters, a smooth convex loss
        grid = [(best[0] + i * step[0] / 2, best[1] + j * step[1] / 2) for i in range(-2, 3) for j in range(-2, 3)]
        best = min((point for point in grid if 0.1 <= point[0] <= 20), key=lambda point: loss(*point))
        step = (step[0] * 0.7, step[1] * 0.7)
    return Calibration(*best)
