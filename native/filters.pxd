"""High-pass filter, correlations and a gradient step on floats, with AVX2 where the machine has it."""

from libc.stdint cimport int16_t

cdef void high_pass(float *state, const int16_t *pcm, float *out, int n) noexcept nogil
cdef float dot(const float *a, const float *b, int n) noexcept nogil
cdef void slide(const float *a, int taps, const float *x, float *out, int n) noexcept nogil
cdef void adapt(float *taps, int n_taps, const float *x, const float *wanted, const float *gain, int n) noexcept nogil
