"""Samples held at their timestamps: a ring, and a list of the runs that are there."""

from libc.stdint cimport int16_t, int64_t
from libc.string cimport memcpy

cdef enum:
    SPAN = 16384            # samples a ring can hold: 1.02 s at 16 kHz
    SMALL = 2048            # what one begins with at 8 kHz, so that a thousand of them stay in the cache
    RUNS = 32               # runs with gaps between them

cdef struct Run:            # a <= timestamp < b
    int64_t a
    int64_t b

cdef struct Held:
    int span                # samples in use, a power of two
    int most                # that it may grow to
    int runs
    Run run[RUNS]           # in order, apart
    int16_t pcm[SPAN]


cdef inline void held_write(Held *h, int64_t at, const int16_t *pcm, int n) noexcept nogil:
    """Puts n samples, at most `span`, at their place; notes nothing."""
    cdef int start = <int>(at & (h.span - 1)), first = h.span - start
    if first >= n:
        memcpy(h.pcm + start, pcm, n * sizeof(int16_t))
        return
    memcpy(h.pcm + start, pcm, first * sizeof(int16_t))
    memcpy(h.pcm, pcm + first, (n - first) * sizeof(int16_t))


cdef inline void held_read(const Held *h, int64_t at, int16_t *out, int n) noexcept nogil:
    """The n samples at a place, there or not."""
    cdef int start = <int>(at & (h.span - 1)), first = h.span - start
    if first >= n:
        memcpy(out, h.pcm + start, n * sizeof(int16_t))
        return
    memcpy(out, h.pcm + start, first * sizeof(int16_t))
    memcpy(out + first, h.pcm, (n - first) * sizeof(int16_t))


cdef void held_open(Held *h, int rate) noexcept nogil
cdef void held_widen(Held *h, int64_t first, int64_t room) noexcept nogil
cdef int held_place(Held *h, int64_t a, int64_t b) noexcept nogil
cdef int64_t held_drop(Held *h, int64_t before) noexcept nogil
