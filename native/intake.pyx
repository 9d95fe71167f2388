# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Packets of stateful codecs into decode order: a gap is waited for until somebody forces it."""

import numpy as np

from libc.string cimport memcpy

from native.codec cimport (
    CODEC_NONE, CODEC_ROOM, CODECS_KNOWN, codec_decode, codec_missing, coder_close, coder_open, coder_reset,
)
from native.codec import NAMES, available

cdef int64_t NOTHING = -(1 << 62)       # no packet's number


cdef void intake_reset(Intake *i) noexcept nogil:
    """Forgets the stream; the counters stay. Its coder starts anew with the next packet."""
    cdef int k
    i.running = False
    i.codec = CODEC_NONE
    i.span = 0
    i.due = NOTHING
    for k in range(HELD):
        i.packets[k].seq = NOTHING


cdef inline Held *held(Intake *i, int64_t seq) noexcept nogil:
    """The packet of that number, NULL where it has not come."""
    cdef Held *p = &i.packets[seq & (HELD - 1)]
    return p if p.seq == seq else NULL


cdef Held *first(Intake *i) noexcept nogil:
    """The oldest packet behind the gap, NULL where nothing is held."""
    cdef int k
    cdef Held *p
    for k in range(HELD):
        p = held(i, i.next + k)
        if p != NULL:
            return p
    return NULL


cdef void advance(Intake *i, int64_t seq) noexcept nogil:
    """Room for `seq`: what lies more than HELD before it is given up, and so is the gap it ended in."""
    cdef int k
    cdef Held *oldest
    for k in range(HELD):
        if i.packets[k].seq <= seq - HELD:
            i.packets[k].seq = NOTHING
    i.next = seq - HELD + 1
    oldest = first(i)
    i.next = seq if oldest == NULL else oldest.seq


cdef bint intake_put(
    Intake *i, int64_t seq, int64_t stamp, int codec, bint marker, const uint8_t *data, int n
) noexcept nogil:
    """One packet. `seq` extended, `stamp` extended and in samples at the codec's PCM rate (`codec_samples`).

    A packet that carries no audio (telephone-event, comfort noise, what was decoded elsewhere) is put in as CODEC_NONE, so
    that its number leaves no gap. False: too late, a duplicate, no codec of the table, empty or too large.
    """
    cdef Held *p = &i.packets[seq & (HELD - 1)]
    if codec < CODEC_NONE or codec >= CODECS_KNOWN or n > LARGEST or (n <= 0 and codec != CODEC_NONE):
        return False
    if not i.running:
        i.running = True
        i.next = seq
    if seq < i.next or p.seq == seq:
        return False
    if seq - i.next >= HELD:
        advance(i, seq)
    p.seq = seq
    p.stamp = stamp
    p.codec = codec
    p.marker = marker
    p.n = n
    if n > 0 and data != NULL:
        memcpy(p.data, data, n)
    return True


cdef int fill(Intake *i, Coder *c, const Held *p, int16_t *pcm, int64_t *stamp) noexcept nogil:
    """Gives up the gap before `p`: samples that the codec makes up, ending where `p` begins."""
    cdef int64_t samples = p.stamp - i.due
    cdef int64_t lost = (p.seq - i.next) * i.span
    cdef int got
    i.next = p.seq
    if i.due == NOTHING or p.codec == CODEC_NONE or p.codec != i.codec or samples <= 0:
        return 0
    samples = lost if lost < samples else samples
    if samples > CODEC_ROOM:
        samples = i.span        # too long to make up: the last packet alone, which `p` may carry
    got = codec_missing(c, p.codec, p.data, p.n, <int>samples, pcm)
    stamp[0] = p.stamp - got
    i.recovered += got
    return got


cdef int intake_next(Intake *i, Coder *c, bint force, int16_t *pcm, int64_t *stamp, bint *marker) noexcept nogil:
    """Decoded samples (at most CODEC_ROOM) of the next packet in order; 0 none ready. `force`: a gap is given up."""
    cdef Held *p
    cdef int got
    while i.running:
        p = held(i, i.next)
        if p == NULL:
            p = first(i) if force else NULL
            if p == NULL:
                return 0
            got = fill(i, c, p, pcm, stamp)
            marker[0] = False
            if got > 0:
                return got
        p.seq = NOTHING
        i.next += 1
        if p.codec == CODEC_NONE:
            continue
        if p.codec != i.codec:
            coder_reset(c, p.codec)
            i.codec = p.codec
        got = codec_decode(c, p.codec, p.data, p.n, pcm, CODEC_ROOM)
        if got > 0:
            stamp[0] = p.stamp
            marker[0] = p.marker
            i.span = got
            i.due = p.stamp + got
            return got
        i.garbage += 1
    return 0


# --- for Python ---------------------------------------------------------------------------------------------------


cdef class IntakeQueue:
    """One stream's packets by number: `put` in any order, `next` gives decoded PCM in decode order."""

    cdef Intake intake
    cdef Coder coder

    def __cinit__(self):
        if coder_open(&self.coder):
            raise MemoryError
        self.intake.garbage = self.intake.recovered = 0
        intake_reset(&self.intake)

    def __dealloc__(self):
        coder_close(&self.coder)

    def put(self, int64_t seq, int64_t stamp, str codec, const uint8_t[::1] data=b"", bint marker=False) -> bool:
        """`stamp` in samples at the codec's PCM rate; `codec` one of NAMES, "" for a packet without audio."""
        cdef int n = <int>data.shape[0]
        cdef int number = NAMES[codec] if codec else CODEC_NONE
        if codec and available()[codec]:
            raise RuntimeError(available()[codec])
        return intake_put(&self.intake, seq, stamp, number, marker, &data[0] if n else NULL, n)

    def next(self, bint force=False):
        """(stamp, marker, int16 of shape (n,)) of the next packet in order, or None where none is ready."""
        out = np.empty(CODEC_ROOM, np.int16)
        cdef int16_t[::1] pcm = out
        cdef int64_t stamp = 0
        cdef bint marker = False
        cdef int got = intake_next(&self.intake, &self.coder, force, &pcm[0], &stamp, &marker)
        return (stamp, bool(marker), out[:got]) if got > 0 else None

    def reset(self) -> None:
        """Another stream begins: nothing is held, its decoder is as new."""
        intake_reset(&self.intake)

    @property
    def garbage(self) -> int:
        return self.intake.garbage

    @property
    def recovered(self) -> int:
        return self.intake.recovered
