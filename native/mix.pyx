# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Frames are added in 32 bits and saturate once, at the end: the order of the members changes nothing."""

import numpy as np

cdef extern from *:
    """
    #include <stdint.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    /* int32 -> int16 with saturation: SSE2 packs eight in one instruction, which plain comparisons do not become. */
    static inline void trunkline_narrow(const int32_t *sum, const int16_t *own, int16_t *out, int n) {
        int k = 0;
    #ifdef __SSE2__
        for (; k + 8 <= n; k += 8) {
            __m128i low = _mm_loadu_si128((const __m128i *)(sum + k));
            __m128i high = _mm_loadu_si128((const __m128i *)(sum + k + 4));
            if (own) {
                __m128i less = _mm_loadu_si128((const __m128i *)(own + k));
                low = _mm_sub_epi32(low, _mm_srai_epi32(_mm_unpacklo_epi16(less, less), 16));
                high = _mm_sub_epi32(high, _mm_srai_epi32(_mm_unpackhi_epi16(less, less), 16));
            }
            _mm_storeu_si128((__m128i *)(out + k), _mm_packs_epi32(low, high));
        }
    #endif
        for (; k < n; k++) {
            int32_t x = sum[k] - (own ? own[k] : 0);
            out[k] = (int16_t)(x > 32767 ? 32767 : x < -32768 ? -32768 : x);
        }
    }
    """
    void trunkline_narrow(const int32_t *sum, const int16_t *own, int16_t *out, int n) noexcept nogil


cdef void mix_add(int32_t *sum, const int16_t *pcm, int n) noexcept nogil:
    """Adds one frame of `n` samples; the sum of 65,536 frames still fits."""
    cdef int k
    for k in range(n):
        sum[k] += pcm[k]


cdef void mix_out(const int32_t *sum, int16_t *out, int n) noexcept nogil:
    """The sum, saturated at -32768 and 32767."""
    trunkline_narrow(sum, NULL, out, n)


cdef void mix_less(const int32_t *sum, const int16_t *own, int16_t *out, int n) noexcept nogil:
    """What a member hears: the room's sum less its `own` frame, saturated."""
    trunkline_narrow(sum, own, out, n)


# --- for Python ---------------------------------------------------------------------------------------------------


cpdef mix(const int16_t[:, ::1] frames):
    """Saturated sum of int16 frames, shape (frames, samples); int16, shape (samples,)."""
    total = np.zeros(frames.shape[1], np.int32)
    out = np.empty(frames.shape[1], np.int16)
    cdef int32_t[::1] sum = total
    cdef int16_t[::1] view = out
    cdef int k, n = <int>frames.shape[1]
    if n:
        for k in range(<int>frames.shape[0]):
            mix_add(&sum[0], &frames[k, 0], n)
        mix_out(&sum[0], &view[0], n)
    return out


cpdef mix_others(const int16_t[:, ::1] frames):
    """What each member of a room hears: the others' sum, saturated. int16, shape (frames, samples), in and out."""
    total = np.zeros(frames.shape[1], np.int32)
    out = np.empty((frames.shape[0], frames.shape[1]), np.int16)
    cdef int32_t[::1] sum = total
    cdef int16_t[:, ::1] view = out
    cdef int k, n = <int>frames.shape[1]
    if n:
        for k in range(<int>frames.shape[0]):
            mix_add(&sum[0], &frames[k, 0], n)
        for k in range(<int>frames.shape[0]):
            mix_less(&sum[0], &frames[k, 0], &view[k, 0], n)
    return out
