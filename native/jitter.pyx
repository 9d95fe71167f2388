# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Jitter buffer: 40 ms, more after late packets, less again when two seconds show that it is not needed."""

import numpy as np

from libc.string cimport memcpy, memset

cdef enum:
    WINDOW = 100            # ticks: 2 s
    STRAYS = 3              # packets in a row outside the buffer that make it start again


cdef void jitter_open(Jitter *j, int rate) noexcept nogil:
    """As new, for a leg of 8000 or 16000 Hz."""
    memset(j, 0, sizeof(Jitter))
    j.rate = rate
    j.frame = rate // 50
    j.span = SPAN if rate == 16000 else SPAN // 2
    j.target_ms = 40
    jitter_reset(j)


cdef void jitter_reset(Jitter *j) noexcept nogil:
    """Forgets the stream; the counters stay."""
    j.running = False
    j.stray = 0
    j.fade = 3
    j.noise = False
    memset(j.last, 0, sizeof(j.last))
    memset(j.have, 0, sizeof(j.have))


cdef void begin(Jitter *j, int64_t stamp) noexcept nogil:
    jitter_reset(j)
    j.running = True
    j.play = stamp - 2 * j.frame
    j.least = j.span
    j.window = 0


cdef void deepen(Jitter *j, int64_t short_by) noexcept nogil:
    """Plays later by whole frames, so that a packet `short_by` samples late is still heard."""
    cdef int64_t frames = (short_by + j.frame - 1) // j.frame
    cdef int64_t k
    j.play -= frames * j.frame
    for k in range(frames * j.frame):
        j.have[(j.play + k) & (j.span - 1)] = 0


cdef bint jitter_put(Jitter *j, int64_t stamp, const int16_t *pcm, int n, bint marker, int64_t now) noexcept nogil:
    """One packet's samples. False when it came too late to be heard (counted)."""
    cdef int64_t slack, at, deepest = 10 * j.frame
    cdef int k
    if not j.running:
        begin(j, stamp)
    slack = stamp - j.play
    if slack + n > j.span - j.frame or slack < -deepest:
        j.stray += 1
        if j.stray < STRAYS:
            j.late += 1
            return False
        begin(j, stamp)
        slack = 2 * j.frame
    j.stray = 0
    if slack < j.least:
        j.least = slack
    if slack < 0:
        j.late += 1
        if slack < 2 * j.frame - deepest:
            return False
        deepen(j, -slack)
        j.least = 0
    j.noise = False
    for k in range(n):
        at = (stamp + k) & (j.span - 1)
        j.pcm[at] = pcm[k]
        j.have[at] = 1
    return True


cdef void jitter_noise(Jitter *j, int64_t stamp, const uint8_t *payload, int n, int64_t now) noexcept nogil:
    """A comfort noise packet (RFC 3389): until audio comes again, what is missing is silence, not loss."""
    j.noise = True


cdef int jitter_short(Jitter *j) noexcept nogil:
    """Samples missing of the next frame; 0 where the whole frame is ready."""
    cdef int k, missing = 0
    if not j.running:
        return j.frame
    for k in range(j.frame):
        missing += not j.have[(j.play + k) & (j.span - 1)]
    return missing


cdef void shorten(Jitter *j) noexcept nogil:
    """Drops one frame at the end of a window in which every packet came a frame or more too early."""
    cdef int k
    j.window += 1
    if j.window < WINDOW:
        return
    if j.least < j.span and j.least >= 3 * j.frame + j.frame // 2:
        for k in range(j.frame):
            j.have[(j.play + k) & (j.span - 1)] = 0
        j.play += j.frame
        j.dropped += j.frame
    j.least = j.span
    j.window = 0


cdef void jitter_take(Jitter *j, int16_t *out, bint quiet, int64_t now) noexcept nogil:
    """The next 20 ms. What is missing repeats the last frame, fading out in 60 ms; `quiet` makes it silence."""
    cdef int k, missing = 0
    cdef int64_t at
    cdef int gain
    if not j.running:
        memset(out, 0, j.frame * sizeof(int16_t))
        return
    shorten(j)
    gain = 3 - j.fade if not quiet and not j.noise and j.fade < 3 else 0
    for k in range(j.frame):
        at = (j.play + k) & (j.span - 1)
        if j.have[at]:
            j.have[at] = 0
            out[k] = j.pcm[at]
        else:
            out[k] = <int16_t>(j.last[k] * gain // 3)
            missing += 1
    j.play += j.frame
    if missing == 0:
        j.fade = 0
        memcpy(j.last, out, j.frame * sizeof(int16_t))
    else:
        j.fade = j.fade + 1 if j.fade < 3 else 3
        j.concealed += missing if gain else 0
        j.noise_frames += j.noise


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class JitterBuffer:
    """The jitter buffer of a leg: int16 samples keyed by timestamp, 20 ms out each time.

    `rate`: 8000 or 16000. Stamps are extended RTP timestamps in samples; `now` is CLOCK_MONOTONIC nanoseconds.
    """

    cdef Jitter j

    def __cinit__(self, int rate=8000):
        if rate not in (8000, 16000):
            raise ValueError(f"rate must be 8000 or 16000, not {rate}")
        jitter_open(&self.j, rate)

    def reset(self):
        """Another stream begins (new SSRC); the counters stay."""
        jitter_reset(&self.j)

    def put(self, int64_t stamp, const int16_t[::1] pcm, bint marker=False, int64_t now=0):
        """One packet of 1..1920 samples; `marker`: the first of a talk spurt. False when it came too late."""
        if not 1 <= pcm.shape[0] <= 1920:
            raise ValueError(f"a packet has 1..1920 samples, not {pcm.shape[0]}")
        return bool(jitter_put(&self.j, stamp, &pcm[0], <int>pcm.shape[0], marker, now))

    def noise(self, int64_t stamp, const uint8_t[::1] payload, int64_t now=0):
        """A comfort noise packet (RFC 3389)."""
        if payload.shape[0]:
            jitter_noise(&self.j, stamp, &payload[0], <int>payload.shape[0], now)

    def take(self, bint quiet=False, int64_t now=0):
        """The next 20 ms, int16 (rate / 50)."""
        out = np.empty(self.j.frame, np.int16)
        cdef int16_t[::1] view = out
        jitter_take(&self.j, &view[0], quiet, now)
        return out

    @property
    def short(self):
        """Samples missing of the next frame."""
        return jitter_short(&self.j)

    @property
    def late(self):
        return self.j.late

    @property
    def concealed(self):
        return self.j.concealed

    @property
    def play(self):
        """Timestamp of the next sample to be played."""
        return self.j.play
