# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""ITU-T G.711 companding by table. The tables are filled once, when the module is imported."""

cdef int16_t mu_linear[256]
cdef int16_t a_linear[256]
cdef uint8_t mu_code[16384]     # by the upper 14 bits of a sample
cdef uint8_t a_code[4096]       # by the upper 12 bits


cdef int16_t expand_mu(uint8_t code) noexcept nogil:
    """G.711 table 2a/2b: 14-bit values, left-justified in 16."""
    cdef int bits = ~code & 0xFF
    cdef int size = ((((bits & 15) << 3) + 132) << (bits >> 4 & 7)) - 132
    return <int16_t>(-size if bits & 0x80 else size)


cdef int16_t expand_a(uint8_t code) noexcept nogil:
    """G.711 table 1a/1b: 13-bit values, left-justified in 16."""
    cdef int bits = code ^ 0x55
    cdef int segment = bits >> 4 & 7
    cdef int size = ((bits & 15) << 4) + 8
    if segment:
        size = (size + 256) << (segment - 1)
    return <int16_t>(size if bits & 0x80 else -size)


cdef uint8_t compress_mu(int value) noexcept nogil:
    """`value`: 14 bits, signed. Negative values are taken in one's complement."""
    cdef int sign = 0x80 if value >= 0 else 0
    cdef int size = (value if value >= 0 else ~value) + 33
    cdef int segment = 0
    if size > 8191:
        size = 8191
    while size >> segment > 63:
        segment += 1
    return <uint8_t>(sign | (~(segment << 4 | (size >> (segment + 1) & 15)) & 0x7F))


cdef uint8_t compress_a(int value) noexcept nogil:
    """`value`: 12 bits, signed. Negative values are taken in one's complement."""
    cdef int sign = 0x80 if value >= 0 else 0
    cdef int size = value if value >= 0 else ~value
    cdef int segment = 0
    if size > 15:
        segment = 1
        while size > 31:
            size >>= 1
            segment += 1
        size = (size - 16) | segment << 4
    return <uint8_t>((sign | size) ^ 0x55)


cdef void g711_decode(int payload, const uint8_t *code, int16_t *pcm, int n) noexcept nogil:
    cdef int16_t *table = mu_linear
    cdef int i
    if payload == PCMA:
        table = a_linear
    for i in range(n):
        pcm[i] = table[code[i]]


cdef void g711_encode(int payload, const int16_t *pcm, uint8_t *code, int n) noexcept nogil:
    cdef int i
    if payload == PCMA:
        for i in range(n):
            code[i] = a_code[(pcm[i] >> 4) & 0xFFF]
    else:
        for i in range(n):
            code[i] = mu_code[(pcm[i] >> 2) & 0x3FFF]


cdef void fill_tables() noexcept nogil:
    cdef int i
    for i in range(256):
        mu_linear[i] = expand_mu(<uint8_t>i)
        a_linear[i] = expand_a(<uint8_t>i)
    for i in range(16384):
        mu_code[i] = compress_mu(i - 16384 if i & 0x2000 else i)
    for i in range(4096):
        a_code[i] = compress_a(i - 4096 if i & 0x800 else i)


fill_tables()
