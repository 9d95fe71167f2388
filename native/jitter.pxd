"""Playout (jitter) buffer of a leg, keyed by timestamp, so that any packet time works."""

from libc.stdint cimport int16_t, int64_t, uint8_t

cdef enum:
    FRAME = 160             # samples of a 20 ms tick at 8 kHz
    WIDE = 320              # and at 16 kHz
    SPAN = 16384            # samples held: 1.02 s at 16 kHz; half of them are used at 8 kHz

cdef struct Jitter:
    int rate
    int frame
    int span                # samples held, a power of two
    bint running
    int64_t play            # timestamp of the next sample to be played
    int64_t least           # smallest slack seen in this window
    int window              # ticks since the window began
    int stray               # packets in a row that missed the buffer altogether
    int fade                # concealed frames since the last whole one
    bint noise              # comfort noise instead of concealment
    int target_ms
    int delay_ms
    int64_t late            # packets
    int64_t duplicate       # packets
    int64_t concealed       # samples made up
    int64_t stretched       # samples inserted or removed in speech
    int64_t dropped         # samples given up
    int64_t noise_frames
    int16_t last[WIDE]
    int16_t pcm[SPAN]
    uint8_t have[SPAN]

cdef void jitter_open(Jitter *j, int rate) noexcept nogil
cdef void jitter_reset(Jitter *j) noexcept nogil
cdef bint jitter_put(Jitter *j, int64_t stamp, const int16_t *pcm, int n, bint marker, int64_t now) noexcept nogil
cdef void jitter_noise(Jitter *j, int64_t stamp, const uint8_t *payload, int n, int64_t now) noexcept nogil
cdef void jitter_take(Jitter *j, int16_t *out, bint quiet, int64_t now) noexcept nogil
cdef int jitter_short(Jitter *j) noexcept nogil
