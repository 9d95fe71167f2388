"""Comfort noise (RFC 3389): a level and the spectrum's reflection coefficients, measured and made audible again."""

from libc.stdint cimport int16_t, uint8_t, uint32_t

cdef enum:
    ORDER = 10              # reflection coefficients sent
    MODEL = 20              # and understood, at most

cdef struct Comfort:        # what is to be sent
    bint known
    double lags[ORDER + 1]  # autocorrelation of silence, smoothed

cdef struct Noise:          # what was received
    bint known
    uint32_t random
    int order
    float gain              # of the excitation, as it is now
    float wanted            # and as it shall be
    float reflection[MODEL]
    float state[MODEL + 1]  # backward errors of the lattice

cdef int comfort_measure(Comfort *c, const int16_t *pcm, int n, uint8_t *payload, int room) noexcept nogil
cdef void noise_set(Noise *g, const uint8_t *payload, int n) noexcept nogil
cdef void noise_make(Noise *g, int16_t *out, int n) noexcept nogil
