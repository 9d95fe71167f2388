"""What a leg hears: speech starting and ending, whatever is being played to it."""

from libc.stdint cimport int16_t, int64_t

from native.echo cimport Echo
from native.vad cimport STEP, Vad

cdef enum:
    HEARD_NOTHING = 0
    HEARD_START = 1
    HEARD_END = 2

cdef struct Ears:
    Vad vad
    Echo echo
    bint anchored
    int64_t offset          # from RTP timestamps to the played timeline
    int64_t next_stamp
    int64_t denied          # starts that were the prompt's echo
    int16_t part[STEP]      # samples that do not fill a step yet
    int filled
    bint speaking
    bint voiced             # the evidence holds a voiced step
    int score
    int since_voiced        # steps
    int64_t first_at        # arrival of the first voiced packet of this start, ns
    int64_t voiced_steps    # of this utterance
    int64_t voiced_total
    int64_t fed_at          # newest packet's arrival, ns

cdef inline bint ears_stand_out(const Ears *e) noexcept nogil:
    """Whether what came last is speech, or 13 dB above the line's noise: too soft a caller is seldom called speech."""
    return e.speaking or e.vad.level > 20 * e.vad.floor


cdef void ears_open(Ears *e, void *webrtc) noexcept nogil
cdef void ears_played(Ears *e, const int16_t *pcm, int n) noexcept nogil
cdef int ears_hear(Ears *e, int64_t stamp, const int16_t *pcm, int n, int64_t arrival) noexcept nogil
cdef int ears_idle(Ears *e, int64_t now) noexcept nogil
cdef void ears_rest(Ears *e) noexcept nogil
