"""Loss concealment: pitch waveform substitution after ITU-T G.711 Appendix I, at 8 and 16 kHz."""

from libc.math cimport rintf
from libc.stdint cimport int16_t

cdef enum:
    LONGEST = 240           # longest pitch period, samples: 15 ms at 16 kHz
    QUARTER = 60            # of that, at most
    PAST = 780              # history that is needed: 48.75 ms at 16 kHz

cdef struct Conceal:
    int rate
    int past                # samples of `line` in use: 48.75 ms
    int pitch               # period, samples
    int quarter             # a quarter of it: where two pieces overlap
    int periods             # how many are repeated: 1, 2, 3
    int at                  # next sample within them
    int lost                # samples made up since the last good one
    float edge              # what the first made up sample is off by
    int16_t tail[QUARTER]      # the last quarter period as it was
    int16_t line[PAST]      # history; its last quarter period leads over to the first sample that is repeated

cdef inline int16_t blend(float a, float b, float w) noexcept nogil:
    """a where w is 0, b where it is 1."""
    return <int16_t>rintf(a + (b - a) * w)


cdef int peak(const int16_t *x, int n) noexcept nogil
cdef int best_lag(
    const int16_t *here, const int16_t *there, int step, int least, int most, int window, float *likeness
) noexcept nogil
cdef int conceal_past(int rate) noexcept nogil
cdef void conceal_begin(Conceal *c, int rate, const int16_t *past) noexcept nogil
cdef void conceal_make(Conceal *c, int16_t *out, int n) noexcept nogil
cdef void conceal_join(Conceal *c, int16_t *pcm, int n) noexcept nogil
