"""The ring of samples against a list."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from native import kernels


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 70)), max_size=80))
def test_ring_equals_a_list(steps: list[tuple[bool, int]]) -> None:
    ring, model, number, refused = kernels.SampleRing(64), [], 0, 0
    for write, n in steps:
        if write:
            items = np.arange(number, number + n).astype(np.int16)
            number += n
            if n % 2:
                fits = len(model) + n <= 64
                assert ring.put(items) == fits
            else:
                fits = None
                assert ring.fill(items) == min(n, 64 - len(model))
            room = n if fits else 0 if fits is False else min(n, 64 - len(model))
            refused += n - room
            model.extend(items[:room].tolist())
        else:
            got = ring.take(n)
            assert got.tolist() == model[: len(got)]
            assert len(got) == min(n, len(model))
            del model[: len(got)]
        assert len(ring) == len(model)
        assert ring.refused == refused
