# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Playout (jitter) buffer: audio leaves 20 ms a tick, as late as the network's jitter asks for and no later.

Samples lie in a ring at their timestamp, moved (`shift`) to the leg's own clock: a packet as fast as the fastest ones lies
at its arrival. What is there is a list of runs. The delay between arrival and playout follows `delay`: a talk spurt begins
at the target; while audio plays, pitch periods are taken out or put in (`stretch`). What is missing is concealed while
`play` stands still: if it comes after all it is played, and the delay has grown; if later audio is there, that goes on as
soon as the gap's time has passed. After 60 ms there is silence, or comfort noise (RFC 3389).
"""

import numpy as np

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native.clib cimport CLOCK_THREAD_CPUTIME_ID, clock_ns
from native.comfort cimport noise_set
from native.conceal cimport conceal_past
from native.delay cimport delay_open, delay_packet, delay_rebase
from native.held cimport held_drop, held_open, held_place, held_read, held_widen, held_write
from native.patch cimport patch_blank, patch_take
from native.steer cimport steer_take

cdef enum:
    STRAYS = 3              # useless packets in a row that show a new timeline

cdef enum:                  # what can be done with a packet
    FITS
    BEHIND                  # its time is over
    AHEAD                   # it is of another timeline
    FULL                    # it is in time and finds no room

cdef int64_t NEVER = 1 << 62


# --- in -----------------------------------------------------------------------------------------------------------


cdef inline int64_t clock(const Jitter *j, int64_t now) noexcept nogil:
    """Nanoseconds in samples."""
    return (now // 62500) >> (j.rate == 8000)


cdef void jitter_open(Jitter *j, int rate) noexcept nogil:
    """As new, for a leg of 8000 or 16000 Hz."""
    memset(j, 0, sizeof(Jitter))
    j.rate = rate
    j.frame = rate // 50
    j.past = conceal_past(rate)
    held_open(&j.held, rate)
    j.silent = True
    j.source = OUT_SILENCE
    j.noise.random = 1
    jitter_reset(j)


cdef void jitter_reset(Jitter *j) noexcept nogil:
    """Forgets the stream (another SSRC begins). What is buffered is still played; the counters stay."""
    delay_open(&j.delay, j.rate)
    j.target_ms = j.delay.target * 1000 // j.rate
    j.running = False
    j.stray = 0
    j.noise_on = False
    j.noise.known = False


cdef void realign(Jitter *j, int64_t stamp, int64_t t) noexcept nogil:
    """A new timeline: this packet came neither early nor late, and what is buffered is played before it."""
    cdef int64_t s = t - j.delay.base if j.running else t
    cdef int64_t end = j.held.run[j.held.runs - 1].b if j.held.runs else j.play if j.silent else j.play + j.hold
    if end > s + j.rate // 2:
        j.dropped += held_drop(&j.held, NEVER)
        j.silent = True
        j.accepted = 0
        j.play = j.edge = s
    elif end > s:
        s = end
    if not j.running:
        delay_rebase(&j.delay, t - s, t)
    j.running = True
    j.shift = s - stamp
    j.newest = s
    j.stray = 0


cdef inline int64_t oldest(const Jitter *j, int64_t otherwise) noexcept nogil:
    """The first sample that is still of use."""
    return j.play if not j.silent else j.held.run[0].a if j.held.runs else otherwise


cdef inline int64_t extent(const Jitter *j, int64_t s, int n) noexcept nogil:
    """Samples that must be held once a packet is."""
    cdef int64_t first = oldest(j, s), last = s + n
    if j.held.runs and j.held.run[j.held.runs - 1].b > last:
        last = j.held.run[j.held.runs - 1].b
    return last - (first if first < s else s) + j.past + j.frame


cdef int judge(const Jitter *j, int64_t s, int n, int64_t t) noexcept nogil:
    if s + n <= j.play:
        return BEHIND
    if s + j.delay.base - t > 3 * j.rate // 10 and t - j.used_at < 4 * j.rate:
        return AHEAD
    if extent(j, s, n) <= j.held.most:
        return FITS
    return BEHIND if s < oldest(j, s) else FULL


cdef bint known(const Jitter *j, int64_t s) noexcept nogil:
    """Whether a packet that begins there was taken in lately."""
    cdef int k
    for k in range(SEEN):
        if j.seen[k] == s and k < j.accepted:
            return True
    return False


cdef bint stray(Jitter *j, int64_t s, int n, int64_t t, int what) noexcept nogil:
    """Counts a packet that is of no use. True where it shows a new timeline instead."""
    if known(j, s):
        j.duplicate += 1
        return False
    j.stray += 1
    if j.stray >= STRAYS and t - j.used_at >= 2 * j.frame:
        return True
    if what == BEHIND:
        j.late += 1
        delay_packet(&j.delay, s, t, True)
        j.target_ms = j.delay.target * 1000 // j.rate
    else:
        j.refused += n
    return False


cdef int common(int a, int b) noexcept nogil:
    """Greatest common divisor."""
    while b:
        a, b = b, a % b
    return a


cdef void make_room(Jitter *j, int64_t s, int n) noexcept nogil:
    """Keeps the newest half second."""
    j.dropped += held_drop(&j.held, s + n - j.rate // 2)
    j.play = j.held.run[0].a if j.held.runs else s
    j.hold = 0
    patch_blank(j)


cdef bint store(Jitter *j, int64_t s, const int16_t *pcm, int n, int64_t t) noexcept nogil:
    """A packet that fits. What lies before `play` is left out: that is history, and no longer to be changed."""
    cdef int skip = <int>(j.play - s) if s < j.play else 0
    cdef int overlap
    cdef bint late = skip > 0 or not j.silent and s < j.play + j.hold
    if s < j.edge and known(j, s):
        j.duplicate += 1
        return False
    if extent(j, s, n) > j.held.span:
        held_widen(&j.held, oldest(j, s) - j.past, extent(j, s, n))
    overlap = held_place(&j.held, s + skip, s + n)
    if overlap < 0:
        j.refused += n
        return False
    if overlap == n - skip:
        j.duplicate += 1
        return False
    held_write(&j.held, s + skip, pcm + skip, n - skip)
    j.placed += n - skip - overlap
    j.seen[j.accepted & (SEEN - 1)] = s
    j.accepted += 1
    j.edge = s + n if s + n > j.edge else j.edge
    j.late += late
    delay_packet(&j.delay, s, t, late)
    return True


cdef bint jitter_put(Jitter *j, int64_t stamp, const int16_t *pcm, int n, bint marker, int64_t now) noexcept nogil:
    """One packet of 1..1920 samples; `marker`: the first of a talk spurt. False when it was of no use (counted)."""
    cdef int64_t t = clock(j, now), s = stamp + j.shift, early = s + j.delay.base - t
    cdef int what = judge(j, s, n, t)
    if not j.running or (
        marker and (early > j.rate // 10 or what == BEHIND and early < -j.rate // 10 and not known(j, s))
    ) or (what == BEHIND or what == AHEAD) and stray(j, s, n, t, what):
        realign(j, stamp, t)
        s = stamp + j.shift
        what = judge(j, s, n, t)
    if j.silent and j.held.runs == 0 and t - s - j.delay.base > 2 * j.rate // 5:
        delay_rebase(&j.delay, t - s, t)        # it paused, its clock too
    if what == FULL:
        make_room(j, s, n)
        what = judge(j, s, n, t)
    if what != FITS or not store(j, s, pcm, n, t):
        return False
    j.stray = 0
    j.used_at = t
    j.target_ms = j.delay.target * 1000 // j.rate
    j.newest = s
    if n != j.packet:
        j.packet = n
        j.grid = common(n, j.frame)
    return True


cdef void jitter_noise(Jitter *j, int64_t stamp, const uint8_t *payload, int n, int64_t now) noexcept nogil:
    """A comfort noise packet (RFC 3389) of n octets: from its timestamp on, what is missing is noise and not loss."""
    cdef int64_t t = clock(j, now), s
    if n < 1:
        return
    if not j.running:
        realign(j, stamp, t)
    s = stamp + j.shift
    if s > t - j.delay.base + j.rate // 2 or s < j.play - j.frame:
        s = j.play + j.hold
    noise_set(&j.noise, payload, n)
    if not noisy(j):
        j.noise_from = s
    j.noise_on = True


cdef int jitter_short(Jitter *j) noexcept nogil:
    """Samples missing of the next frame; 0 where the whole frame is there, or waits for its time."""
    cdef int64_t gap, there
    if j.held.runs == 0:
        return j.frame
    if j.silent:
        return 0
    gap = j.held.run[0].a - j.play - j.hold
    if gap > 0:
        return <int>gap if gap < j.frame else j.frame
    there = j.held.run[0].b - j.held.run[0].a
    return <int>(j.frame - there) if there < j.frame else 0


# --- out ----------------------------------------------------------------------------------------------------------


cdef void jitter_take(Jitter *j, int16_t *out, bint quiet, int64_t now) noexcept nogil:
    """The next 20 ms. `quiet`: what is missing is silence (a key is being sent in place of audio)."""
    cdef int64_t t = clock(j, now)
    if j.silent or j.source != OUT_AUDIO or j.held.runs == 0 or j.held.run[0].a != j.play or j.held.run[0].b < j.play + j.frame:
        patch_take(j, out, quiet, t)
    elif not j.running or not steer_take(j, out, t):
        held_read(&j.held, j.play, out, j.frame)
        advance(j, j.frame)
        j.played += j.frame


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class JitterBuffer:
    """The playout buffer of a leg: int16 samples keyed by timestamp, 20 ms out each time.

    `rate`: 8000 or 16000. Stamps are extended RTP timestamps in samples; `now` is CLOCK_MONOTONIC nanoseconds, or None
    for a clock of its own that every `take` moves on by 20 ms.
    """

    cdef Jitter j
    cdef int64_t now

    def __cinit__(self, int rate=8000):
        if rate not in (8000, 16000):
            raise ValueError(f"rate must be 8000 or 16000, not {rate}")
        jitter_open(&self.j, rate)
        self.now = 1_000_000_000

    def reset(self):
        """Another stream begins (new SSRC); the counters stay."""
        jitter_reset(&self.j)

    def put(self, int64_t stamp, const int16_t[::1] pcm, bint marker=False, now=None):
        """One packet of 1..1920 samples; `marker`: the first of a talk spurt. False when it was of no use."""
        if not 1 <= pcm.shape[0] <= 1920:
            raise ValueError(f"a packet has 1..1920 samples, not {pcm.shape[0]}")
        return bool(
            jitter_put(&self.j, stamp, &pcm[0], <int>pcm.shape[0], marker, self.now if now is None else now)
        )

    def noise(self, int64_t stamp, const uint8_t[::1] payload, now=None):
        """A comfort noise packet (RFC 3389) of at least one octet."""
        if payload.shape[0] == 0:
            raise ValueError("a comfort noise packet has at least one octet")
        jitter_noise(&self.j, stamp, &payload[0], <int>payload.shape[0], self.now if now is None else now)

    def take(self, bint quiet=False, now=None):
        """The next 20 ms, int16 (rate / 50,). `quiet`: what is missing is silence."""
        out = np.empty(self.j.frame, np.int16)
        cdef int16_t[::1] view = out
        self.now = self.now + 20_000_000 if now is None else now
        jitter_take(&self.j, &view[0], quiet, self.now)
        return out

    def replay(self, const int64_t[::1] at, const int64_t[::1] stamps, const int16_t[:, ::1] pcm, int ticks, int64_t start=0):
        """Packets (arrival in ns, ascending; timestamp; samples), and a frame every 20 ms from `start` on, in one call.

        Gives (int16 samples of `ticks` frames, int32 delay in ms at every tick, nanoseconds it took).
        """
        cdef int packets = <int>at.shape[0], k, i = 0, frame = self.j.frame
        cdef int64_t now, began
        if stamps.shape[0] != packets or pcm.shape[0] != packets or not 1 <= pcm.shape[1] <= 1920 or ticks < 1:
            raise ValueError("as many timestamps and rows of 1..1920 samples as arrivals are needed, and a tick")
        out, delay = np.empty(ticks * frame, np.int16), np.empty(ticks, np.int32)
        cdef int16_t[::1] view = out
        cdef int32_t[::1] delays = delay
        with nogil:
            began = clock_ns(CLOCK_THREAD_CPUTIME_ID)
            for k in range(ticks):
                now = start + k * <int64_t>20_000_000
                while i < packets and at[i] <= now:
                    jitter_put(&self.j, stamps[i], &pcm[i, 0], <int>pcm.shape[1], False, at[i])
                    i += 1
                jitter_take(&self.j, &view[k * frame], False, now)
                delays[k] = self.j.delay_ms
            began = clock_ns(CLOCK_THREAD_CPUTIME_ID) - began
        self.now = now
        return out, delay, began

    @property
    def short(self):
        """Samples missing of the next frame."""
        return jitter_short(&self.j)

    @property
    def play(self):
        """The next sample to be played, on the sender's timeline."""
        return self.j.play - self.j.shift

    @property
    def counters(self):
        """Packets: late, duplicate. Samples: placed, played, removed, dropped, refused, inserted, concealed; waiting."""
        cdef int k
        waiting = 0
        for k in range(self.j.held.runs):
            waiting += self.j.held.run[k].b - self.j.held.run[k].a
        return {
            "late": self.j.late, "duplicate": self.j.duplicate, "placed": self.j.placed, "played": self.j.played,
            "removed": self.j.removed, "dropped": self.j.dropped, "refused": self.j.refused, "waiting": waiting,
            "inserted": self.j.inserted, "stretched": self.j.stretched, "concealed": self.j.concealed,
            "noise_frames": self.j.noise_frames,
        }

    @property
    def late(self):
        return self.j.late

    @property
    def duplicate(self):
        return self.j.duplicate

    @property
    def concealed(self):
        return self.j.concealed

    @property
    def target_ms(self):
        return self.j.target_ms

    @property
    def delay_ms(self):
        return self.j.delay_ms


cpdef clean_ticks(int legs, int64_t ticks, int rate=8000):
    """Nanoseconds of CPU it takes to put and take one frame, over `ticks` ticks of `legs` buffers in turn, packets clean."""
    cdef Jitter *all = <Jitter *>calloc(legs, sizeof(Jitter))
    cdef int16_t pcm[WIDE]
    cdef int16_t out[WIDE]
    cdef int64_t k, now = 1_000_000_000, began
    cdef int i
    if all == NULL:
        raise MemoryError
    memset(pcm, 1, sizeof(pcm))
    try:
        for i in range(legs):
            jitter_open(&all[i], rate)
        with nogil:
            began = clock_ns(CLOCK_THREAD_CPUTIME_ID)
            for k in range(ticks):
                for i in range(legs):
                    jitter_put(&all[i], k * all[i].frame, pcm, all[i].frame, False, now)
                    jitter_take(&all[i], out, False, now + 15_000_000)
                now += 20_000_000
            began = clock_ns(CLOCK_THREAD_CPUTIME_ID) - began
    finally:
        free(all)
    return began / (legs * ticks)
