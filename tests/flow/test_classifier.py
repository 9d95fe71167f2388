"""The classifier's held-out scores are those of real refits, and its probabilities mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.flow.classifier import Calibration, calibrate, folds, solve


def problem(n: int = 90, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, classes, n)
    points = rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[labels]
    importance = rng.uniform(0.3, 1.0, n)
    return points @ points.T, labels, importance, np.repeat(np.arange(n // 2), 2)


def test_held_out_scores_equal_training_without_the_fold() -> None:
    kernel, labels, importance, groups = problem()
    fit = solve(kernel, labels, 3, importance, groups)
    fold = folds(groups)[0]
    rest = np.setdiff1d(np.arange(len(labels)), fold)
    alone = solve(kernel[np.ix_(rest, rest)], labels[rest], 3, importance[rest], groups[rest])
    expected = (kernel[np.ix_(fold, rest)] + 1) @ alone.weights
    assert fit.held_out[fold] == pytest.approx(expected, abs=1e-8)


def test_variants_of_one_template_are_held_out_together() -> None:
    groups = problem()[3]
    for fold in folds(groups):
        assert set(groups[fold]).isdisjoint(groups[np.setdiff1d(np.arange(len(groups)), fold)])


def test_probabilities_sum_to_one_and_keep_the_order() -> None:
    scores = np.array([[0.3, -0.9, -0.5], [-1.0, 0.1, 0.4]])
    chances = Calibration(3.0, 0.0)(scores)
    assert chances.sum(axis=1) == pytest.approx([1, 1])
    assert (chances.argmax(axis=1) == scores.argmax(axis=1)).all()


def test_calibrated_probabilities_are_right_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    labels = rng.choice(4, size=4000, p=[0.3, 0.25, 0.25, 0.2])
    scores = rng.normal(0, 0.5, (4000, 4)) + np.eye(4)[labels]
    chances = calibrate(scores.copy(), labels)(scores)
    best, sure = chances.argmax(axis=1), chances.max(axis=1)
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        inside = (sure >= low) & (sure < high)
        assert (best == labels)[inside].mean() == pytest.approx(sure[inside].mean(), abs=0.06)
