# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Telephone-grade resampling by polyphase filters, in 16-bit samples and taps with 32-bit sums.

8 <-> 16 kHz: a 63-tap Kaiser half-band filter (beta 6.5, edges 3.4 and 4.6 kHz). One of its two phases is a single
tap, so the way up costs 32 multiplications for every second sample. Delay: 2 ms.
16 <-> 48 kHz: a 96-tap Kaiser filter (beta 6.2, edges 7 and 9 kHz) in three phases of 32. Delay: 1 ms.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #include <stdint.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    #define TRUNKLINE_TAPS 32
    /* sum[i] += taps . x[i .. i + 31] for n samples, a multiple of 16; x holds n + 31 samples. SSE2 and AVX2 multiply
       and add pairs, which the loop in trunkline_filter_plain does not become: pairs from each even and each odd
       sample on make the even and the odd sums. */
    static void trunkline_filter_plain(const int16_t *x, const int16_t *taps, int32_t *sum, int n) {
    #ifdef __SSE2__
        for (int i = 0; i < n; i += 8) {
            __m128i even = _mm_setzero_si128(), odd = even, *out = (__m128i *)(sum + i);
            for (int k = 0; k < TRUNKLINE_TAPS; k += 2) {
                int32_t pair;
                __builtin_memcpy(&pair, taps + k, sizeof(pair));
                __m128i both = _mm_set1_epi32(pair);
                even = _mm_add_epi32(even, _mm_madd_epi16(_mm_loadu_si128((const __m128i *)(x + i + k)), both));
                odd = _mm_add_epi32(odd, _mm_madd_epi16(_mm_loadu_si128((const __m128i *)(x + i + k + 1)), both));
            }
            _mm_storeu_si128(out, _mm_add_epi32(_mm_loadu_si128(out), _mm_unpacklo_epi32(even, odd)));
            _mm_storeu_si128(out + 1, _mm_add_epi32(_mm_loadu_si128(out + 1), _mm_unpackhi_epi32(even, odd)));
        }
    #else
        for (int k = 0; k < TRUNKLINE_TAPS; k++)
            for (int i = 0; i < n; i++)
                sum[i] += (int32_t)taps[k] * x[i + k];
    #endif
    }
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <immintrin.h>
    __attribute__((target("avx2")))
    static void trunkline_filter_wide(const int16_t *x, const int16_t *taps, int32_t *sum, int n) {
        for (int i = 0; i < n; i += 16) {
            __m256i even = _mm256_setzero_si256(), odd = even, low, high, *out = (__m256i *)(sum + i);
            for (int k = 0; k < TRUNKLINE_TAPS; k += 2) {
                int32_t pair;
                __builtin_memcpy(&pair, taps + k, sizeof(pair));
                __m256i both = _mm256_set1_epi32(pair);
                even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_loadu_si256((const __m256i *)(x + i + k)), both));
                odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_loadu_si256((const __m256i *)(x + i + k + 1)), both));
            }
            low = _mm256_unpacklo_epi32(even, odd);         /* 0-3 and 8-11 */
            high = _mm256_unpackhi_epi32(even, odd);        /* 4-7 and 12-15 */
            even = _mm256_permute2x128_si256(low, high, 0x20);
            odd = _mm256_permute2x128_si256(low, high, 0x31);
            _mm256_storeu_si256(out, _mm256_add_epi32(_mm256_loadu_si256(out), even));
            _mm256_storeu_si256(out + 1, _mm256_add_epi32(_mm256_loadu_si256(out + 1), odd));
        }
    }
    #define TRUNKLINE_WIDE __builtin_cpu_supports("avx2")
    #else
    #define TRUNKLINE_WIDE 0
    #define trunkline_filter_wide trunkline_filter_plain
    #endif
    /* out[i] = sum[i] >> shift, saturated, for n samples, a multiple of 8 */
    static void trunkline_shift(const int32_t *sum, int16_t *out, int n, int shift) {
    #ifdef __SSE2__
        for (int i = 0; i < n; i += 8) {
            __m128i low = _mm_srai_epi32(_mm_loadu_si128((const __m128i *)(sum + i)), shift);
            __m128i high = _mm_srai_epi32(_mm_loadu_si128((const __m128i *)(sum + i + 4)), shift);
            _mm_storeu_si128((__m128i *)(out + i), _mm_packs_epi32(low, high));
        }
    #else
        for (int i = 0; i < n; i++) {
            int32_t y = sum[i] >> shift;
            out[i] = (int16_t)(y > 32767 ? 32767 : y < -32768 ? -32768 : y);
        }
    #endif
    }
    """
    void trunkline_filter_plain(const int16_t *x, const int16_t *taps, int32_t *sum, int n) noexcept nogil
    void trunkline_filter_wide(const int16_t *x, const int16_t *taps, int32_t *sum, int n) noexcept nogil
    int TRUNKLINE_WIDE
    void trunkline_shift(const int32_t *sum, int16_t *out, int n, int shift) noexcept nogil

cdef enum:
    ROOM = MOST             # a multiple of 16, as the filter takes them
    LINE = HALF_TAPS + ROOM
    PAST = HALF_TAPS - 1
    SCALE = 14              # bits of a tap below 1

ctypedef void (*filter_t)(const int16_t *x, const int16_t *taps, int32_t *sum, int n) noexcept nogil

cdef filter_t filtered = trunkline_filter_wide if TRUNKLINE_WIDE else trunkline_filter_plain
cdef int16_t taps[HALF_TAPS]
cdef int16_t thirds[3][HALF_TAPS]       # by phase, to 48 kHz
cdef int16_t back[3][HALF_TAPS]         # ... from 48 kHz, by the phase of the samples taken


def half_band() -> "numpy.ndarray":
    """The 32 taps of the filtering phase, float64, unity gain at 0 Hz when summed."""
    n = np.arange(-31, 32, 2)
    h = np.sinc(n / 2) * np.kaiser(63, 6.5)[::2]
    return h / h.sum()


def third_band() -> "numpy.ndarray":
    """The 96 taps at 48 kHz, float64, unity gain at 0 Hz; cut-off 8 kHz."""
    h = np.sinc((np.arange(96) - 47.5) / 3) * np.kaiser(96, 6.2)
    return h / h.sum()


cdef inline int whole(int n) noexcept nogil:
    """`n` in full steps of the filter."""
    return (n + 15) & ~15


cdef inline void start(int32_t *sum, int n, int32_t value) noexcept nogil:
    cdef int i
    for i in range(n):
        sum[i] = value


cdef void double_rate(Doubler *d, const int16_t *pcm, int16_t *out, int n) noexcept nogil:
    """`n` samples (at most 480) at 8 kHz in, 2n at 16 kHz out."""
    cdef int16_t line[LINE]
    cdef int16_t between[ROOM]
    cdef int32_t sum[ROOM]
    cdef int i, steps = whole(n)
    memcpy(line, d.past, sizeof(d.past))
    memcpy(line + PAST, pcm, n * sizeof(int16_t))
    start(sum, steps, 1 << (SCALE - 1))
    filtered(line, taps, sum, steps)
    trunkline_shift(sum, between, steps, SCALE)
    for i in range(n):
        out[2 * i] = line[i + HALF_TAPS // 2 - 1]
        out[2 * i + 1] = between[i]
    memcpy(d.past, line + n, sizeof(d.past))


cdef void halve_rate(Halver *h, const int16_t *pcm, int16_t *out, int n) noexcept nogil:
    """`n` samples (even, at most 960) at 16 kHz in, n/2 at 8 kHz out."""
    cdef int16_t even[LINE]
    cdef int16_t odd[16 + ROOM]
    cdef int16_t both[ROOM]
    cdef int32_t sum[ROOM]
    cdef int half = n // 2, i, steps = whole(half)
    memcpy(even, h.even, sizeof(h.even))
    memcpy(odd, h.odd, sizeof(h.odd))
    for i in range(half):
        even[PAST + i] = pcm[2 * i]
        odd[HALF_TAPS // 2 + i] = pcm[2 * i + 1]
    for i in range(steps):
        sum[i] = (<int32_t>odd[i] << SCALE) + (1 << SCALE)
    filtered(even, taps, sum, steps)
    trunkline_shift(sum, both, steps, SCALE + 1)
    memcpy(out, both, half * sizeof(int16_t))
    memcpy(h.even, even + half, sizeof(h.even))
    memcpy(h.odd, odd + half, sizeof(h.odd))


cdef void triple_rate(Tripler *t, const int16_t *pcm, int16_t *out, int n) noexcept nogil:
    """`n` samples (at most 480) at 16 kHz in, 3n at 48 kHz out."""
    cdef int16_t line[LINE]
    cdef int16_t made[3][ROOM]
    cdef int32_t sum[ROOM]
    cdef int i, phase, steps = whole(n)
    memcpy(line, t.past, sizeof(t.past))
    memcpy(line + PAST, pcm, n * sizeof(int16_t))
    for phase in range(3):
        start(sum, steps, 1 << (SCALE - 1))
        filtered(line, thirds[phase], sum, steps)
        trunkline_shift(sum, made[phase], steps, SCALE)
    for i in range(n):
        out[3 * i] = made[0][i]
        out[3 * i + 1] = made[1][i]
        out[3 * i + 2] = made[2][i]
    memcpy(t.past, line + n, sizeof(t.past))


cdef void third_rate(Thirder *t, const int16_t *pcm, int16_t *out, int n) noexcept nogil:
    """`n` samples (a multiple of 3, at most 1440) at 48 kHz in, n/3 at 16 kHz out."""
    cdef int16_t line[3][LINE]
    cdef int16_t made[ROOM]
    cdef int32_t sum[ROOM]
    cdef int third = n // 3, i, phase, steps = whole(third)
    for phase in range(3):
        memcpy(line[phase], t.past[phase], sizeof(t.past[phase]))
    for i in range(third):
        line[0][PAST + i] = pcm[3 * i]
        line[1][PAST + i] = pcm[3 * i + 1]
        line[2][PAST + i] = pcm[3 * i + 2]
    start(sum, steps, 1 << SCALE)
    for phase in range(3):
        filtered(line[phase], back[phase], sum, steps)
    trunkline_shift(sum, made, steps, SCALE + 1)
    memcpy(out, made, third * sizeof(int16_t))
    for phase in range(3):
        memcpy(t.past[phase], line[phase] + third, sizeof(t.past[phase]))


cdef void fill_taps():
    cdef int k, phase
    h = np.round(half_band() * 2**SCALE).astype(int)
    h[15] += (2**SCALE - h.sum()) // 2          # rounding must not change the level, nor the symmetry
    h[16] = h[15]
    up = np.round(third_band() * 3 * 2**SCALE).astype(int)
    down = np.round(third_band() * 2 * 2**SCALE).astype(int)
    for k in range(HALF_TAPS):
        taps[k] = h[k]
        for phase in range(3):
            thirds[phase][k] = up[3 * (HALF_TAPS - 1 - k) + phase]
            back[phase][k] = down[3 * (HALF_TAPS - 1 - k) + 2 - phase]


fill_taps()


def use_wide(bint wide):
    """Chooses the filter for AVX2 or the one for every machine; gives whether the first was in use. For tests."""
    global filtered
    before = filtered == trunkline_filter_wide
    filtered = trunkline_filter_wide if wide and TRUNKLINE_WIDE else trunkline_filter_plain
    return before


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class Stream:
    """One stream between two rates (8000 and 16000, or 16000 and 48000 Hz), int16, in pieces of any size.

    The way down takes whole groups of 2 or 3 samples. Later by 32 samples at 16 kHz (8 -> 16 kHz), 15.5 at 8 kHz
    (16 -> 8), 47.5 at 48 kHz (16 -> 48), 15.17 at 16 kHz (48 -> 16). Raises ValueError for other rates and for
    pieces that are no whole groups.
    """

    cdef Doubler doubler
    cdef Halver halver
    cdef Tripler tripler
    cdef Thirder thirder
    cdef int given, wanted

    def __cinit__(self, int given, int wanted):
        if (given, wanted) not in ((8000, 16000), (16000, 8000), (16000, 48000), (48000, 16000)):
            raise ValueError(f"no resampling from {given} to {wanted} Hz; expected 8000 <-> 16000 or 16000 <-> 48000")
        self.given, self.wanted = given, wanted
        memset(&self.doubler, 0, sizeof(Doubler))
        memset(&self.halver, 0, sizeof(Halver))
        memset(&self.tripler, 0, sizeof(Tripler))
        memset(&self.thirder, 0, sizeof(Thirder))

    def __call__(self, const int16_t[::1] pcm):
        """The next piece."""
        cdef int64_t total = pcm.shape[0], at = 0, done = 0
        cdef int n, group = self.given // self.wanted if self.given > self.wanted else 1
        if total % group:
            raise ValueError(f"{total} samples were given; expected a multiple of {group}")
        out = np.empty(total * self.wanted // self.given, np.int16)
        cdef int16_t[::1] view = out
        while at < total:
            n = <int>min(MOST * group, total - at)
            if self.given == 8000:
                double_rate(&self.doubler, &pcm[at], &view[done], n)
            elif self.wanted == 8000:
                halve_rate(&self.halver, &pcm[at], &view[done], n)
            elif self.wanted == 48000:
                triple_rate(&self.tripler, &pcm[at], &view[done], n)
            else:
                third_rate(&self.thirder, &pcm[at], &view[done], n)
            at += n
            done += n * self.wanted // self.given
        return out
