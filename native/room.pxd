"""Who hears whom: up to 16 seats, one mix for each listener."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t

from native.resample cimport Doubler, Halver
from native.rings cimport Ring

cdef enum:
    SEATS = 16
    FRAME = 160             # samples a tick at 8 kHz
    WIDE = 320              # ... at 16 kHz

cdef struct Voice:          # one tick of one party, at both rates where somebody asks for both
    bint wide               # the rate it came in
    bint both               # both are made each tick
    int16_t *narrow         # 160 samples
    int16_t *broad          # 320 samples
    int16_t other[WIDE]     # memory for the rate it did not come in
    Doubler doubler
    Halver halver

cdef struct Parcel:         # a frame between threads
    int32_t wide
    int16_t pcm[WIDE]

cdef struct Link:           # a leg whose thread is not the room's
    Ring to_room
    Ring to_leg
    int32_t wide            # rate of the mix the leg wants; atomic

cdef struct Seat:
    bint taken
    Voice *voice            # of the leg, or `own` for a far one
    Link *link              # NULL: the leg is on this thread
    uint16_t hears          # bit k: seat k is heard
    bint wide
    Voice own               # of a far leg
    int16_t frame[WIDE]

cdef struct Room:
    uint16_t taken          # bit per seat
    uint16_t wide           # seats at 16 kHz
    Seat seats[SEATS]

cdef void voice_take(Voice *v, int16_t *frame, bint wide, bint both) noexcept nogil
cdef void room_mix(Room *r, int seat, int16_t *out) noexcept nogil
cdef void room_far(Room *r, int seat) noexcept nogil
cdef void room_settle(Room *r) noexcept nogil
cdef void link_send(Link *k, Voice *v) noexcept nogil
cdef bint link_take(Link *k, int16_t *out, bint wide) noexcept nogil
