# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""ITU-T G.711 companding by arithmetic: a segment and its four steps are a float's exponent and upper mantissa.

No table, so nothing of it can be out of the cache when the next leg's frame comes. 16 samples at a time with SSE2, the
rest (and other processors) by the scalar form of the same steps.
"""

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif

    static inline int32_t bits_of(float value) { union { float f; int32_t i; } u; u.f = value; return u.i; }
    static inline float float_of(int32_t bits) { union { float f; int32_t i; } u; u.i = bits; return u.f; }

    enum {
        MIDDLE = (127 + 7) << 23 | 1 << 18,     /* exponent of segment 0, middle of a step (its last mantissa bit) */
        MU_LEAST = (127 + 5) << 4,              /* magnitude 33 of 14 bits: segment 0 */
        A_LEAST = (127 + 3) << 4                /* magnitude 16 of 12 bits: segment 1; below it steps are linear */
    };

    static inline uint8_t mu_code(int16_t sample) {
        int32_t sign = sample >> 15, size = ((sample ^ sign) >> 2) + 33;
        size = size > 8191 ? 8191 : size;
        return (uint8_t)~(((bits_of((float)size) >> 19) - MU_LEAST) | (sign & 0x80));
    }

    static inline uint8_t a_code(int16_t sample) {
        int32_t sign = sample >> 15, size = (sample ^ sign) >> 4;
        size = size < 16 ? size : (bits_of((float)size) >> 19) - A_LEAST;
        return (uint8_t)((size | (~sign & 0x80)) ^ 0x55);
    }

    static inline int16_t mu_linear(uint8_t code) {
        int32_t sign = -(~code >> 7 & 1), size = (int32_t)float_of(((~code & 0x7F) << 19) + MIDDLE) - 132;
        return (int16_t)((size ^ sign) - sign);
    }

    static inline int16_t a_linear(uint8_t code) {
        int32_t step = (code ^ 0x55) & 0x7F, sign = -(~code >> 7 & 1), low = step < 16 ? 16 : 0;
        int32_t size = (int32_t)float_of(((step | low) << 19) + MIDDLE) - (low << 4);
        return (int16_t)((size ^ sign) - sign);
    }

    #if defined(__SSE2__)
    /* Exponent and four mantissa bits of eight magnitudes below 2^15. */
    static inline __m128i segments8(__m128i size) {
        __m128i zero = _mm_setzero_si128();
        __m128i low = _mm_castps_si128(_mm_cvtepi32_ps(_mm_unpacklo_epi16(size, zero)));
        __m128i high = _mm_castps_si128(_mm_cvtepi32_ps(_mm_unpackhi_epi16(size, zero)));
        return _mm_packs_epi32(_mm_srli_epi32(low, 19), _mm_srli_epi32(high, 19));
    }

    /* Middle values of eight segments and steps. */
    static inline __m128i middles8(__m128i steps) {
        __m128i zero = _mm_setzero_si128(), middle = _mm_set1_epi32(MIDDLE);
        __m128i low = _mm_add_epi32(_mm_slli_epi32(_mm_unpacklo_epi16(zero, steps), 3), middle);
        __m128i high = _mm_add_epi32(_mm_slli_epi32(_mm_unpackhi_epi16(zero, steps), 3), middle);
        return _mm_packs_epi32(_mm_cvttps_epi32(_mm_castsi128_ps(low)), _mm_cvttps_epi32(_mm_castsi128_ps(high)));
    }

    static inline __m128i mu_code8(__m128i sample) {
        __m128i sign = _mm_srai_epi16(sample, 15);
        __m128i size = _mm_add_epi16(_mm_srli_epi16(_mm_xor_si128(sample, sign), 2), _mm_set1_epi16(33));
        __m128i code = _mm_sub_epi16(segments8(_mm_min_epi16(size, _mm_set1_epi16(8191))), _mm_set1_epi16(MU_LEAST));
        return _mm_xor_si128(_mm_or_si128(code, _mm_and_si128(sign, _mm_set1_epi16(0x80))), _mm_set1_epi16(0xFF));
    }

    static inline __m128i a_code8(__m128i sample) {
        __m128i sign = _mm_srai_epi16(sample, 15), size = _mm_srli_epi16(_mm_xor_si128(sample, sign), 4);
        __m128i linear = _mm_cmpgt_epi16(_mm_set1_epi16(16), size);
        __m128i code = _mm_sub_epi16(segments8(size), _mm_set1_epi16(A_LEAST));
        code = _mm_or_si128(_mm_and_si128(linear, size), _mm_andnot_si128(linear, code));
        return _mm_xor_si128(_mm_or_si128(code, _mm_andnot_si128(sign, _mm_set1_epi16(0x80))), _mm_set1_epi16(0x55));
    }

    static inline __m128i mu_linear8(__m128i code) {
        __m128i sign = _mm_cmpgt_epi16(_mm_set1_epi16(0x80), code);
        __m128i steps = _mm_andnot_si128(code, _mm_set1_epi16(0x7F));
        __m128i size = _mm_sub_epi16(middles8(steps), _mm_set1_epi16(132));
        return _mm_sub_epi16(_mm_xor_si128(size, sign), sign);
    }

    static inline __m128i a_linear8(__m128i code) {
        __m128i sign = _mm_cmpgt_epi16(_mm_set1_epi16(0x80), code), sixteen = _mm_set1_epi16(16);
        __m128i steps = _mm_and_si128(_mm_xor_si128(code, _mm_set1_epi16(0x55)), _mm_set1_epi16(0x7F));
        __m128i low = _mm_and_si128(_mm_cmpgt_epi16(sixteen, steps), sixteen);
        __m128i size = _mm_sub_epi16(middles8(_mm_or_si128(steps, low)), _mm_slli_epi16(low, 4));
        return _mm_sub_epi16(_mm_xor_si128(size, sign), sign);
    }

    #define COMPRESS16(law, k) \\
        for (; k + 16 <= n; k += 16) { \\
            __m128i first = law##_code8(_mm_loadu_si128((const __m128i *)(pcm + k))); \\
            __m128i second = law##_code8(_mm_loadu_si128((const __m128i *)(pcm + k + 8))); \\
            _mm_storeu_si128((__m128i *)(code + k), _mm_packus_epi16(first, second)); \\
        }
    #define EXPAND16(law, k) \\
        for (; k + 16 <= n; k += 16) { \\
            __m128i codes = _mm_loadu_si128((const __m128i *)(code + k)), zero = _mm_setzero_si128(); \\
            _mm_storeu_si128((__m128i *)(pcm + k), law##_linear8(_mm_unpacklo_epi8(codes, zero))); \\
            _mm_storeu_si128((__m128i *)(pcm + k + 8), law##_linear8(_mm_unpackhi_epi8(codes, zero))); \\
        }
    #else
    #define COMPRESS16(law, k)
    #define EXPAND16(law, k)
    #endif

    #define BOTH_WAYS(law) \\
        static void law##_compress(const int16_t *pcm, uint8_t *code, int n) { \\
            int k = 0; \\
            COMPRESS16(law, k) \\
            for (; k < n; k++) code[k] = law##_code(pcm[k]); \\
        } \\
        static void law##_expand(const uint8_t *code, int16_t *pcm, int n) { \\
            int k = 0; \\
            EXPAND16(law, k) \\
            for (; k < n; k++) pcm[k] = law##_linear(code[k]); \\
        }
    BOTH_WAYS(mu)
    BOTH_WAYS(a)
    """
    void mu_compress(const int16_t *pcm, uint8_t *code, int n) noexcept nogil
    void mu_expand(const uint8_t *code, int16_t *pcm, int n) noexcept nogil
    void a_compress(const int16_t *pcm, uint8_t *code, int n) noexcept nogil
    void a_expand(const uint8_t *code, int16_t *pcm, int n) noexcept nogil


cdef void g711_decode(int payload, const uint8_t *code, int16_t *pcm, int n) noexcept nogil:
    if payload == PCMA:
        a_expand(code, pcm, n)
    else:
        mu_expand(code, pcm, n)


cdef void g711_encode(int payload, const int16_t *pcm, uint8_t *code, int n) noexcept nogil:
    if payload == PCMA:
        a_compress(pcm, code, n)
    else:
        mu_compress(pcm, code, n)
