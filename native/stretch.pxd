"""Time stretching by pitch periods: a frame that uses up more or fewer samples than it has (WSOLA)."""

from libc.stdint cimport int16_t

cdef int stretch_find(const int16_t *x, int rate, int step, int most, float *likeness) noexcept nogil
cdef void stretch_make(const int16_t *x, int rate, int lag, int16_t *out, int n) noexcept nogil
