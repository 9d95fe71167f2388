# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Turns steps that are voice into speech that starts and ends."""

from libc.string cimport memset

from native.vad cimport vad_reset, vad_step

cdef enum:
    VOICE = 3               # what a voiced step adds
    PAUSE = 2               # what any other takes away
    ENOUGH = 15             # five voiced steps without a gap
    CALM = 20               # steps without voice that end speech: 200 ms


cdef void ears_open(Ears *e, void *webrtc) noexcept nogil:
    memset(e, 0, sizeof(Ears))
    vad_reset(&e.vad, webrtc)


cdef void ears_played(Ears *e, const int16_t *pcm, int n) noexcept nogil:
    pass


cdef int step(Ears *e, const int16_t *pcm, int64_t arrival) noexcept nogil:
    cdef bint voice = vad_step(&e.vad, pcm)
    if voice:
        e.voiced_total += 1
        e.voiced_steps += 1
        e.since_voiced = 0
        if e.score == 0 and not e.speaking:
            e.first_at = arrival
            e.voiced_steps = 1
        e.score += VOICE
    else:
        e.since_voiced += 1
        e.score = e.score - PAUSE if e.score > PAUSE else 0
    if e.speaking:
        if e.since_voiced >= CALM:
            e.speaking = False
            e.score = 0
            return HEARD_END
    elif e.score >= ENOUGH:
        e.speaking = True
        return HEARD_START
    return HEARD_NOTHING


cdef int ears_hear(Ears *e, int64_t stamp, const int16_t *pcm, int n, int64_t arrival) noexcept nogil:
    """Samples as they arrive in sequence (`stamp`: extended RTP timestamp of the first). Gives a HEARD_ value."""
    cdef int k, heard, result = HEARD_NOTHING
    e.fed_at = arrival
    for k in range(n):
        e.part[e.filled] = pcm[k]
        e.filled += 1
        if e.filled == STEP:
            e.filled = 0
            heard = step(e, e.part, arrival)
            if heard != HEARD_NOTHING:
                result = heard
    return result


cdef int ears_idle(Ears *e, int64_t now) noexcept nogil:
    """Ends speech when its packets stopped coming."""
    if e.speaking and now - e.fed_at > 250_000_000:
        e.speaking = False
        e.score = 0
        return HEARD_END
    return HEARD_NOTHING


cdef void ears_rest(Ears *e) noexcept nogil:
    """Speech under way counts as over; what goes on will be a new start."""
    e.speaking = False
    e.score = 0
    e.since_voiced = CALM
