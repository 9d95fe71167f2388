"""8 <-> 16 <-> 48 kHz by polyphase filters of 32 taps a phase."""

from libc.stdint cimport int16_t

cdef enum:
    HALF_TAPS = 32          # taps of a phase
    MOST = 480              # most samples a call takes at the lower of the two rates

cdef struct Doubler:        # all of them: zeroed is as new
    int16_t past[31]        # HALF_TAPS - 1

cdef struct Halver:
    int16_t even[31]
    int16_t odd[16]         # HALF_TAPS / 2

cdef struct Tripler:
    int16_t past[31]

cdef struct Thirder:
    int16_t past[3][31]     # one line a phase

cdef void double_rate(Doubler *d, const int16_t *pcm, int16_t *out, int n) noexcept nogil
cdef void halve_rate(Halver *h, const int16_t *pcm, int16_t *out, int n) noexcept nogil
cdef void triple_rate(Tripler *t, const int16_t *pcm, int16_t *out, int n) noexcept nogil
cdef void third_rate(Thirder *t, const int16_t *pcm, int16_t *out, int n) noexcept nogil
