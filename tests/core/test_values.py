"""Copies of frozen values."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gateway.core.values import replace


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


def test_a_copy_differs_in_what_was_named_and_the_original_stays() -> None:
    point = Point(1, 2)
    moved = replace(point, y=5)
    assert (moved, point) == (Point(1, 5), Point(1, 2))
    assert replace(point) == point
    assert hash(moved) == hash(Point(1, 5))


def test_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="Point has no z"):
        replace(Point(1), z=1)
