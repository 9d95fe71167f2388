"""G.711: payload type 0 is mu-law, 8 is A-law (RFC 3551)."""

from libc.stdint cimport int16_t, uint8_t

cdef enum:
    PCMU = 0
    PCMA = 8

cdef void g711_decode(int payload, const uint8_t *code, int16_t *pcm, int n) noexcept nogil
cdef void g711_encode(int payload, const int16_t *pcm, uint8_t *code, int n) noexcept nogil
