# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""In-band keys heard, by the limits of ITU-T Q.24 with room for the noise that measures them.

Pieces of 5 ms are projected on the eight tones (a Fourier sum each, phases kept); windows of 20 ms, one every 5 ms,
are sums of four pieces turned to one origin. Four windows in a row that hold the same two tones at one level may be a
key: a tone of 23 ms fills at most three that well, one of 40 ms at least five. Then two tones are fitted to the
middle of them, from the frequencies by which their phases advance: that tells frequency, twist and what is neither.
"""

import numpy as np

from libc.math cimport M_PI, atan2f
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from native.dtmf_out import HERTZ, Generator
from native.dtmf_out cimport KEYS
from native.pair cimport WINDOW, Pair, pair_fit

cdef extern from *:
    """
    #include <stdint.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    /* total[k] = sum over 20 pairs of samples x of x . wave[pair][k], 16 values of k */
    static void trunkline_project(const int16_t *x, const int16_t *wave, int32_t *total) {
    #ifdef __SSE2__
        __m128i t[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
        for (int i = 0; i < 20; i++, wave += 32) {
            int32_t pair;
            __builtin_memcpy(&pair, x + 2 * i, sizeof(pair));
            __m128i both = _mm_set1_epi32(pair);
            for (int k = 0; k < 4; k++)
                t[k] = _mm_add_epi32(t[k], _mm_madd_epi16(both, _mm_loadu_si128((const __m128i *)wave + k)));
        }
        for (int k = 0; k < 4; k++)
            _mm_storeu_si128((__m128i *)total + k, t[k]);
    #else
        for (int k = 0; k < 16; k++)
            total[k] = 0;
        for (int i = 0; i < 20; i++, wave += 32)
            for (int k = 0; k < 16; k++)
                total[k] += (int32_t)x[2 * i] * wave[2 * k] + (int32_t)x[2 * i + 1] * wave[2 * k + 1];
    #endif
    }
    """
    void trunkline_project(const int16_t *x, const int16_t *wave, int32_t *total) noexcept nogil

cdef enum:
    SPAN = WINDOW + PIECE * (PIECES - 1)        # samples of four windows
    PAIRS = 20
    SCALE = 1024            # of the waves: 40 samples of 16 bits times it fit into 32 bits
    BRIDGED = 3             # windows without a key that end it
    STEADY = 20             # pieces that make a dial tone: 100 ms
    AFTER_DIAL = 40         # pieces for which it is still taken away when it ends: 200 ms

cdef float FULL = 5.3687091e8 * 0.48528850      # mean square of 0 dBm0: a full-scale sine is at 3.14 dBm0 (ITU-T G.711)
cdef float SOFTEST = 3.1622777e-5               # -45 dBm0: either tone
cdef float NORMAL = 8.9125094                   # 9.5 dB: the low tone over the high one (8 must pass)
cdef float REVERSE = 3.5481339                  # 5.5 dB: the high tone over the low one (4 must pass)
cdef float LIKELY = 0.33                        # share of a window's power in two tones that may be off frequency
cdef float REST = 0.20                          # share of everything but the two tones: 0.11 at 9 dB over noise
cdef float FLAT = 0.60                          # ... which must be noise: music and speech leave tones
cdef float SLOPE = 0.05                         # change of a tone's level over 10 ms; noise adds to it
cdef float LEVEL = 0.63                         # -2 dB: windows of one key, softest to loudest
cdef float HELD = 0.16                          # -8 dB: the key goes on
cdef float SMOOTHEST = 0.2                      # energy of differences over energy: 0.34 to 1.23 for two tones, more with noise
cdef float ROUGHEST = 1.8
cdef float DEVIATION = 0.022                    # 1.5% + 2 Hz must pass, 3.5% must not

cdef int16_t wave[PAIRS][2 * TONES][2]      # cosines, then negative sines, for samples in pairs
cdef float turn_re[PIECES][TONES]               # by k pieces
cdef float turn_im[PIECES][TONES]
cdef float hertz[TONES]


cdef void dtmf_open(Dtmf *d) noexcept nogil:
    cdef int k
    memset(d, 0, sizeof(Dtmf))
    d.quiet = PIECES
    for k in range(PIECES):
        d.found[k] = -1


# --- a piece ------------------------------------------------------------------------------------------------------

cdef void forget(Dtmf *d) noexcept nogil:
    """The pieces and windows at hand are of no use any more."""
    cdef int k
    memset(d.re, 0, sizeof(d.re))
    memset(d.im, 0, sizeof(d.im))
    memset(d.energy, 0, sizeof(d.energy))
    memset(d.likely, 0, sizeof(d.likely))
    for k in range(PIECES):
        d.found[k] = -1


cdef void without_dial_tone(float *past, int16_t *x) noexcept nogil:
    """Elliptic high-pass of order 4: 0.5 dB from 690 Hz, -32 dB at 480 Hz and below, in place."""
    cdef float a1 = past[0], a2 = past[1], b1 = past[2], b2 = past[3], in1, out1
    cdef int k
    for k in range(PIECE):
        in1 = x[k] + <float>0.98304321 * a1 - <float>0.36570204 * a2
        out1 = <float>0.50480377 * (in1 + a2) - <float>0.99663177 * a1
        a2 = a1
        a1 = in1
        in1 = out1 + <float>1.62778332 * b1 - <float>0.88330957 * b2
        out1 = in1 - <float>1.88056978 * b1 + b2
        x[k] = <int16_t>max(min(out1, <float>32767), <float>-32768)
        b2 = b1
        b1 = in1
    past[0] = a1
    past[1] = a2
    past[2] = b1
    past[3] = b2


cdef void watch_dial_tone(Dtmf *d, float piece, float piece_rough) noexcept nogil:
    """A tone below 500 Hz that keeps its level for 100 ms is a dial tone (ITU-T E.180): keys are looked for above it.

    `piece_rough`: energy of the differences between neighbours; of a sine it is 4 sin^2(w/2) of the energy. Both are
    added up over a window, in which two tones beat at least once.
    """
    cdef float energy = 0, rough = 0
    cdef int k
    cdef bint low
    d.raw[(d.at + 1) % PIECES] = piece
    d.rough[(d.at + 1) % PIECES] = piece_rough
    for k in range(PIECES):
        energy += d.raw[k]
        rough += d.rough[k]
    low = energy > WINDOW * FULL * SOFTEST and <float>0.04 * energy < rough < <float>0.18 * energy
    if low and <float>0.5 * d.steady < energy < 2 * d.steady:
        d.lasted += 1
        d.steady += <float>0.1 * (energy - d.steady)
    else:
        d.lasted = 0
        d.steady = energy
    if low and d.lasted >= STEADY:
        if d.dial == 0:
            forget(d)
            memset(d.past, 0, sizeof(d.past))
        d.dial = d.steady
        d.since = 0
    elif d.dial > 0:
        d.since = d.since + 1 if energy < <float>0.4 * d.dial or d.since else 0
        if d.since > AFTER_DIAL:
            d.dial = 0
            forget(d)


cdef void project(Dtmf *d, const int16_t *x) noexcept nogil:
    """The piece's sums at the eight tones, its first sample as origin."""
    cdef int32_t total[2 * TONES]
    cdef int k
    trunkline_project(x, &wave[0][0][0], total)
    for k in range(TONES):
        d.re[d.at][k] = total[k] * <float>(1.0 / SCALE)
        d.im[d.at][k] = total[TONES + k] * <float>(1.0 / SCALE)


# --- a window -----------------------------------------------------------------------------------------------------


cdef inline int loudest(const float *power) noexcept nogil:
    """Index of the largest of four."""
    cdef int a = 1 if power[1] > power[0] else 0, b = 3 if power[3] > power[2] else 2
    return b if power[b] > power[a] else a


cdef void look(Dtmf *d) noexcept nogil:
    """The window that ends with the newest piece."""
    cdef float re[TONES]
    cdef float im[TONES]
    cdef float power[TONES]
    cdef float total = 0, both
    cdef int j, k, row, col, piece, at = d.at
    for k in range(TONES):
        re[k] = im[k] = 0
    for j in range(PIECES):
        piece = (at + 1 + j) % PIECES
        total += d.energy[piece]
        for k in range(TONES):
            re[k] += d.re[piece][k] * turn_re[j][k] - d.im[piece][k] * turn_im[j][k]
            im[k] += d.re[piece][k] * turn_im[j][k] + d.im[piece][k] * turn_re[j][k]
    for k in range(TONES):
        power[k] = (re[k] * re[k] + im[k] * im[k]) * <float>(2.0 / (WINDOW * WINDOW))
    row = loudest(power)
    col = 4 + loudest(power + 4)
    both = power[row] + power[col]
    total /= WINDOW
    if (
        both > LIKELY * total and power[row] > <float>0.3 * FULL * SOFTEST and power[col] > <float>0.3 * FULL * SOFTEST
        and power[col] < 3 * REVERSE * power[row] and power[row] < 3 * NORMAL * power[col]
    ):
        d.found[at] = 4 * row + col - 4
    d.row_re[at] = re[row]
    d.row_im[at] = im[row]
    d.col_re[at] = re[col]
    d.col_im[at] = im[col]
    d.power[at] = both


cdef float deviation(Dtmf *d, const float *re, const float *im, int tone) noexcept nogil:
    """Hz by which the four windows' sums run ahead of `tone`: the mean advance of their phase."""
    cdef float x = 0, y = 0
    cdef int j, a, b
    for j in range(1, PIECES):
        a = (d.at + j) % PIECES
        b = (d.at + 1 + j) % PIECES
        x += re[b] * re[a] + im[b] * im[a]
        y += im[b] * re[a] - re[b] * im[a]
    # less the tone's own advance over one piece
    return atan2f(y * turn_re[1][tone] + x * turn_im[1][tone], x * turn_re[1][tone] - y * turn_im[1][tone]) * <float>(
        8000 / (2 * M_PI * PIECE)
    )


cdef void lay_out(Dtmf *d, float *line) noexcept nogil:
    """The samples of four windows, one after the other."""
    cdef int i, j
    for j in range(HEARD):
        for i in range(PIECE):
            line[j * PIECE + i] = d.heard[(d.newest + 1 + j) % HEARD][i]


cdef bint is_key(Dtmf *d, int key) noexcept nogil:
    """Whether four windows that agree hold a key: levels, frequencies, twist, purity."""
    cdef float least = d.power[0], most = d.power[0], row_hertz, col_hertz, slope
    cdef float line[SPAN]
    cdef Pair p
    cdef int j
    for j in range(PIECES):
        least = min(least, d.power[j])
        most = max(most, d.power[j])
    if least < LEVEL * most:
        return False
    row_hertz = hertz[key // 4] + deviation(d, d.row_re, d.row_im, key // 4)
    col_hertz = hertz[4 + key % 4] + deviation(d, d.col_re, d.col_im, 4 + key % 4)
    if not (near(row_hertz, key // 4, <float>1.5) and near(col_hertz, 4 + key % 4, <float>1.5)):
        return False
    lay_out(d, line)
    if not pair_fit(line + (SPAN - WINDOW) // 2, row_hertz, col_hertz, &p):
        return False
    slope = SLOPE + 3 * p.rest
    return (
        near(row_hertz + p.row_off, key // 4, 1) and near(col_hertz + p.col_off, 4 + key % 4, 1)
        and p.row > FULL * SOFTEST and p.col > FULL * SOFTEST and p.row < NORMAL * p.col and p.col < REVERSE * p.row
        and p.rest < REST and p.flat > FLAT
        and -slope < p.row_slope < slope and -slope < p.col_slope < slope
    )


cdef inline bint near(float found, int tone, float times) noexcept nogil:
    return -DEVIATION * times < found / hertz[tone] - 1 < DEVIATION * times


cdef int judge(Dtmf *d) noexcept nogil:
    """After each window: the key held ends or goes on; the ASCII code of one that begins, else 0."""
    cdef int key = d.found[d.at], j
    if d.digit:
        if key >= 0 and KEYS[key] == d.digit and d.power[d.at] > HELD * d.level:
            d.missing = 0
            d.level = max(d.level, d.power[d.at])
        else:
            d.missing += 1
            if d.missing >= BRIDGED:
                d.digit = 0
    if key < 0 or KEYS[key] == d.digit:
        return 0
    for j in range(PIECES):
        if d.found[j] != key:
            return 0
    if not is_key(d, key):
        return 0
    d.digit = KEYS[key]
    d.level = d.power[d.at]
    d.missing = 0
    return d.digit


cdef int hear(Dtmf *d, const int16_t *pcm) noexcept nogil:
    """One piece."""
    cdef int16_t x[PIECE]
    cdef float energy = energy_of(pcm), rough
    cdef int k, of_use = 0
    if energy < PIECE * FULL * SOFTEST:
        d.quiet += 1
        if d.quiet > PIECES and d.digit == 0 and d.dial == 0:       # nothing of any window is left
            d.quiet = PIECES
            memset(d.raw, 0, sizeof(d.raw))
            memset(d.rough, 0, sizeof(d.rough))
            d.lasted = 0
            return 0
    else:
        if d.quiet >= PIECES:
            forget(d)
        d.quiet = 0
    rough = roughness(pcm)
    watch_dial_tone(d, energy, rough)
    memcpy(x, pcm, sizeof(x))
    if d.dial > 0:
        without_dial_tone(d.past, x)
        energy = energy_of(x)
        rough = roughness(x)
    d.at = (d.at + 1) % PIECES
    d.newest = (d.newest + 1) % HEARD
    memcpy(d.heard[d.newest], x, sizeof(x))
    d.energy[d.at] = energy
    d.likely[d.at] = SMOOTHEST * energy < rough < ROUGHEST * energy
    if d.likely[d.at]:
        project(d, x)
    for k in range(PIECES):
        of_use += d.likely[k]
    d.found[d.at] = -1
    if of_use * 2 >= PIECES:
        if not d.likely[d.at]:
            memset(d.re[d.at], 0, sizeof(d.re[d.at]))
            memset(d.im[d.at], 0, sizeof(d.im[d.at]))
        look(d)
    return judge(d)


cdef float energy_of(const int16_t *x) noexcept nogil:
    """Of a piece."""
    cdef float total = 0
    cdef int k
    for k in range(PIECE):
        total += <float>x[k] * <float>x[k]
    return total


cdef float roughness(const int16_t *x) noexcept nogil:
    """Energy of the differences between a piece's samples."""
    cdef float line[PIECE]
    cdef float total = 0
    cdef int k
    for k in range(PIECE):
        line[k] = x[k]
    for k in range(PIECE - 1):
        total += (line[k + 1] - line[k]) * (line[k + 1] - line[k])
    return total


cdef int dtmf_hear(Dtmf *d, const int16_t *pcm, int n) noexcept nogil:
    """`n` samples, at most 160: the ASCII code of a key that begins, 0 for none; `d.digit` is the one held."""
    cdef int k = 0, part, found = 0, begun
    while k < n:
        if d.filled == 0 and n - k >= PIECE:
            begun = hear(d, pcm + k)
            k += PIECE
        else:
            part = min(n - k, PIECE - d.filled)
            memcpy(d.part + d.filled, pcm + k, part * sizeof(int16_t))
            d.filled += part
            k += part
            if d.filled < PIECE:
                break
            d.filled = 0
            begun = hear(d, d.part)
        if begun:
            found = begun
    return found


cdef void fill_taps():
    cdef int i, k
    for k in range(TONES):
        hertz[k] = HERTZ[k]
        for i in range(PIECE):
            wave[i // 2][k][i % 2] = round(SCALE * np.cos(2 * np.pi * HERTZ[k] * i / 8000))
            wave[i // 2][TONES + k][i % 2] = round(-SCALE * np.sin(2 * np.pi * HERTZ[k] * i / 8000))
        for i in range(PIECES):
            turn_re[i][k] = np.cos(2 * np.pi * HERTZ[k] * i * PIECE / 8000)
            turn_im[i][k] = -np.sin(2 * np.pi * HERTZ[k] * i * PIECE / 8000)


fill_taps()


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class Detector:
    """In-band keys of one stream, int16 at 8 kHz (ITU-T Q.24)."""

    cdef Dtmf d

    def __cinit__(self):
        dtmf_open(&self.d)

    def hear(self, const int16_t[::1] pcm):
        """The keys that begin in `pcm`, as (key, samples of `pcm` after which it was known)."""
        cdef int at = 0, n, total = <int>pcm.shape[0], code
        found = []
        while at < total:
            n = min(160, total - at)
            code = dtmf_hear(&self.d, &pcm[at], n)
            at += n
            if code:
                found.append((chr(code), at))
        return found

    @property
    def digit(self):
        """The key held now, "" for none."""
        return chr(self.d.digit) if self.d.digit else ""
