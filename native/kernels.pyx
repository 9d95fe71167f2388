# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The engine's kernels on numpy arrays, one thin function each. Twins in numpy: native/twins/."""

import numpy as np

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native cimport echo, g711, resample, rings, rtp, vad
from native.ears cimport Ears, ears_hear, ears_open, ears_played
from native.vad cimport vad_close, vad_open


cpdef g711_encode(const int16_t[::1] pcm, int payload=0):
    """int16 samples -> uint8 codes; payload 0 mu-law, 8 A-law (ITU-T G.711)."""
    out = np.empty(pcm.shape[0], np.uint8)
    cdef uint8_t[::1] view = out
    if pcm.shape[0]:
        g711.g711_encode(payload, &pcm[0], &view[0], <int>pcm.shape[0])
    return out


cpdef g711_decode(const uint8_t[::1] codes, int payload=0):
    """uint8 codes -> int16 samples; payload 0 mu-law, 8 A-law (ITU-T G.711)."""
    out = np.empty(codes.shape[0], np.int16)
    cdef int16_t[::1] view = out
    if codes.shape[0]:
        g711.g711_decode(payload, &codes[0], &view[0], <int>codes.shape[0])
    return out


cpdef upsample(const int16_t[::1] pcm):
    """int16 at 8 kHz -> twice as many at 16 kHz, 32 samples (at 16 kHz) later."""
    out = np.empty(2 * pcm.shape[0], np.int16)
    cdef int16_t[::1] view = out
    cdef resample.Doubler d
    cdef int at = 0, n
    memset(&d, 0, sizeof(d))
    while at < pcm.shape[0]:
        n = min(resample.MOST, <int>pcm.shape[0] - at)
        resample.double_rate(&d, &pcm[at], &view[2 * at], n)
        at += n
    return out


cpdef downsample(const int16_t[::1] pcm):
    """int16 at 16 kHz (an even number) -> half as many at 8 kHz, 15.5 samples (at 8 kHz) later."""
    out = np.empty(pcm.shape[0] // 2, np.int16)
    cdef int16_t[::1] view = out
    cdef resample.Halver h
    cdef int at = 0, n, total = <int>(pcm.shape[0] // 2 * 2)
    memset(&h, 0, sizeof(h))
    while at < total:
        n = min(2 * resample.MOST, total - at)
        resample.halve_rate(&h, &pcm[at], &view[at // 2], n)
        at += n
    return out


cpdef detect(const int16_t[::1] heard, const int16_t[::1] played, int vad_mode=3, trace=None):
    """The engine's speech detector offline: int16 8 kHz heard from and played to one leg, 20 ms frames in step.

    Gives int64 rows (kind, sample after which it was known, sample of the first voiced step); kind 1 start, 2 end.
    `trace`: float32 (frames, 9), filled with level, floor, period, delay, quality, evidence and the three shares.
    """
    cdef Ears *e = <Ears *>calloc(1, sizeof(Ears))
    cdef void *webrtc = vad_open(vad_mode)
    cdef int64_t at = 0, n = min(heard.shape[0], played.shape[0]) // 160 * 160
    cdef int kind
    cdef float[:, ::1] rows = trace
    found = []
    try:
        ears_open(e, webrtc)
        while at < n:
            ears_played(e, &played[at], 160)
            kind = ears_hear(e, at, &heard[at], 160, at)
            if kind:
                found.append((kind, at + 160, e.first_at))
            if trace is not None:
                rows[at // 160, 0] = e.vad.level
                rows[at // 160, 1] = e.vad.floor
                rows[at // 160, 2] = e.vad.period
                rows[at // 160, 3] = e.echo.lag if e.echo.locked else -1
                rows[at // 160, 4] = e.echo.quality
                rows[at // 160, 5] = e.score if not e.speaking else 100
                if rows.shape[1] > 6:
                    rows[at // 160, 6] = e.echo.share
                    rows[at // 160, 7] = e.echo.plain
                    rows[at // 160, 8] = e.echo.rest
                    e.echo.share = -1
            at += 160
        facts = {"denied": e.denied, "searches": e.echo.searches, "locks": e.echo.locks, "voiced_steps": e.voiced_total}
    finally:
        vad_close(webrtc)
        free(e)
    return np.array(found, np.int64).reshape(-1, 3), facts


cpdef parse_rtp(const uint8_t[::1] packet):
    """(payload type, marker, seq, timestamp, ssrc, offset of the payload, its size), or None for garbage (RFC 3550)."""
    cdef rtp.RtpPacket p
    if packet.shape[0] == 0 or not rtp.rtp_parse(&packet[0], <int>packet.shape[0], &p):
        return None
    return p.payload, bool(p.marker), p.seq, p.stamp, p.ssrc, <int>(p.data - &packet[0]), p.size


cpdef high_pass(const int16_t[::1] pcm):
    """Second-order Butterworth high-pass at 200 Hz, 8 kHz in; float32 out."""
    out = np.zeros(pcm.shape[0], np.float32)
    cdef float[::1] view = out
    cdef float state[4]
    memset(state, 0, sizeof(state))
    if pcm.shape[0]:
        echo.high_pass(state, &pcm[0], &view[0], <int>pcm.shape[0])
    return out


cpdef float periodicity(const float[::1] x):
    """0..1, largest normalized autocorrelation of the linear-prediction residual of 160..320 samples at 8 kHz."""
    if not 160 <= x.shape[0] <= vad.VIEW:
        raise ValueError("160..320 samples are needed")
    return vad.periodicity(&x[0], <int>x.shape[0])


cpdef echo_share(const int16_t[::1] heard, const int16_t[::1] played):
    """(delay in samples, share 0..1) of the best echo of `played` in the last 60 ms of `heard`, both 8 kHz, in step.

    Whole frames of 160; at most 12,288 samples.
    """
    cdef echo.Echo *e = <echo.Echo *>calloc(1, sizeof(echo.Echo))
    cdef float step[80]
    cdef float state[4]
    cdef int64_t lag = 0
    cdef float gain = 0, share
    cdef int at
    memset(state, 0, sizeof(state))
    try:
        echo.echo_reset(e)
        for at in range(0, <int>played.shape[0] - 159, 160):
            echo.echo_played(e, &played[at], 160)
        for at in range(0, <int>heard.shape[0] - 79, 80):
            echo.high_pass(state, &heard[at], step, 80)
            echo.echo_cancel(e, at, step, False, 0)
        share = echo.echo_search(e, heard.shape[0] // 80 * 80, &lag, &gain, NULL)
    finally:
        free(e)
    return lag, share


cdef class SampleRing:
    """The PCM ring: `size` int16 samples, a power of two."""

    cdef rings.Ring r

    def __cinit__(self, unsigned int size):
        if rings.ring_open(&self.r, size, 2):
            raise MemoryError

    def __dealloc__(self):
        rings.ring_close(&self.r)

    def put(self, const int16_t[::1] items):
        """All or nothing; True when placed."""
        return bool(rings.ring_put(&self.r, &items[0], <uint32_t>items.shape[0])) if items.shape[0] else True

    def fill(self, const int16_t[::1] items):
        """As many as fit; gives how many."""
        return rings.ring_fill(&self.r, &items[0], <uint32_t>items.shape[0]) if items.shape[0] else 0

    def take(self, int n):
        out = np.empty(n, np.int16)
        cdef int16_t[::1] view = out
        return out[: rings.ring_take(&self.r, &view[0], n)] if n else out

    def __len__(self):
        return rings.ring_waiting(&self.r)

    @property
    def refused(self):
        return self.r.refused


cdef class Source:
    """Receiver statistics of one RTP source (RFC 3550 appendix A)."""

    cdef rtp.RtpSource s

    def __cinit__(self):
        memset(&self.s, 0, sizeof(rtp.RtpSource))

    def packet(self, int seq, unsigned int stamp, unsigned int ssrc, int64_t arrival):
        """0 new, 1 behind the newest, 2 duplicate or too old; `arrival` in timestamp units."""
        cdef rtp.RtpPacket p
        memset(&p, 0, sizeof(p))
        p.seq = <unsigned short>seq
        p.stamp = stamp
        p.ssrc = ssrc
        return rtp.source_packet(&self.s, &p, arrival)

    @property
    def lost(self):
        return rtp.source_lost(&self.s)

    @property
    def received(self):
        return self.s.received

    @property
    def duplicate(self):
        return self.s.duplicate

    @property
    def jitter(self):
        return self.s.jitter

    @property
    def stamp(self):
        return self.s.stamp


cdef class KeyReader:
    """RFC 4733 events of one leg."""

    cdef rtp.KeyIn k

    def __cinit__(self):
        memset(&self.k, 0, sizeof(rtp.KeyIn))

    def packet(self, unsigned int stamp, const uint8_t[::1] payload):
        """The event code when a key begins, else -1; -2 for garbage."""
        cdef rtp.RtpPacket p
        memset(&p, 0, sizeof(p))
        p.stamp = stamp
        p.size = <int>payload.shape[0]
        p.data = &payload[0] if payload.shape[0] else NULL
        return rtp.key_packet(&self.k, &p)
