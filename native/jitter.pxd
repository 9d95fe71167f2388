"""Playout (jitter) buffer of a leg: samples keyed by timestamp, so that any packet time works."""

from libc.stdint cimport int16_t, int64_t, uint8_t

from native.comfort cimport Noise
from native.conceal cimport Conceal
from native.delay cimport Delay
from native.held cimport Held, held_drop

cdef enum:
    FRAME = 160             # samples of a 20 ms tick at 8 kHz
    WIDE = 320              # and at 16 kHz
    SEEN = 64               # packets remembered, to tell a repeated one from a late one

cdef enum:                  # what was put out last
    OUT_AUDIO = 0
    OUT_SILENCE = 1
    OUT_MADE_UP = 2
    OUT_NOISE = 3

cdef struct Jitter:         # times in samples at the leg's rate, on the leg's own clock
    int rate
    int frame               # samples a tick
    int past                # history kept behind `play`, samples
    bint running
    bint silent             # nothing to play and nothing to conceal: a talk spurt may begin
    int source              # an OUT_ value
    int64_t shift           # what timestamps are moved by
    int64_t play            # next sample to be played
    int64_t hold            # samples made up since `play` stopped
    int64_t edge            # end of the newest samples there ever were
    int64_t newest          # start of the packet that came last
    int packet              # its samples
    int grid                # packets begin at multiples of this, counted from `newest`
    int stray               # packets in a row that were of no use
    int64_t used_at         # when the last one was
    int pace                # ticks until the next try
    int step                # what is wished: a longer delay (-1), a shorter one (1)
    int wish                # ticks for which it has been
    float eager             # likeness that stretching no longer asks for
    bint noise_on
    int64_t noise_from      # where comfort noise takes the place of concealment
    int target_ms
    int delay_ms            # of what was played last
    int64_t late            # packets that came after their time
    int64_t duplicate       # packets that were there already
    int64_t placed          # samples taken in
    int64_t played          # of these, played
    int64_t removed         # of these, left out by stretching
    int64_t dropped         # of these, given up
    int64_t refused         # samples not taken in for want of room
    int64_t inserted        # samples added by stretching
    int64_t stretched       # removed + inserted
    int64_t concealed       # samples made up in place of lost ones
    int64_t noise_frames    # ticks with comfort noise
    Delay delay
    Noise noise
    Conceal conceal
    int64_t accepted        # packets
    int64_t seen[SEEN]      # where the last of them began
    Held held

cdef inline bint noisy(const Jitter *j) noexcept nogil:
    """Whether what is missing now is comfort noise: nothing but a late packet was played since it began."""
    return j.noise_on and j.play <= j.noise_from + 2 * j.frame and j.play + j.hold >= j.noise_from


cdef inline void advance(Jitter *j, int64_t n) noexcept nogil:
    """The next n samples, which are there, are used up."""
    j.play += n
    j.held.run[0].a += n
    if j.held.run[0].a == j.held.run[0].b:
        held_drop(&j.held, j.play)


cdef void jitter_open(Jitter *j, int rate) noexcept nogil
cdef void jitter_reset(Jitter *j) noexcept nogil
cdef bint jitter_put(Jitter *j, int64_t stamp, const int16_t *pcm, int n, bint marker, int64_t now) noexcept nogil
cdef void jitter_noise(Jitter *j, int64_t stamp, const uint8_t *payload, int n, int64_t now) noexcept nogil
cdef void jitter_take(Jitter *j, int16_t *out, bint quiet, int64_t now) noexcept nogil
cdef int jitter_short(Jitter *j) noexcept nogil
