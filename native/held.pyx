# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Samples held at their timestamps: a ring, and a list of the runs that are there.

A stream without loss is one run, which a packet makes longer and a tick makes shorter.
"""

from libc.stdint cimport int16_t, int64_t
from libc.string cimport memmove


cdef void held_open(Held *h, int rate) noexcept nogil:
    """Empty; 8000 or 16000 Hz."""
    h.runs = 0
    h.span = SMALL if rate == 8000 else 2 * SMALL
    h.most = SPAN // 2 if rate == 8000 else SPAN


cdef void held_widen(Held *h, int64_t first, int64_t room) noexcept nogil:
    """Makes the ring hold `room` samples (at most `most`) and keeps what lies from `first` on."""
    cdef int16_t old[SPAN]
    cdef int span = h.span
    held_read(h, first, old, span)
    while h.span < room and h.span < h.most:
        h.span *= 2
    held_write(h, first, old, span)


cdef int held_place(Held *h, int64_t a, int64_t b) noexcept nogil:
    """Notes that a..b is there; gives how much of it was there already, or -1 where it would be one run too many."""
    cdef int k = h.runs, m, overlap = 0
    cdef int64_t low, high
    if k and h.run[k - 1].b == a:
        h.run[k - 1].b = b
        return 0
    while k and h.run[k - 1].b >= a:
        k -= 1
    m = k
    while m < h.runs and h.run[m].a <= b:
        low = a if a > h.run[m].a else h.run[m].a
        high = b if b < h.run[m].b else h.run[m].b
        overlap += <int>(high - low)
        m += 1
    if m > k:
        h.run[k].a = a if a < h.run[k].a else h.run[k].a
        h.run[k].b = b if b > h.run[m - 1].b else h.run[m - 1].b
        memmove(&h.run[k + 1], &h.run[m], (h.runs - m) * sizeof(Run))
        h.runs -= m - k - 1
        return overlap
    if h.runs == RUNS:
        return -1
    memmove(&h.run[k + 1], &h.run[k], (h.runs - k) * sizeof(Run))
    h.run[k] = Run(a, b)
    h.runs += 1
    return 0


cdef int64_t held_drop(Held *h, int64_t before) noexcept nogil:
    """What lies before that time is there no longer; gives how many samples that were."""
    cdef int64_t gone = 0
    cdef int k = 0
    while k < h.runs and h.run[k].b <= before:
        gone += h.run[k].b - h.run[k].a
        k += 1
    if k:
        h.runs -= k
        memmove(&h.run[0], &h.run[k], h.runs * sizeof(Run))
    if h.runs and h.run[0].a < before:
        gone += before - h.run[0].a
        h.run[0].a = before
    return gone
