# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""ITU-T G.722 (09/2012), mode 1 (64 kbit/s), in the fixed-point arithmetic of its section 6.

Signals and blocks carry the standard's names (QUANTL, INVQAL, LOGSCL, UPPOL2, ...). The three loops that cost stand in C,
with SSE2 where there is (every x86-64) and plainly elsewhere.
"""

from libc.string cimport memcpy, memmove, memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif

    /* Tables of section 6.2. QM6, QM4 and QM2 are inverse quantizers; WL and WH stand by the received code. */
    static const int16_t QMF[16] = {3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11};
    static const int16_t QMF_BACK[16] = {-11, 53, -156, 362, -805, 3876, 951, -210, 32, 12, -11, 3};
    static const int16_t Q6[29] = {35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858,
        940, 1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919};
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

    #if defined(__SSE2__)
    #define LOAD(at) _mm_loadu_si128((const __m128i *)(at))

    static inline int32_t zeros(int16_t *b, int16_t *d, int16_t newest) {
        const __m128i lanes = _mm_setr_epi16(-1, -1, -1, -1, -1, -1, 0, 0);
        __m128i was = LOAD(d), now = _mm_set1_epi16(newest), gain = _mm_set1_epi16(newest ? 128 : 0);
        __m128i against = _mm_srai_epi16(_mm_xor_si128(was, now), 15), kept = LOAD(b), low, high;
        kept = _mm_add_epi16(kept, _mm_mulhi_epi16(kept, _mm_set1_epi16(-256)));
        kept = _mm_add_epi16(kept, _mm_sub_epi16(_mm_xor_si128(gain, against), against));
        now = _mm_and_si128(_mm_insert_epi16(_mm_slli_si128(was, 2), newest, 0), lanes);
        _mm_storeu_si128((__m128i *)b, kept);
        _mm_storeu_si128((__m128i *)d, now);
        now = _mm_add_epi16(now, now);
        high = _mm_mulhi_epi16(kept, now);
        low = _mm_srli_epi16(_mm_mullo_epi16(kept, now), 15);
        low = _mm_madd_epi16(_mm_add_epi16(_mm_add_epi16(high, high), low), _mm_set1_epi16(1));
        low = _mm_add_epi32(low, _mm_shuffle_epi32(low, _MM_SHUFFLE(1, 0, 3, 2)));
        return _mm_cvtsi128_si32(_mm_add_epi32(low, _mm_shuffle_epi32(low, _MM_SHUFFLE(2, 3, 0, 1))));
    }

    #define LEVELS4(a, b, c, d) (int16_t)(a << 4), (int16_t)(b << 4), (int16_t)(c << 4), (int16_t)(d << 4)
    static inline int steps(int32_t size, int32_t det) {
        const __m128i q0 = _mm_setr_epi16(LEVELS4(35, 72, 110, 150), LEVELS4(190, 233, 276, 323));
        const __m128i q1 = _mm_setr_epi16(LEVELS4(370, 422, 473, 530), LEVELS4(587, 650, 714, 786));
        const __m128i q2 = _mm_setr_epi16(LEVELS4(858, 940, 1023, 1121), LEVELS4(1219, 1339, 1458, 1612));
        const __m128i q3 = _mm_setr_epi16(LEVELS4(1765, 1980, 2195, 2557), LEVELS4(2919, 0, 0, 0));
        __m128i x = _mm_set1_epi16((int16_t)size), by = _mm_set1_epi16((int16_t)det);
        __m128i low = _mm_packs_epi16(_mm_cmpgt_epi16(_mm_mulhi_epu16(q0, by), x), _mm_cmpgt_epi16(_mm_mulhi_epu16(q1, by), x));
        __m128i high = _mm_packs_epi16(_mm_cmpgt_epi16(_mm_mulhi_epu16(q2, by), x), _mm_cmpgt_epi16(_mm_mulhi_epu16(q3, by), x));
        return __builtin_ctz((unsigned)_mm_movemask_epi8(low) | (unsigned)_mm_movemask_epi8(high) << 16 | 1u << 29);
    }

    static inline void fold(const int16_t *even, const int16_t *odd, int32_t *sums) {
        __m128i a = _mm_add_epi32(_mm_madd_epi16(LOAD(even), LOAD(QMF)), _mm_madd_epi16(LOAD(even + 8), LOAD(QMF + 8)));
        __m128i b = _mm_add_epi32(_mm_madd_epi16(LOAD(odd), LOAD(QMF_BACK)), _mm_madd_epi16(LOAD(odd + 8), LOAD(QMF_BACK + 8)));
        __m128i both = _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
        _mm_storel_epi64((__m128i *)sums, _mm_add_epi32(both, _mm_shuffle_epi32(both, _MM_SHUFFLE(1, 0, 3, 2))));
    }
    #else
    static inline int32_t zeros(int16_t *b, int16_t *d, int16_t newest) {
        int32_t sum = 0;
        for (int k = 0; k < 6; k++)
            b[k] = (int16_t)(((b[k] * 255) >> 8) + (!newest ? 0 : (d[k] ^ newest) < 0 ? -128 : 128));
        memmove(d + 1, d, 5 * sizeof(*d));
        d[0] = newest;
        for (int k = 0; k < 6; k++)
            sum += (b[k] * 2 * d[k]) >> 15;
        return sum;
    }

    static inline int steps(int32_t size, int32_t det) {
        int count = 0;
        for (int k = 0; k < 29; k++)
            count += size >= (Q6[k] * det) >> 12;
        return count;
    }

    static inline void fold(const int16_t *even, const int16_t *odd, int32_t *sums) {
        sums[0] = sums[1] = 0;
        for (int k = 0; k < 12; k++) {
            sums[0] += QMF[k] * even[k];
            sums[1] += QMF_BACK[k] * odd[k];
        }
    }
    #endif
    """
    const int16_t QM6[64]
    const int16_t QM4[16]
    const int16_t QM2[4]
    const int16_t WL[16]
    const int16_t WH[4]
    const int16_t ILB[32]
    # UPZERO and FILTEZ: B adapts to the newest difference, which becomes D(1); the zero section's sum. A coefficient
    # loses 1/256 and gains at most 128, and |2D| <= 20456: neither can overflow 16 bits.
    int32_t zeros(int16_t *b, int16_t *d, int16_t newest) noexcept nogil
    # QUANTL: how many of its 29 decision levels, scaled by `det`, are at or below `size`.
    int steps(int32_t size, int32_t det) noexcept nogil
    # Both halves of the QMF at one place: 12 taps, though 16 samples of each line must be readable.
    void fold(const int16_t *even, const int16_t *odd, int32_t *sums) noexcept nogil

cdef enum:
    TAPS = 12               # of each half of the 24-tap QMF
    BLOCK = 160             # pairs of samples worked on at once: 20 ms
    LINE = TAPS + BLOCK + 4


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
    """UPPOL2, UPPOL1 and the limits of both. Signs are masks: 0 where two are alike, -1 where not."""
    cdef int32_t against1 = (p0 ^ band.p1) >> 31
    cdef int32_t against2 = (p0 ^ band.p2) >> 31
    cdef int32_t first = clip(band.a1 << 2)
    cdef int32_t a1, a2, most
    first = (first ^ ~against1) - ~against1
    a2 = ((first if first < 32767 else 32767) >> 7) + ((128 ^ against2) - against2) + ((band.a2 * 32512) >> 15)
    a2 = 12288 if a2 > 12288 else -12288 if a2 < -12288 else a2
    a1 = ((192 ^ against1) - against1) + ((band.a1 * 32640) >> 15)
    most = 15360 - a2
    band.a1 = most if a1 > most else -most if a1 < -most else a1
    band.a2 = a2


cdef inline void predict(Band *band, int32_t d0) noexcept nogil:
    """RECONS, PARREC, adaptation, then FILTEP, FILTEZ and PREDIC for the next sample."""
    cdef int32_t r0 = clip(band.s + d0)
    cdef int32_t p0 = clip(band.sz + d0)
    adapt_poles(band, p0)
    band.sz = clip(zeros(band.b, band.d, <int16_t>d0))
    band.r2 = band.r1
    band.r1 = r0
    band.p2 = band.p1
    band.p1 = p0
    band.s = clip(clip(((band.a1 * clip(2 * band.r1)) >> 15) + ((band.a2 * clip(2 * band.r2)) >> 15)) + band.sz)


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
    cdef int k = steps(e ^ (e >> 31), band.det)
    return (63 if k < 2 else 33) - k if e < 0 else 61 - k


cdef inline int high_code(const Band *band, int32_t x) noexcept nogil:
    """SUBTRA and QUANTH: 2 bits."""
    cdef int32_t e = clip(x - band.s)
    cdef int near = (e ^ (e >> 31)) < (564 * band.det) >> 12
    return near + (2 if e >= 0 else 0)


cdef inline int32_t bound(int32_t x) noexcept nogil:
    """LIMIT of 15 bits."""
    return 16383 if x > 16383 else -16384 if x < -16384 else x


cdef int g722_encode(G722 *g, const int16_t *pcm, int n, uint8_t *code) noexcept nogil:
    """`n` samples at 16 kHz (even) to n/2 octets; gives their number."""
    cdef int16_t even[LINE]
    cdef int16_t odd[LINE]
    cdef int32_t sums[2]
    cdef int done = 0
    cdef int pairs, i, low, high
    memcpy(even, g.even, sizeof(g.even))
    memcpy(odd, g.odd, sizeof(g.odd))
    while done < n // 2:
        pairs = n // 2 - done if n // 2 - done < BLOCK else BLOCK
        for i in range(pairs):
            even[TAPS + i] = pcm[2 * (done + i)]
            odd[TAPS + i] = pcm[2 * (done + i) + 1]
        for i in range(pairs):
            fold(even + i + 1, odd + i + 1, sums)
            low = low_code(&g.low, (sums[0] + sums[1]) >> 14)
            high = high_code(&g.high, (sums[1] - sums[0]) >> 14)
            follow_low(&g.low, low >> 2)
            follow_high(&g.high, high)
            code[done + i] = <uint8_t>(high << 6 | low)
        memmove(even, even + pairs, sizeof(g.even))
        memmove(odd, odd + pairs, sizeof(g.odd))
        done += pairs
    memcpy(g.even, even, sizeof(g.even))
    memcpy(g.odd, odd, sizeof(g.odd))
    return done


cdef int g722_decode(G722 *g, const uint8_t *code, int n, int16_t *pcm) noexcept nogil:
    """`n` octets to 2n samples at 16 kHz; gives their number."""
    cdef int16_t even[LINE]
    cdef int16_t odd[LINE]
    cdef int32_t sums[2]
    cdef int32_t low, high
    cdef int done = 0
    cdef int pairs, i
    memcpy(even, g.even, sizeof(g.even))
    memcpy(odd, g.odd, sizeof(g.odd))
    while done < n:
        pairs = n - done if n - done < BLOCK else BLOCK
        for i in range(pairs):
            low = bound(g.low.s + ((g.low.det * QM6[code[done + i] & 63]) >> 15))
            follow_low(&g.low, (code[done + i] & 63) >> 2)
            high = bound(follow_high(&g.high, code[done + i] >> 6))
            even[TAPS + i] = <int16_t>(low + high)
            odd[TAPS + i] = <int16_t>(low - high)
        for i in range(pairs):
            fold(even + i + 1, odd + i + 1, sums)
            pcm[2 * (done + i)] = <int16_t>clip(sums[1] >> 11)
            pcm[2 * (done + i) + 1] = <int16_t>clip(sums[0] >> 11)
        memmove(even, even + pairs, sizeof(g.even))
        memmove(odd, odd + pairs, sizeof(g.odd))
        done += pairs
    memcpy(g.even, even, sizeof(g.even))
    memcpy(g.odd, odd, sizeof(g.odd))
    return 2 * done
