# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""In-band keys made: two oscillators that go on from frame to frame."""

import numpy as np

from libc.string cimport memset

cdef enum:
    SWELL = 16              # samples a key fades in and out: 2 ms

HERTZ = (697, 770, 852, 941, 1209, 1336, 1477, 1633)
"""The low group, then the high group (ITU-T Q.23)."""

KEYS = b"123A456B789C*0#D"

cdef double step_re[8]      # by one sample
cdef double step_im[8]

# Low group -10 dBm0, high group -8 dBm0: the high group is sent 2 dB louder, as lines attenuate it more (ETSI ES 201 235-2).
cdef double LOW = 32768 * 10 ** (-13.14 / 20)
cdef double HIGH = 32768 * 10 ** (-11.14 / 20)


cdef int place_of(int digit) noexcept nogil:
    """Index of a key, -1 for what is none."""
    cdef int k
    if digit:
        for k in range(16):
            if KEYS[k] == digit:
                return k
    return -1


cdef void dtmf_make_open(DtmfOut *o) noexcept nogil:
    memset(o, 0, sizeof(DtmfOut))
    o.low_re = o.high_re = 1


cdef inline void advance(double *re, double *im, double by_re, double by_im) noexcept nogil:
    cdef double was = re[0]
    re[0] = was * by_re - im[0] * by_im
    im[0] = was * by_im + im[0] * by_re


cdef inline void straighten(double *re, double *im) noexcept nogil:
    """Keeps an oscillator at unit size: one step of Newton's method for the reciprocal root."""
    cdef double size = 0.5 * (3 - re[0] * re[0] - im[0] * im[0])
    re[0] *= size
    im[0] *= size


cdef void dtmf_make(DtmfOut *o, int digit, int16_t *pcm, int n) noexcept nogil:
    """`n` samples of the key `digit` (ASCII), phase-continuous from call to call; 0 or no key: it fades out in 2 ms."""
    cdef int key = place_of(digit), low, high, k
    cdef double size
    if key >= 0:
        if o.digit != digit and o.swell == 0:
            dtmf_make_open(o)
        o.digit = digit
    elif o.swell == 0:
        memset(pcm, 0, n * sizeof(int16_t))
        return
    low = place_of(o.digit)
    high = 4 + low % 4
    low //= 4
    for k in range(n):
        if key >= 0 and o.swell < SWELL:
            o.swell += 1
        elif key < 0 and o.swell > 0:
            o.swell -= 1
        size = <double>o.swell / SWELL
        pcm[k] = <int16_t>(<int>(size * (LOW * o.low_im + HIGH * o.high_im) + 32768.5) - 32768)
        advance(&o.low_re, &o.low_im, step_re[low], step_im[low])
        advance(&o.high_re, &o.high_im, step_re[high], step_im[high])
    straighten(&o.low_re, &o.low_im)
    straighten(&o.high_re, &o.high_im)


cdef void fill_taps():
    cdef int k
    for k in range(8):
        step_re[k] = np.cos(2 * np.pi * HERTZ[k] / 8000)
        step_im[k] = np.sin(2 * np.pi * HERTZ[k] / 8000)


fill_taps()


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class Generator:
    """In-band keys to one stream, int16 at 8 kHz, -10 dBm0 and -8 dBm0 (ITU-T Q.23, ETSI ES 201 235-2)."""

    cdef DtmfOut o

    def __cinit__(self):
        dtmf_make_open(&self.o)

    def make(self, str digit, int n):
        """`n` samples of one of 0-9, A-D, * and #; "" fades the last one out."""
        if digit and (len(digit) > 1 or digit not in "0123456789ABCD*#"):
            raise ValueError(f"{digit!r} is no key; expected one of 0-9, A-D, * or #")
        out = np.empty(n, np.int16)
        cdef int16_t[::1] view = out
        if n:
            dtmf_make(&self.o, ord(digit) if digit else 0, &view[0], n)
        return out
