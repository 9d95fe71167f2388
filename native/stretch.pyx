# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Time stretching by pitch periods: a frame that uses up more or fewer samples than it has.

Waveform similarity overlap-add (W. Verhelst, M. Roelands: "An overlap-add technique based on waveform similarity (WSOLA)
for high quality time-scale modification of speech", ICASSP 1993): at one place the signal goes over, in 10 ms, to itself
a lag later or earlier, the lag being where it resembles itself most.
"""

import numpy as np

from libc.stdint cimport int16_t
from libc.string cimport memcpy

from native.conceal cimport best_lag, blend


cdef int stretch_find(const int16_t *x, int rate, int step, int most, float *likeness) noexcept nogil:
    """The lag (2.5 ms..most, at most 15 ms) at which x resembles itself, later (step 1) or earlier (step -1), in 10 ms."""
    return best_lag(x, x, step, rate // 400, most, rate // 100, likeness)


cdef void stretch_make(const int16_t *x, int rate, int lag, int16_t *out, int n) noexcept nogil:
    """n samples (10 ms or more) that begin as x and go on as x + lag; lag < 0 lengthens."""
    cdef int overlap = rate // 100, k
    cdef const int16_t *other = x + lag
    cdef float part = 1.0 / (overlap + 1)
    for k in range(overlap):
        out[k] = blend(x[k], other[k], (k + 1) * part)
    memcpy(out + overlap, other + overlap, (n - overlap) * sizeof(int16_t))


# --- for Python ---------------------------------------------------------------------------------------------------


cpdef stretch(const int16_t[::1] pcm, int at, int n, bint longer, int rate=8000):
    """(n int16 samples that begin at pcm[at], the lag taken, how like 0..1): a pitch period less, or more where `longer`.

    15 ms before `at` and 15 ms after at + n must be there; n is 10 ms or more.
    """
    cdef int most = 3 * rate // 200, lag
    cdef float likeness = 0
    if rate not in (8000, 16000):
        raise ValueError(f"rate must be 8000 or 16000, not {rate}")
    if n < rate // 100 or at < most or at + n + most > pcm.shape[0]:
        raise ValueError(f"{most} samples are needed before {at} and after {at + n}, and a frame of {rate // 100}")
    out = np.empty(n, np.int16)
    cdef int16_t[::1] view = out
    lag = stretch_find(&pcm[at], rate, -1 if longer else 1, most, &likeness)
    stretch_make(&pcm[at], rate, -lag if longer else lag, &view[0], n)
    return out, lag, likeness
