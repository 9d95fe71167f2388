"""The playout buffer against its twin and against what it promises, with the clock as a value."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from native.jitter import JitterBuffer

from native.twins import jitter as twins

MS = 1_000_000
steps = st.lists(
    st.one_of(
        st.tuples(st.just("next"), st.integers(-3, 40), st.booleans()),
        st.tuples(st.just("put"), st.integers(-20000, 20000), st.sampled_from([1, 80, 160, 240, 320, 1920])),
        st.tuples(st.just("marker"), st.integers(-20000, 20000), st.sampled_from([80, 160])),
        st.tuples(st.just("noise"), st.integers(-400, 400), st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("reset"), st.just(0), st.just(0)),
        st.tuples(st.just("take"), st.integers(1, 12), st.booleans()),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(steps, st.sampled_from([8000, 16000]), st.sampled_from([0, 2**32 - 4000]), st.integers(0, 2**32))
def test_equals_twin(steps, rate, base, seed):
    ours, twin = JitterBuffer(rate), twins.JitterBuffer(rate)
    rng = np.random.default_rng(seed)
    now = 10**12
    at = base
    wave = (6000 * np.sin(np.arange(1920) * rng.uniform(0.02, 0.8)) + rng.normal(0, 300, 1920)).astype(np.int16)
    for what, a, b in steps:
        if what in ("next", "put", "marker"):
            n = 160 if what == "next" else b
            stamp = at if what == "next" else max(0, at + a)
            if what == "next":
                at += 160 + (160 * a if b and a > 30 else 0)
            pcm = wave[:n]
            assert ours.put(stamp, pcm, what == "marker", now) == twin.put(stamp, pcm, what == "marker", now)
            now += int(rng.integers(0, 20 if what == "next" else 3)) * MS
        elif what == "noise":
            ours.noise(max(0, at + a), b, now)
            twin.noise(max(0, at + a), b, now)
        elif what == "reset":
            ours.reset()
            twin.reset()
            at += 5000
        else:
            for _ in range(a):
                now += 20 * MS
                if rng.random() < 0.7:
                    assert ours.put(at, wave[:160], False, now - 5 * MS) == twin.put(
                        at, wave[:160], False, now - 5 * MS
                    )
                    at += 160
                x, y = ours.take(b, now), twin.take(b, now)
                assert np.abs(x.astype(int) - y).max() <= 1
                assert ours.short == twin.short
        assert ours.counters == twin.counters
        assert (ours.play, ours.target_ms, ours.delay_ms) == (twin.play, twin.target_ms, twin.delay_ms)
