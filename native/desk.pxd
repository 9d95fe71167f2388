"""What all legs of one engine thread share: events, prompts, rooms, totals."""

from libc.stdint cimport int32_t, int64_t

from native.playout cimport Prompt
from native.rings cimport Ring

cdef enum:                  # event kinds
    SPEECH_STARTED = 1
    SPEECH_ENDED = 2
    KEY = 3
    PROMPT_STARTED = 4
    PROMPT_MUTED = 5
    PROMPT_DONE = 6
    RTP_LATCHED = 7
    RTP_LOST = 8
    RTP_BACK = 9
    RING_FULL = 10
    RTCP_BYE = 11

cdef enum:                  # which ring was full
    FULL_EVENTS = 0
    FULL_UP = 1
    FULL_TAP = 2

cdef struct Event:
    int32_t kind
    int32_t leg
    int64_t at
    int64_t a
    int64_t b

cdef struct Desk:
    Prompt *prompts         # one table for all threads
    Ring events
    int64_t events_refused
    bint events_full
    int posted              # events since the eventfd was written
    int64_t garbage
    int64_t ring_full

cdef void post(Desk *d, int32_t kind, int32_t leg, int64_t at, int64_t a, int64_t b) noexcept nogil
