"""Frames of the playout buffer of which something is missing."""

from libc.stdint cimport int16_t, int64_t

from native.jitter cimport Jitter

cdef void patch_blank(Jitter *j) noexcept nogil
cdef void patch_take(Jitter *j, int16_t *out, bint quiet, int64_t t) noexcept nogil
