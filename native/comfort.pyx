# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Comfort noise (RFC 3389): a level and the spectrum's reflection coefficients, measured and made audible again.

The level is an RMS below that of a full-scale square wave. Reflection coefficients have the sign that makes the first one
of low-pass noise negative (all-pole model 1 / (1 + sum a z^-i)), as WebRTC sends them.
"""

import numpy as np

from libc.math cimport log10, pow, rint, rintf, sqrt
from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t
from libc.string cimport memset

cdef enum:
    LONGEST_SILENCE = 1920  # samples measured at once

cdef double FULL = 32768
cdef double STEP = 258.0 / 32768        # of a reflection coefficient (RFC 3389 section 3.2)
cdef double FRESH = 0.25                # weight of the newest samples in what is sent
cdef float NEARER = 0.25                # part of the way a gain goes each frame
cdef float UNIFORM = 1.7320508 / 2147483648.0   # a signed 32-bit number to unit variance


# --- measuring ----------------------------------------------------------------------------------------------------


cdef void correlate(Comfort *c, const int16_t *pcm, int n) noexcept nogil:
    cdef double x[LONGEST_SILENCE]
    cdef double sum, part = FRESH if c.known else 1
    cdef int lag, k
    for k in range(n):
        x[k] = pcm[k]
    for lag in range(ORDER + 1):
        sum = 0
        for k in range(lag, n):
            sum += x[k] * x[k - lag]
        c.lags[lag] += part * (sum / n - c.lags[lag])
    c.known = True


cdef void reflect(const double *lags, double *reflection) noexcept nogil:
    """Levinson-Durbin; a little white noise keeps it well conditioned."""
    cdef double a[ORDER + 1]
    cdef double b[ORDER + 1]
    cdef double error = lags[0] * 1.0001 + 1e-6, k
    cdef int m, i
    memset(a, 0, sizeof(a))
    a[0] = 1
    for m in range(1, ORDER + 1):
        k = 0
        for i in range(m):
            k -= a[i] * lags[m - i]
        k /= error
        reflection[m - 1] = k
        for i in range(m + 1):
            b[i] = a[i] + k * a[m - i]
        for i in range(m + 1):
            a[i] = b[i]
        error *= 1 - k * k


cdef int comfort_measure(Comfort *c, const int16_t *pcm, int n, uint8_t *payload, int room) noexcept nogil:
    """A CN payload for n (160..1920) samples of background, smoothed over calls. Octets: 1 + coefficients, as fit `room`."""
    cdef double reflection[ORDER]
    cdef double level, index
    cdef int m
    n = n if n < LONGEST_SILENCE else LONGEST_SILENCE
    if n <= ORDER or room < 1:
        return 0
    correlate(c, pcm, n)
    level = -10 * log10(c.lags[0] / (FULL * FULL) + 1e-13)
    payload[0] = <uint8_t>rint(level if level < 127 else 127)
    if payload[0] == 127 or room < 2:
        return 1
    reflect(c.lags, reflection)
    for m in range(ORDER if ORDER < room - 1 else room - 1):
        index = rint(reflection[m] / STEP) + 127
        index = index if index > 0 else 0
        payload[m + 1] = <uint8_t>(index if index < 254 else 254)
    return 1 + (ORDER if ORDER < room - 1 else room - 1)


# --- making it heard ----------------------------------------------------------------------------------------------


cdef void noise_set(Noise *g, const uint8_t *payload, int n) noexcept nogil:
    """What a CN payload of n octets says. Coefficients past the 20th are left out; 255 is no value and read as 127."""
    cdef double k, rest = 1, level
    cdef int m
    if n < 1:
        return
    g.order = n - 1 if n - 1 < MODEL else MODEL
    for m in range(g.order):
        k = STEP * (payload[m + 1] - 127) if payload[m + 1] < 255 else 0
        g.reflection[m] = <float>k
        rest *= 1 - k * k
    level = FULL * pow(10, -(payload[0] & 127) / 20.0)
    g.wanted = <float>(level * sqrt(rest))
    if not g.known:
        g.known = True
        g.gain = g.wanted
        memset(g.state, 0, sizeof(g.state))


cdef void noise_make(Noise *g, int16_t *out, int n) noexcept nogil:
    """n samples: white noise through the all-pole lattice."""
    cdef float f, back, scale
    cdef int k, m
    g.gain += (g.wanted - g.gain) * NEARER
    scale = g.gain * UNIFORM
    for k in range(n):
        g.random = g.random * 1664525 + 1013904223
        f = <float><int32_t>g.random * scale
        for m in range(g.order - 1, -1, -1):
            back = g.state[m]
            f = f - g.reflection[m] * back
            g.state[m + 1] = back + g.reflection[m] * f
        g.state[0] = f
        f = f if f < 32767 else 32767
        out[k] = <int16_t>rintf(f if f > -32768 else -32768)


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class ComfortMeter:
    """Makes CN payloads of the background a leg sends instead of audio."""

    cdef Comfort c

    def __cinit__(self):
        memset(&self.c, 0, sizeof(Comfort))

    def measure(self, const int16_t[::1] pcm, int room=1 + ORDER):
        """160..1920 int16 samples of background -> the payload, at most `room` octets."""
        cdef uint8_t payload[1 + ORDER]
        if not 160 <= pcm.shape[0] <= LONGEST_SILENCE or not 1 <= room <= 1 + ORDER:
            raise ValueError(f"160..{LONGEST_SILENCE} samples and a room of 1..{1 + ORDER} octets are needed")
        n = comfort_measure(&self.c, &pcm[0], <int>pcm.shape[0], payload, room)
        return bytes(payload[:n])


cdef class ComfortNoise:
    """Noise as a CN payload describes it. `seed`: where its random numbers begin."""

    cdef Noise g

    def __cinit__(self, payload, uint32_t seed=0):
        memset(&self.g, 0, sizeof(Noise))
        self.g.random = seed
        self.set(payload)

    def set(self, const uint8_t[::1] payload):
        """Another payload (1 octet or more); the level goes there smoothly."""
        if payload.shape[0] == 0:
            raise ValueError("a CN payload has at least one octet")
        noise_set(&self.g, &payload[0], <int>payload.shape[0])

    def make(self, int n):
        """The next n samples, int16."""
        out = np.zeros(n, np.int16)
        cdef int16_t[::1] view = out
        if n:
            noise_make(&self.g, &view[0], n)
        return out
