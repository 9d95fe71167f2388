"""8 <-> 16 kHz by a half-band filter in two phases."""

from libc.stdint cimport int16_t

cdef enum:
    HALF_TAPS = 32          # taps of the phase that filters; the other phase is a pure delay
    MOST = 480              # most 8 kHz samples a call takes

cdef struct Doubler:
    float past[31]           # HALF_TAPS - 1

cdef struct Halver:
    float even[31]
    float odd[16]            # HALF_TAPS / 2

cdef void double_rate(Doubler *d, const int16_t *pcm, int16_t *out, int n) noexcept nogil
cdef void halve_rate(Halver *h, const int16_t *pcm, int16_t *out, int n) noexcept nogil
