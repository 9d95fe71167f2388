# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""ITU-T G.711 companding by arithmetic: a segment and its step are a float's exponent and the four highest bits after it.

No table, so nothing of it can be out of the cache when the next leg's frame comes, and the compiler vectorizes it.
"""

from libc.stdint cimport int32_t

cdef extern from *:
    """
    static inline int bits_of(float value) { union { float f; int i; } u; u.f = value; return u.i; }
    static inline float float_of(int bits) { union { float f; int i; } u; u.i = bits; return u.f; }
    """
    int32_t bits_of(float value) noexcept nogil
    float float_of(int32_t bits) noexcept nogil

cdef enum:
    MIDDLE = (127 + 7) << 23 | 1 << 18      # exponent of segment 0, and the middle of a step: its last mantissa bit
    MU_LEAST = (127 + 5) << 4               # magnitude 33 of 14 bits: segment 0
    A_LEAST = (127 + 3) << 4                # magnitude 16 of 12 bits: segment 1; below it steps are linear


cdef inline uint8_t mu_code(int16_t sample) noexcept nogil:
    """G.711 table 2a/2b: 14-bit values, left-justified in 16; negative ones in one's complement."""
    cdef int16_t sign = sample >> 15
    cdef int16_t size = ((sample ^ sign) >> 2) + 33
    size = size if size < 8191 else 8191
    return <uint8_t>~(((bits_of(<float>size) >> 19) - MU_LEAST) | (sign & 0x80))


cdef inline uint8_t a_code(int16_t sample) noexcept nogil:
    """G.711 table 1a/1b: 12 bits of 16; negative values in one's complement."""
    cdef int16_t sign = sample >> 15
    cdef int16_t size = (sample ^ sign) >> 4
    cdef int32_t step = (bits_of(<float>size) >> 19) - A_LEAST
    return <uint8_t>(((size if size < 16 else step) | (~sign & 0x80)) ^ 0x55)


cdef inline int16_t mu_linear(int32_t code) noexcept nogil:
    cdef int32_t bits = code ^ 0xFF
    cdef int32_t sign = -(bits >> 7)
    cdef int32_t size = <int32_t>float_of(((bits & 0x7F) << 19) + MIDDLE) - 132
    return <int16_t>((size ^ sign) - sign)


cdef inline int16_t a_linear(int32_t code) noexcept nogil:
    cdef int32_t bits = code ^ 0xD5
    cdef int32_t sign = -(bits >> 7)
    cdef int32_t low = 16 if (bits & 0x7F) < 16 else 0
    cdef int32_t size = <int32_t>float_of((((bits & 0x7F) | low) << 19) + MIDDLE) - (low << 4)
    return <int16_t>((size ^ sign) - sign)


cdef void g711_decode(int payload, const uint8_t *code, int16_t *pcm, int n) noexcept nogil:
    cdef int i
    if payload == PCMA:
        for i in range(n):
            pcm[i] = a_linear(code[i])
    else:
        for i in range(n):
            pcm[i] = mu_linear(code[i])


cdef void g711_encode(int payload, const int16_t *pcm, uint8_t *code, int n) noexcept nogil:
    cdef int i
    if payload == PCMA:
        for i in range(n):
            code[i] = a_code(pcm[i])
    else:
        for i in range(n):
            code[i] = mu_code(pcm[i])
