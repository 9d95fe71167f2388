"""Echo guard: is what the leg hears only what was played to it?"""

from libc.stdint cimport int16_t, int64_t

from native.filters cimport high_pass

cdef enum:
    BLOCK = 80              # samples a step
    RECENT = 480            # samples of heard audio looked at together: 60 ms
    REACH = 3600            # longest echo looked for: 450 ms
    KEEP = 4608             # played samples that must stay at hand
    ROOM = 6144
    PLAYED = 64             # newest played steps whose powers are kept
    TAPS = 96
    AHEAD = 24              # taps before the delay that was found

cdef struct Echo:
    int64_t end             # samples played so far
    int64_t loud_until      # an echo may be heard up to here
    bint stale              # the buffers hold nothing of use
    int filled              # samples in the buffers
    int begin               # ... from where to where they are high-passed: nobody needs that before the caller is loud
    int done
    float high[4]
    int64_t power_sent[PLAYED]      # mean squares of the newest played steps, a ring
    int64_t total_sent              # their sum
    float power_played[PLAYED]      # the same after the high-pass filter, where that was asked for
    float before
    int16_t sent[ROOM]      # played, as it went out
    float ref[ROOM]         # high-passed
    float white[ROOM]       # the same with pre-emphasis
    int missing             # newest steps heard that `heard` and `left` do not hold yet
    float heard[RECENT]     # newest last, high-passed
    float left[RECENT]      # what the canceller left of it
    float power_heard[6]    # mean squares of the steps in `heard` and `left`
    float power_left[6]
    bint locked
    int64_t lag
    float taps[TAPS]
    float quality           # share of the echo's power the canceller leaves (1 is nothing cancelled)
    int steps               # adapted since the lock
    int clear               # steps in a row without any echo of a loud prompt
    bint echoless           # the line was heard to give none back
    int hold                # steps without adaptation still to come
    float share             # what the newest search found, with pre-emphasis
    float plain             # ... and at the same delay without
    float rest              # what a second delay explains of the remainder
    int64_t searches
    int64_t locks

cdef void echo_reset(Echo *e) noexcept nogil
cdef void echo_played(Echo *e, const int16_t *pcm, int n) noexcept nogil
cdef bint echo_possible(Echo *e, int64_t at) noexcept nogil
cdef void echo_skip(Echo *e, bint possible, float power) noexcept nogil
cdef void echo_catch_up(Echo *e, const float *newest) noexcept nogil
cdef float echo_cancel(Echo *e, int64_t at, float *step, bint loud, float floor) noexcept nogil
cdef bint echo_explains(Echo *e, int64_t at) noexcept nogil
cdef float echo_search(Echo *e, int64_t at, int64_t *lag, float *gain, float *rest) noexcept nogil
