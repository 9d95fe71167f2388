# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Turns steps that are voice into speech that starts and ends; the prompt's own echo is not speech."""

from libc.string cimport memcpy, memset

from native.echo cimport echo_cancel, echo_catch_up, echo_explains, echo_played, echo_possible, echo_reset, echo_skip
from native.vad cimport NO_SPEECH, VOICED, vad_hear, vad_judge, vad_newest, vad_pass, vad_reset

cdef enum:
    VOICE = 4               # what a voiced step adds to the evidence
    CONSONANT = 2           # what an unvoiced one adds, up to MURMUR
    MURMUR = 8
    PAUSE = 2               # what any other takes away
    ENOUGH = 10             # three voiced steps, or two after a consonant
    CALM = 20               # steps without voice that end speech: 200 ms
    ASTRAY = 3200           # samples the two timelines may part before they are tied anew

cdef int64_t STARVED_NS = 250_000_000


cdef void ears_open(Ears *e, void *webrtc) noexcept nogil:
    memset(e, 0, sizeof(Ears))
    vad_reset(&e.vad, webrtc)
    echo_reset(&e.echo)


cdef void ears_played(Ears *e, const int16_t *pcm, int n) noexcept nogil:
    """What was just sent to the caller, after coding."""
    echo_played(&e.echo, pcm, n)


cdef int silence(Ears *e) noexcept nogil:
    """A step without voice."""
    e.since_voiced += 1
    e.score -= PAUSE
    if e.score <= 0:
        e.score = 0
        e.voiced = False
    if e.speaking and e.since_voiced >= CALM:
        ears_rest(e)
        return HEARD_END
    return HEARD_NOTHING


cdef int step(Ears *e, const int16_t *pcm, int64_t at, int64_t arrival) noexcept nogil:
    """One step heard at `at` on the played timeline."""
    cdef bint echo = echo_possible(&e.echo, at)
    cdef int kind
    if not vad_hear(&e.vad, pcm):
        vad_pass(&e.vad, e.speaking)
        echo_skip(&e.echo, echo, e.vad.level)
        return silence(e)
    if echo:
        echo_catch_up(&e.echo, vad_newest(&e.vad))
        echo_cancel(&e.echo, at, vad_newest(&e.vad), True, e.vad.floor)
    else:
        echo_skip(&e.echo, False, 0)
    kind = vad_judge(&e.vad, e.speaking)
    if kind == NO_SPEECH:
        return silence(e)
    e.since_voiced = 0
    e.voiced_total += 1
    e.voiced_steps += 1
    if e.speaking:
        return HEARD_NOTHING
    if kind != VOICED:
        e.score += CONSONANT if e.score < MURMUR else 0
        return HEARD_NOTHING
    if not e.voiced:
        e.voiced = True
        e.first_at = arrival
        e.voiced_steps = 1
    e.score += VOICE
    if e.score < ENOUGH:
        return HEARD_NOTHING
    if echo and echo_explains(&e.echo, at + STEP):
        e.denied += 1
        e.score = MURMUR
        return HEARD_NOTHING
    e.speaking = True
    return HEARD_START


cdef void tie(Ears *e, int64_t stamp) noexcept nogil:
    """Ties RTP timestamps to the played timeline: what arrives now is heard now, in whole steps."""
    cdef int64_t apart = stamp + e.offset - e.echo.end
    if e.anchored and -ASTRAY < apart < ASTRAY:
        return
    e.anchored = True
    e.offset = e.echo.end // STEP * STEP - stamp
    e.echo.locked = False


cdef int ears_hear(Ears *e, int64_t stamp, const int16_t *pcm, int n, int64_t arrival) noexcept nogil:
    """Samples as they arrive in sequence (`stamp`: extended RTP timestamp of the first). Gives a HEARD_ value."""
    cdef int k = 0, part, heard, result = HEARD_NOTHING
    cdef const int16_t *whole
    e.fed_at = arrival
    tie(e, stamp)
    if stamp != e.next_stamp:
        e.filled = 0
    e.next_stamp = stamp + n
    while k < n:
        part = min(n - k, STEP - e.filled)
        whole = pcm + k
        if part < STEP:                 # a step of more than one piece
            memcpy(e.part + e.filled, pcm + k, part * sizeof(int16_t))
            whole = e.part
        k += part
        e.filled += part
        if e.filled < STEP:
            break
        e.filled = 0
        heard = step(e, whole, stamp + k - STEP + e.offset, arrival)
        if heard != HEARD_NOTHING:
            result = heard
    return result


cdef int ears_idle(Ears *e, int64_t now) noexcept nogil:
    """Ends speech when its packets stopped coming."""
    if e.speaking and now - e.fed_at > STARVED_NS:
        ears_rest(e)
        return HEARD_END
    return HEARD_NOTHING


cdef void ears_rest(Ears *e) noexcept nogil:
    """Speech under way counts as over; what goes on will be a new start."""
    e.speaking = e.voiced = False
    e.score = 0
    e.since_voiced = CALM
