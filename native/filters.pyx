# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The filters of speech detection and of the echo guard."""

import numpy as np

from libc.string cimport memcpy

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
    #define TRUNKLINE_CLONES __attribute__((target_clones("avx2", "default")))
    #else
    #define TRUNKLINE_CLONES
    #endif
    typedef float trunkline_eight __attribute__((vector_size(32), aligned(4), may_alias));
    /* out[i] = a . x[i .. i + taps - 1] for n values of i */
    TRUNKLINE_CLONES
    static void trunkline_slide(const float *a, int taps, const float *x, float *out, int n) {
        int i = 0;
        for (; i + 32 <= n; i += 32) {
            trunkline_eight t0 = {0}, t1 = {0}, t2 = {0}, t3 = {0};
            const float *at = x + i;
            for (int k = 0; k < taps; k++, at++) {
                t0 += a[k] * *(const trunkline_eight *)at;
                t1 += a[k] * *(const trunkline_eight *)(at + 8);
                t2 += a[k] * *(const trunkline_eight *)(at + 16);
                t3 += a[k] * *(const trunkline_eight *)(at + 24);
            }
            *(trunkline_eight *)(out + i) = t0;
            *(trunkline_eight *)(out + i + 8) = t1;
            *(trunkline_eight *)(out + i + 16) = t2;
            *(trunkline_eight *)(out + i + 24) = t3;
        }
        for (; i < n; i++) {
            out[i] = 0;
            for (int k = 0; k < taps; k++)
                out[i] += a[k] * x[i + k];
        }
    }
    /* n steps of a gradient: each moves the taps (a multiple of 16) by gain[i] times what they miss of wanted[i] */
    TRUNKLINE_CLONES
    static void trunkline_adapt(float *taps, int n_taps, const float *x, const float *wanted, const float *gain, int n) {
        trunkline_eight *t = (trunkline_eight *)taps;
        for (int i = 0; i < n; i++, x++) {
            const trunkline_eight *at = (const trunkline_eight *)x;
            trunkline_eight even = {0}, odd = {0};
            float error = wanted[i];
            for (int k = 0; k < n_taps / 8; k += 2) {
                even += t[k] * at[k];
                odd += t[k + 1] * at[k + 1];
            }
            even += odd;
            for (int k = 0; k < 8; k++)
                error -= even[k];
            error *= gain[i];
            for (int k = 0; k < n_taps / 8; k++)
                t[k] += error * at[k];
        }
    }
    """
    void trunkline_slide(const float *a, int taps, const float *x, float *out, int n) noexcept nogil
    void trunkline_adapt(float *taps, int n_taps, const float *x, const float *wanted, const float *gain, int n) noexcept nogil

cdef enum:
    BLOCK = 80              # samples the high-pass filter takes at once

# The filter y[n] = B x[n] + A1 y[n-1] + A2 y[n-2] with both sides multiplied so that y[n] needs only y[n-4] and y[n-8]
# (scattered look-ahead: Parhi and Messerschmitt, 1989): four samples at once instead of one after the other.
cdef float ahead[9]
cdef float ahead4
cdef float ahead8


cdef void high_pass(float *state, const int16_t *pcm, float *out, int n) noexcept nogil:
    """Second-order Butterworth at 200 Hz: keeps hum and rumble out of levels and correlations."""
    cdef int k = 0
    while k < n:
        high_pass_block(state, pcm + k, out + k, min(BLOCK, n - k))
        k += BLOCK


cdef void high_pass_block(float *state, const int16_t *pcm, float *out, int n) noexcept nogil:
    """At most BLOCK samples. The first eight, and a rest of less than four, one after the other."""
    cdef float x[BLOCK]
    cdef float y[BLOCK]
    cdef float total
    cdef int i, k, four = 8 + (n - 8) // 4 * 4 if n > 8 else n
    for k in range(n):
        x[k] = pcm[k]
    for k in range(min(n, 8)):
        one(state, x[k], &y[k])
    for k in range(8, four):
        total = 0
        for i in range(9):
            total += ahead[i] * x[k - i]
        y[k] = total
    for k from 8 <= k < four by 4:
        for i in range(4):
            y[k + i] += ahead4 * y[k + i - 4] + ahead8 * y[k + i - 8]
    if four > 8:
        state[0] = x[four - 1]
        state[1] = x[four - 2]
        state[2] = y[four - 1]
        state[3] = y[four - 2]
    for k in range(four, n):
        one(state, x[k], &y[k])
    memcpy(out, y, n * sizeof(float))


cdef inline void one(float *state, float x, float *y) noexcept nogil:
    """One sample by the plain recursion."""
    y[0] = <float>0.8948577 * (x - 2 * state[0] + state[1]) + <float>1.7786318 * state[2] - <float>0.8007991 * state[3]
    state[1] = state[0]
    state[0] = x
    state[3] = state[2]
    state[2] = y[0]


cdef float dot(const float *a, const float *b, int n) noexcept nogil:
    cdef float total = 0
    cdef int k
    for k in range(n):
        total += a[k] * b[k]
    return total


cdef void slide(const float *a, int taps, const float *x, float *out, int n) noexcept nogil:
    """out[i] = a . x[i .. i + taps - 1] for `n` values of i."""
    trunkline_slide(a, taps, x, out, n)


cdef void adapt(float *taps, int n_taps, const float *x, const float *wanted, const float *gain, int n) noexcept nogil:
    """`n` gradient steps: each moves the taps (a multiple of 16) by gain[i] times what they miss of wanted[i]."""
    trunkline_adapt(taps, n_taps, x, wanted, gain, n)


cdef void fill_taps():
    global ahead4, ahead8
    cdef int k
    a1, a2 = -1.7786318, 0.8007991
    p, q = 2 * a2 - a1 * a1, a2 * a2
    poles = np.convolve([1, -a1, a2], [1, 0, -p, 0, q])
    zeros = np.convolve([0.8948577, -2 * 0.8948577, 0.8948577], poles)
    for k in range(9):
        ahead[k] = zeros[k]
    ahead4 = p * p - 2 * q
    ahead8 = -q * q


fill_taps()
