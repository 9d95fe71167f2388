"""Sums of frames: a room's mix, and what each of its members hears."""

from libc.stdint cimport int16_t, int32_t

cdef void mix_add(int32_t *sum, const int16_t *pcm, int n) noexcept nogil
cdef void mix_out(const int32_t *sum, int16_t *out, int n) noexcept nogil
cdef void mix_less(const int32_t *sum, const int16_t *own, int16_t *out, int n) noexcept nogil
