"""Keeps the delay of the playout buffer where it shall be, while audio plays."""

from libc.stdint cimport int16_t, int64_t

from native.jitter cimport Jitter

cdef bint steer_take(Jitter *j, int16_t *out, int64_t t) noexcept nogil
