# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Loss concealment: pitch waveform substitution after ITU-T G.711 Appendix I, at 8 and 16 kHz.

The last pitch period is repeated; 10 and 20 ms later the last two and three of them, so that it does not buzz. From 10 ms
on it fades by a fifth every 10 ms. Pieces overlap by a quarter period. The appendix delays all audio by 3.75 ms to blend
the first edge; here the step at that edge is let decay instead, and nothing is delayed.
"""

import numpy as np

from libc.math cimport rintf, sqrtf
from libc.stdint cimport int16_t, int32_t, uint32_t
from libc.string cimport memcpy, memset

cdef enum:
    WINDOW = 320            # longest window of `best_lag`, samples
    TOP = 2047              # samples are scaled to this, so that sums of products fit 32 bits


cdef int peak(const int16_t *x, int n) noexcept nogil:
    """The largest size of n samples."""
    cdef int k, most = 0, size
    for k in range(n):
        size = x[k] if x[k] >= 0 else -x[k]
        most = size if size > most else most
    return most


cdef int best_lag(
    const int16_t *here, const int16_t *there, int step, int least, int most, int window, float *likeness
) noexcept nogil:
    """The lag in least..most whose `there[step * lag:]` is most like `here[:window]`: normalized cross-correlation.

    `step` is 1 or -1; window <= 320, most <= 240. `likeness`: -1..1 at that lag, 0 where there is silence.
    """
    cdef int16_t a[WINDOW]
    cdef int16_t b[WINDOW + LONGEST]
    cdef uint32_t energy[WINDOW + LONGEST + 1]
    cdef const int16_t *low = there - most if step < 0 else there + least
    cdef int span = most - least + window, shift = 0, k, lag, at, best = least
    cdef int32_t product, size
    cdef double score, top = -1
    cdef int32_t own = 0
    cdef int loud = peak(low, span), loud_here = peak(here, window)
    loud = loud_here if loud_here > loud else loud
    while loud >> shift > TOP:
        shift += 1
    for k in range(window):
        a[k] = here[k] >> shift
        own += a[k] * a[k]
    energy[0] = 0
    for k in range(span):
        b[k] = low[k] >> shift
        energy[k + 1] = energy[k] + <uint32_t>(b[k] * b[k])
    likeness[0] = 0
    for lag in range(least, most + 1):
        at = most - lag if step < 0 else lag - least
        product = 0
        for k in range(window):
            product += a[k] * b[at + k]
        size = <int32_t>(energy[at + window] - energy[at])
        score = <double>product * product / (size + 1) if product > 0 else 0
        if score > top:
            top = score
            best = lag
            likeness[0] = <float>product / sqrtf(<float>own * <float>size + 1)
    return best


cdef int conceal_past(int rate) noexcept nogil:
    """How many samples of history `conceal_begin` reads."""
    return rate // 800 * 39


cdef void close_loop(Conceal *c) noexcept nogil:
    """Makes the end of the line lead over to the first sample that is repeated."""
    cdef int k
    cdef int16_t *end = c.line + c.past - c.quarter
    cdef const int16_t *before = end - c.periods * c.pitch
    cdef float part = 1.0 / (c.quarter + 1)
    for k in range(c.quarter):
        end[k] = blend(c.tail[k], before[k], (k + 1) * part)


cdef void conceal_begin(Conceal *c, int rate, const int16_t *past) noexcept nogil:
    """Loss begins after the 48.75 ms of `past`."""
    cdef int window = rate // 160
    cdef float likeness
    c.rate = rate
    c.past = conceal_past(rate)
    memcpy(c.line, past, c.past * sizeof(int16_t))
    c.pitch = best_lag(
        past + c.past - window, past + c.past - window, -1, rate // 400, 3 * rate // 200, window, &likeness
    )
    c.quarter = c.pitch // 4
    memcpy(c.tail, past + c.past - c.quarter, c.quarter * sizeof(int16_t))
    c.edge = past[c.past - 1] - past[c.past - 1 - c.pitch]
    c.periods = 1
    c.at = c.lost = 0
    close_loop(c)


cdef void repeat(Conceal *c, int16_t *out, int n) noexcept nogil:
    """The next samples of what is repeated."""
    cdef int length = c.periods * c.pitch, k
    cdef const int16_t *start = c.line + c.past - length
    for k in range(n):
        out[k] = start[c.at]
        c.at = c.at + 1 if c.at + 1 < length else 0


cdef void lengthen(Conceal *c, int16_t *out, int n) noexcept nogil:
    """One more period is repeated from now on; overlaps with what would have come."""
    cdef int16_t old[QUARTER]
    cdef int at = c.at, k, overlap = c.quarter if c.quarter < n else n
    repeat(c, old, overlap)
    c.at = at % c.pitch
    c.periods += 1
    close_loop(c)
    repeat(c, out, n)
    cdef float part = 1.0 / (overlap + 1)
    for k in range(overlap):
        out[k] = blend(old[k], out[k], (k + 1) * part)


cdef void fade(Conceal *c, int16_t *out, int n) noexcept nogil:
    """The step at the first edge decays over a quarter period; from 10 ms on a fifth is lost every 10 ms."""
    cdef int unit = c.rate // 100, k
    cdef float slope = 0.2 / unit, part = 1.0 / (c.quarter + 1), gain, x
    for k in range(n):
        if c.lost + k < c.quarter:
            x = out[k] + c.edge * (c.quarter - c.lost - k) * part
            x = x if x < 32767 else 32767
            out[k] = <int16_t>rintf(x if x > -32768 else -32768)
        elif c.lost + k >= unit:
            gain = 1 - (c.lost + k - unit) * slope
            out[k] = <int16_t>rintf(out[k] * gain) if gain > 0 else 0


cdef void conceal_make(Conceal *c, int16_t *out, int n) noexcept nogil:
    """The next n samples in place of lost ones; silence from 60 ms on."""
    cdef int unit = c.rate // 100, left, step
    while n > 0:
        if c.lost >= 6 * unit:
            memset(out, 0, n * sizeof(int16_t))
            return
        left = unit - c.lost % unit
        step = left if left < n else n
        if left == unit and 1 <= c.lost // unit <= 2:
            lengthen(c, out, step)
        else:
            repeat(c, out, step)
        fade(c, out, step)
        c.lost += step
        out += step
        n -= step


cdef void conceal_join(Conceal *c, int16_t *pcm, int n) noexcept nogil:
    """Good audio again: its first samples (a quarter period, and 4 ms for every 10 ms lost; at most 10 ms) are blended."""
    cdef int16_t old[LONGEST]
    cdef int unit = c.rate // 100, k
    cdef int overlap = c.quarter + (c.lost - 1) // unit * (c.rate // 250)
    cdef float part
    overlap = overlap if overlap < unit else unit
    overlap = overlap if overlap < n else n
    part = 1.0 / (overlap + 1)
    conceal_make(c, old, overlap)
    for k in range(overlap):
        pcm[k] = blend(old[k], pcm[k], (k + 1) * part)


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class Concealment:
    """What stands for lost audio. `rate`: 8000 or 16000; int16 throughout."""

    cdef Conceal c

    def __cinit__(self, int rate=8000):
        if rate not in (8000, 16000):
            raise ValueError(f"rate must be 8000 or 16000, not {rate}")
        self.c.rate = rate

    def begin(self, const int16_t[::1] past):
        """Loss begins after `past`, of which the last 48.75 ms (390 or 780 samples) are used."""
        cdef int n = conceal_past(self.c.rate)
        if past.shape[0] < n:
            raise ValueError(f"{n} samples of history are needed, not {past.shape[0]}")
        conceal_begin(&self.c, self.c.rate, &past[past.shape[0] - n])

    def make(self, int n):
        """The next n samples, int16."""
        out = np.zeros(n, np.int16)
        cdef int16_t[::1] view = out
        if n:
            conceal_make(&self.c, &view[0], n)
        return out

    def join(self, const int16_t[::1] pcm):
        """`pcm` with its beginning blended into what was made up."""
        out = np.array(pcm, np.int16)
        cdef int16_t[::1] view = out
        if pcm.shape[0]:
            conceal_join(&self.c, &view[0], <int>pcm.shape[0])
        return out

    @property
    def pitch(self):
        """The period that is repeated, samples."""
        return self.c.pitch
