# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The transmission rating R of ITU-T G.107 (06/2015) and the mean opinion score of its annex B.

Everything a gateway can't measure has the default of table 2 of G.107, which comes to 93.2; of the impairments by delay
only Idd is counted (section 7.4, class default: mT 100 ms, sT 1), which is to say that echo is well controlled. All
codecs are rated on the narrow-band scale, so that one call can be compared with another: a wide-band codec is at best as
good as G.711, and its figure says what the network took from it, not what its width adds (the other scale of G.107.1).
"""

from libc.math cimport log2, pow
from libc.stdint cimport int64_t

from native.codec cimport CODECS_KNOWN

cdef double BEST = 93.2     # R of the defaults of G.107
cdef double NOTICED = 100   # ms, mT

# By codec number: impairment without loss (Ie) and robustness against loss (Bpl). G.711 with concealment has 0 and 25.1
# in G.113 appendix I (4.3 without), which knows no values for wide-band codecs on this scale. Assumed: L16 and G.722 are
# like G.711, they lose and conceal the same 20 ms of waveform; Opus has half-way between that and the 19 of G.729A in the
# same appendix, because a lost frame disturbs the prediction of the next, and no impairment at the rates used here.
cdef double[CODECS_KNOWN] IE = [0, 0, 0, 0, 0, 0, 0]
cdef double[CODECS_KNOWN] BPL = [25.1, 25.1, 25.1, 25.1, 25.1, 25.1, 22.0]


cdef double delay_impairment(double ms) noexcept nogil:
    """Idd of equation 7-27, `ms` one way from mouth to ear."""
    cdef double x
    if ms <= NOTICED:
        return 0
    x = log2(ms / NOTICED)
    return 25 * (pow(1 + pow(x, 6), 1.0 / 6) - 3 * pow(1 + pow(x / 3, 6), 1.0 / 6) + 2)


cdef float quality_burst(int64_t expected, int64_t lost, int64_t runs) noexcept nogil:
    """Burst ratio of section 7.5: `lost` of `expected` packets went in `runs` gaps; 1 where loss is random or finer."""
    cdef double ratio
    if expected <= 0 or runs <= 0 or lost <= 0 or lost >= expected:
        return 1
    ratio = <double>lost / runs * (1 - <double>lost / expected)
    return <float>(ratio if ratio > 1 else 1)


cdef float quality_r(int codec, float loss_percent, float burst, float delay_ms) noexcept nogil:
    """R, 0..93.2. `burst`: ratio of section 7.5, mean length of the gaps over that of random loss, 1 or more."""
    cdef int row = codec if 0 <= codec < CODECS_KNOWN else 0
    cdef double loss = loss_percent if loss_percent > 0 else 0
    cdef double ratio = burst if burst > 1 else 1
    cdef double r
    if loss > 100:
        loss = 100
    r = BEST - delay_impairment(delay_ms) - IE[row] - (95 - IE[row]) * loss / (loss / ratio + BPL[row])
    return <float>(r if r > 0 else 0)


cdef float quality_mos(int codec, float loss_percent, float burst, float delay_ms) noexcept nogil:
    """Mean opinion score of R, 1.0..4.5 (annex B)."""
    cdef double r = quality_r(codec, loss_percent, burst, delay_ms)
    cdef double score = 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6
    return <float>(score if score > 1 else 1)


# --- for Python ---


def mos(int codec, float loss_percent, float burst=1, float delay_ms=0):
    """1.0..4.5 for a codec number of native/codec.pxd, loss in percent, burst ratio (1: random), one-way delay in ms."""
    return quality_mos(codec, loss_percent, burst, delay_ms)


def rating(int codec, float loss_percent, float burst=1, float delay_ms=0):
    """R, 0..93.2, of the same."""
    return quality_r(codec, loss_percent, burst, delay_ms)


def burst_ratio(int64_t expected, int64_t lost, int64_t runs):
    """1 or more, from packets expected, packets lost and the number of gaps they left."""
    return quality_burst(expected, lost, runs)
