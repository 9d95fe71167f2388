"""The jitter buffer against its twin: reordering, concealment, growth."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from native.jitter import JitterBuffer

from native.twins import jitter as twins


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(-30, 60), st.sampled_from([80, 160, 240])),
            st.tuples(st.just("take"), st.integers(1, 30), st.booleans()),
        ),
        max_size=60,
    ),
    st.sampled_from([0, 2**32 - 4000]),
)
def test_jitter_buffer_equals_twin(steps: list[tuple[str, int, int]], base: int) -> None:
    ours, twin = JitterBuffer(), twins.JitterBuffer()
    rng = np.random.default_rng(1)
    for what, a, b in steps:
        if what == "put":
            pcm = rng.integers(-9000, 9000, b).astype(np.int16)
            stamp = base + max(0, (twin.play if twin.running else base) - base + a * 160)
            assert ours.put(stamp, pcm) == twin.put(stamp, pcm)
        else:
            for _ in range(a):
                assert np.array_equal(ours.take(bool(b)), twin.take(bool(b)))
    assert (ours.late, ours.concealed) == (twin.late, twin.concealed)


def test_jitter_buffer_reorders_conceals_and_grows() -> None:
    buffer = JitterBuffer()
    frames = [np.full(160, 100 * (k + 1), np.int16) for k in range(30)]
    heard = []
    order = [0, 2, 1, 3, 5, 4, 6, 7, *range(9, 30)]  # 8 is lost
    for k in order:
        buffer.put(k * 160, frames[k])
        heard.append(int(buffer.take()[0]))
        if k == 9:
            heard.append(int(buffer.take()[0]))
    assert [h for h in heard if h % 100 == 0 and h][:8] == [100, 200, 300, 400, 500, 600, 700, 800]
    assert 900 not in heard
    assert buffer.concealed == 160
    assert buffer.late == 0
    before = buffer.play
    assert buffer.put(before - 200, frames[0])  # late by 25 ms: played 40 ms later from now on
    assert buffer.play == before - 320
    assert buffer.late == 1
