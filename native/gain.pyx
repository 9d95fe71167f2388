# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A quiet caller is made louder, slowly, by what is heard while he speaks; pauses change nothing.

Levels are dBm0 (ITU-T G.711: a full-scale sine is at 3.14 dBm0). One call is one frame of 20 ms at any rate.
"""

import numpy as np

from libc.math cimport log10f, powf
from libc.string cimport memset

cdef float FULL = 5.3687091e8 * 0.48528850      # mean square of 0 dBm0
cdef float GOAL = 0.01                          # -20 dBm0: speech is brought here
cdef float MOST = 5.6234133                     # 15 dB
cdef float RISE = 1.0139                        # 0.12 dB a frame of speech: 6 dB a second
cdef float FALL = 0.9550                        # 0.4 dB a frame of speech: 20 dB a second
cdef int SETTLED = 200                          # frames of speech whose mean is the long-term level: 4 s
cdef float ACTIVE = 0.05                        # -13 dB: softer frames between syllables tell nothing of the level
cdef float CEILING = 29204                      # -1 dB of full scale
cdef float RECOVER = 1.06                       # 0.5 dB a frame
cdef float SOFTEST = -70                        # dBm0


cdef void gain_open(Gain *g) noexcept nogil:
    memset(g, 0, sizeof(Gain))
    g.level_dbm0 = SOFTEST
    g.wanted = g.now = g.held = 1


cdef float mean_square(const int16_t *pcm, int n) noexcept nogil:
    cdef float total = 0
    cdef int k
    for k in range(n):
        total += <float>pcm[k] * <float>pcm[k]
    return total / n if n else 0


cdef inline float dbm0(float power) noexcept nogil:
    """Mean square -> dBm0."""
    return 10 * log10f(power / FULL) if power > 0 else SOFTEST


cdef float meter(Gain *g, const int16_t *pcm, int n, bint speech) noexcept nogil:
    """Moves `level_dbm0` by one frame; gives the frame's mean square where it is speech."""
    cdef float power = 0, level
    if speech:
        power = mean_square(pcm, n)
        level = dbm0(power)
        if level > g.level_dbm0:
            g.level_dbm0 += <float>0.5 * (level - g.level_dbm0)
        else:
            g.level_dbm0 += <float>0.1 * (level - g.level_dbm0)
    else:
        g.level_dbm0 -= <float>0.2
    if g.level_dbm0 < SOFTEST:
        g.level_dbm0 = SOFTEST
    return power


cdef void gain_level(Gain *g, const int16_t *pcm, int n, bint speech) noexcept nogil:
    """The level meter alone: for callers who are heard as they are."""
    meter(g, pcm, n, speech)


cdef void learn(Gain *g, float power) noexcept nogil:
    """One frame of speech: its level, and where the gain should go."""
    if power > ACTIVE * g.voice:
        g.heard += 1 if g.heard < SETTLED else 0
        g.voice += (power - g.voice) / g.heard
    else:
        g.voice *= <float>0.999                 # a start that was too loud is unlearnt in the end
    if g.voice > 0:
        g.wanted = powf(GOAL * FULL / g.voice, 0.5)
    if g.wanted > MOST:
        g.wanted = MOST
    if g.wanted < 1:
        g.wanted = 1


cdef inline float peak_of(const int16_t *pcm, int n) noexcept nogil:
    cdef int k, low = 0, high = 0
    cdef int16_t least = 0, most = 0, x
    for k in range(n):
        x = pcm[k]
        least = x if x < least else least
        most = x if x > most else most
    low = -<int>least
    high = most
    return low if low > high else high


cdef void gain_hear(Gain *g, int16_t *pcm, int n, bint speech) noexcept nogil:
    """One frame, in place. `speech`: whether the caller speaks; only then anything is learnt."""
    cdef float power = meter(g, pcm, n, speech), before = g.now * g.held, after, limit, peak, x
    cdef int k
    if speech:
        learn(g, power)
        if g.now < g.wanted:
            g.now = min(g.wanted, g.now * RISE)
        elif g.now > g.wanted:
            g.now = max(g.wanted, g.now * FALL)
    if g.now <= <float>1.0001 and before <= <float>1.0001:
        g.held = 1
        return
    peak = peak_of(pcm, n)
    g.held = min(<float>1.0, g.held * RECOVER)
    limit = CEILING / peak if peak > 0 else MOST
    if limit < 1:
        limit = 1                               # nothing is made softer than it came
    if g.now * g.held > limit:
        g.held = limit / g.now
    after = g.now * g.held
    if before > limit:
        before = limit
    after = (after - before) / n                # by each sample
    for k in range(n):
        x = pcm[k] * (before + after * (k + 1))
        pcm[k] = <int16_t>(<int>(x + <float>32768.5) - 32768)


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class AutoGain:
    """Automatic gain of one stream, int16 frames of 20 ms."""

    cdef Gain g

    def __cinit__(self):
        gain_open(&self.g)

    def hear(self, const int16_t[::1] pcm, bint speech):
        """The frame as it is passed on."""
        out = np.array(pcm, np.int16)
        cdef int16_t[::1] view = out
        if pcm.shape[0]:
            gain_hear(&self.g, &view[0], <int>pcm.shape[0], speech)
        return out

    def listen(self, const int16_t[::1] pcm, bint speech):
        """Measures a frame that is passed on as it is."""
        if pcm.shape[0]:
            gain_level(&self.g, &pcm[0], <int>pcm.shape[0], speech)

    @property
    def level_dbm0(self):
        """Level of the speech heard, before any gain, dBm0; falls 10 dB a second in pauses."""
        return self.g.level_dbm0

    @property
    def gain_db(self):
        """Gain at the end of the newest frame, dB."""
        return 20 * float(np.log10(self.g.now * self.g.held))
