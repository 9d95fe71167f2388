"""Jitter buffer keyed by timestamp, so that any packet time works."""

from libc.stdint cimport int16_t, int64_t, uint8_t

cdef enum:
    SPAN = 8192             # samples held: 1.02 s at 8 kHz
    FRAME = 160             # samples a tick
    TARGET = 320            # 40 ms between arrival and playout
    DEEPEST = 1600          # the most delay late packets may cause

cdef struct Jitter:
    bint running
    int64_t play            # timestamp of the next sample to be played
    int64_t least           # smallest slack seen in this window
    int window              # ticks since the window began
    int stray               # packets in a row that missed the buffer altogether
    int fade                # concealed frames since the last whole one
    int64_t late
    int64_t concealed       # samples made up
    int16_t last[FRAME]
    int16_t pcm[SPAN]
    uint8_t have[SPAN]

cdef void jitter_reset(Jitter *j) noexcept nogil
cdef bint jitter_put(Jitter *j, int64_t stamp, const int16_t *pcm, int n) noexcept nogil
cdef void jitter_take(Jitter *j, int16_t *out, bint quiet) noexcept nogil
