# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""ITU-T G.722 (09/2012), mode 1 (64 kbit/s), in the fixed-point arithmetic of its section 6.

Signals and blocks carry the standard's names (QUANTL, INVQAL, LOGSCL, UPPOL2, ...).
"""

from libc.string cimport memcpy, memset

cdef extern from *:
    """
    /* Annexed tables of section 6.2. QM6 and QM4 are the inverse quantizers of 6 and 4 bits, QM2 that of the upper band. */
    static const int16_t QMF[12] = {3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11};
    static const int16_t Q6[30] = {0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786,
        858, 940, 1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919};
    static const int16_t QM6[64] = {-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280,
        -11192, -10232, -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
        -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360,
        8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728,
        432, 136, -432, -136};
    static const int16_t QM4[16] = {0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288,
        4240, 2584, 1200, 0};
    static const int16_t QM2[4] = {-7408, -1616, 7408, 1616};
    static const int16_t WL[16] = {-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60};
    static const int16_t WH[4] = {798, -214, 798, -214};
    static const int16_t ILB[32] = {2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714,
        2774, 2834, 2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008};
    """
    const int16_t QMF[12]
    const int16_t Q6[30]
    const int16_t QM6[64]
    const int16_t QM4[16]
    const int16_t QM2[4]
    const int16_t WL[16]        # by the code's upper 4 bits
    const int16_t WH[4]
    const int16_t ILB[32]

cdef enum:
    TAPS = 12               # of each half of the 24-tap QMF
    BLOCK = 160             # pairs of samples worked on at once: 20 ms


cdef void g722_reset(G722 *g) noexcept nogil:
    memset(g, 0, sizeof(G722))
    g.low.det = 32
    g.high.det = 8


cdef inline int32_t clip(int32_t x) noexcept nogil:
    return 32767 if x > 32767 else -32768 if x < -32768 else x


cdef inline int32_t scale(int32_t nb, int32_t shift) noexcept nogil:
    """SCALEL (shift 8), SCALEH (10): the scale factor of a log scale factor."""
    cdef int32_t step = ILB[(nb >> 6) & 31]
    shift -= nb >> 11
    return (step << -shift if shift < 0 else step >> shift) << 2


cdef inline void adapt_poles(Band *band, int32_t p0) noexcept nogil:
    """UPPOL2, UPPOL1 and LIMIT of both."""
    cdef int32_t first = clip(band.a1 << 2)
    cdef int32_t a1, a2, bound
    first = -first if (p0 ^ band.p1) >= 0 else first
    a2 = ((first if first < 32767 else 32767) >> 7) + (128 if (p0 ^ band.p2) >= 0 else -128) + ((band.a2 * 32512) >> 15)
    a2 = 12288 if a2 > 12288 else -12288 if a2 < -12288 else a2
    a1 = (192 if (p0 ^ band.p1) >= 0 else -192) + ((band.a1 * 32640) >> 15)
    bound = 15360 - a2
    band.a1 = bound if a1 > bound else -bound if a1 < -bound else a1
    band.a2 = a2


cdef inline void adapt_zeros(Band *band, int32_t d0) noexcept nogil:
    """UPZERO. A coefficient loses 1/256 of itself, then gains at most 128: it can't overflow."""
    cdef int16_t gain = 128 if d0 else 0
    cdef int16_t newest = <int16_t>d0
    cdef int k
    for k in range(6):
        band.b[k] = <int16_t>(((band.b[k] * 255) >> 8) + (gain if (band.d[k] ^ newest) >= 0 else -gain))


cdef inline void predict(Band *band, int32_t d0) noexcept nogil:
    """RECONS, PARREC, adaptation, then FILTEP, FILTEZ and PREDIC for the next sample."""
    cdef int32_t r0 = clip(band.s + d0)
    cdef int32_t p0 = clip(band.sz + d0)
    cdef int32_t zeros = 0
    cdef int32_t poles
    cdef int k
    adapt_poles(band, p0)
    adapt_zeros(band, d0)
    for k in range(5, 0, -1):
        band.d[k] = band.d[k - 1]
    band.d[0] = <int16_t>d0
    band.r2 = band.r1
    band.r1 = r0
    band.p2 = band.p1
    band.p1 = p0
    for k in range(6):
        zeros += (band.b[k] * clip(2 * band.d[k])) >> 15
    poles = clip(((band.a1 * clip(2 * band.r1)) >> 15) + ((band.a2 * clip(2 * band.r2)) >> 15))
    band.sz = clip(zeros)
    band.s = clip(poles + band.sz)


cdef inline void follow_low(Band *band, int code) noexcept nogil:
    """INVQAL, LOGSCL, SCALEL and the predictor: what the encoder and the decoder do with 4 bits of the lower band."""
    cdef int32_t d0 = (band.det * QM4[code]) >> 15
    cdef int32_t nb = ((band.nb * 127) >> 7) + WL[code]
    band.nb = 0 if nb < 0 else 18432 if nb > 18432 else nb
    band.det = scale(band.nb, 8)
    predict(band, d0)


cdef inline int32_t follow_high(Band *band, int code) noexcept nogil:
    """INVQAH, LOGSCH, SCALEH and the predictor; gives the reconstructed signal."""
    cdef int32_t d0 = (band.det * QM2[code]) >> 15
    cdef int32_t r0 = band.s + d0
    cdef int32_t nb = ((band.nb * 127) >> 7) + WH[code]
    band.nb = 0 if nb < 0 else 22528 if nb > 22528 else nb
    band.det = scale(band.nb, 10)
    predict(band, d0)
    return r0


cdef inline int low_code(const Band *band, int32_t x) noexcept nogil:
    """SUBTRA and QUANTL: 6 bits."""
    cdef int32_t e = clip(x - band.s)
    cdef int32_t size = e if e >= 0 else ~e
    cdef int k = 1
    while k < 30 and size >= (Q6[k] * band.det) >> 12:
        k += 1
    if e >= 0:
        return 62 - k
    return 64 - k if k < 3 else 34 - k


cdef inline int high_code(const Band *band, int32_t x) noexcept nogil:
    """SUBTRA and QUANTH: 2 bits."""
    cdef int32_t e = clip(x - band.s)
    cdef bint far = (e if e >= 0 else ~e) >= (564 * band.det) >> 12
    if e >= 0:
        return 2 if far else 3
    return 0 if far else 1


cdef inline int32_t bound(int32_t x) noexcept nogil:
    """LIMIT of 15 bits."""
    return 16383 if x > 16383 else -16384 if x < -16384 else x


cdef int g722_encode(G722 *g, const int16_t *pcm, int n, uint8_t *code) noexcept nogil:
    """`n` samples at 16 kHz (even) to n/2 octets; gives their number."""
    cdef int16_t even[TAPS + BLOCK]
    cdef int16_t odd[TAPS + BLOCK]
    cdef int32_t a, b, low, high
    cdef int done = 0
    cdef int pairs, i, k
    while done < n // 2:
        pairs = n // 2 - done if n // 2 - done < BLOCK else BLOCK
        memcpy(even, g.even, sizeof(g.even))
        memcpy(odd, g.odd, sizeof(g.odd))
        for i in range(pairs):
            even[TAPS + i] = pcm[2 * (done + i)]
            odd[TAPS + i] = pcm[2 * (done + i) + 1]
        for i in range(pairs):
            a = b = 0
            for k in range(TAPS):
                a += QMF[k] * even[i + 1 + k]
                b += QMF[TAPS - 1 - k] * odd[i + 1 + k]
            low = low_code(&g.low, (a + b) >> 14)
            high = high_code(&g.high, (b - a) >> 14)
            follow_low(&g.low, low >> 2)
            follow_high(&g.high, high)
            code[done + i] = <uint8_t>(high << 6 | low)
        memcpy(g.even, even + pairs, sizeof(g.even))
        memcpy(g.odd, odd + pairs, sizeof(g.odd))
        done += pairs
    return done


cdef int g722_decode(G722 *g, const uint8_t *code, int n, int16_t *pcm) noexcept nogil:
    """`n` octets to 2n samples at 16 kHz; gives their number."""
    cdef int16_t even[TAPS + BLOCK]
    cdef int16_t odd[TAPS + BLOCK]
    cdef int32_t a, b, low, high
    cdef int done = 0
    cdef int pairs, i, k
    while done < n:
        pairs = n - done if n - done < BLOCK else BLOCK
        memcpy(even, g.even, sizeof(g.even))
        memcpy(odd, g.odd, sizeof(g.odd))
        for i in range(pairs):
            low = code[done + i] & 63
            high = code[done + i] >> 6
            a = bound(g.low.s + ((g.low.det * QM6[low]) >> 15))
            follow_low(&g.low, low >> 2)
            b = bound(follow_high(&g.high, high))
            even[TAPS + i] = <int16_t>(a + b)
            odd[TAPS + i] = <int16_t>(a - b)
        for i in range(pairs):
            a = b = 0
            for k in range(TAPS):
                a += QMF[k] * even[i + 1 + k]
                b += QMF[TAPS - 1 - k] * odd[i + 1 + k]
            pcm[2 * (done + i)] = <int16_t>clip(b >> 11)
            pcm[2 * (done + i) + 1] = <int16_t>clip(a >> 11)
        memcpy(g.even, even + pairs, sizeof(g.even))
        memcpy(g.odd, odd + pairs, sizeof(g.odd))
        done += pairs
    return 2 * done

