"""Automatic gain for quiet callers, and how loud a caller is."""

from libc.stdint cimport int16_t

cdef struct Gain:
    float level_dbm0        # of the speech heard, smoothed over 100 ms; falls 10 dB a second when nobody speaks
    float voice             # long-term level of the speech, mean square; 0: none heard yet
    int heard               # frames of speech in it
    float wanted            # gain towards which `now` moves
    float now               # gain at the end of the last frame
    float held              # what the limiter leaves of it, 1 where it does nothing

cdef void gain_open(Gain *g) noexcept nogil
cdef void gain_level(Gain *g, const int16_t *pcm, int n, bint speech) noexcept nogil
cdef void gain_hear(Gain *g, int16_t *pcm, int n, bint speech) noexcept nogil
