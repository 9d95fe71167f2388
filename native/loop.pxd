"""The engine's thread: commands, sub-ticks, lateness."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from native.desk cimport Desk
from native.io cimport Io
from native.leg cimport Leg, Wire
from native.rings cimport Ring
from native.room cimport SEATS, Link, Room
from native.srtp cimport Srtp

cdef enum:
    BUCKETS = 501           # of 100 us; the last is "50 ms or more"
    NAMED = 64              # prompts or digits in one command

cdef enum:                  # commands
    DO_OPEN = 1
    DO_CLOSE = 2
    DO_REMOTE = 3
    DO_PLAY = 4
    DO_RESUME = 5
    DO_STOP = 6
    DO_LISTEN = 7
    DO_SEAT = 8             # seat `a` of `room`: the leg, or `link`
    DO_STAND = 9            # the seat is empty again
    DO_FAR = 10             # the leg's seat is on another thread: `link`, or NULL
    DO_KEYS = 11
    DO_TAP = 12
    DO_MASK = 13
    DO_ECHO = 14
    DO_TONES = 15
    DO_GAIN = 16
    DO_SECURE = 17

cdef union Detail:
    Wire wire
    int32_t ids[NAMED]
    uint16_t hears[SEATS]

cdef struct Command:
    int32_t what
    int32_t index
    int32_t a
    int32_t b
    int32_t flags
    int32_t n
    int64_t token
    Room *room
    Link *link
    Srtp *srtp
    Detail detail

cdef struct Machine:
    Desk desk
    Io io
    Leg **legs
    int32_t max_legs
    Room **rooms            # one entry for each far seat
    int32_t far_rooms
    Ring commands
    Ring graves             # memory the engine let go of, to be freed by the commanding thread
    int eventfd
    int32_t stopping        # atomic
    bint running            # the engine's own: it watches sockets
    int32_t top             # atomic: legs ever used
    int32_t open_legs
    int64_t epoch           # where the 1 ms grid begins, the same for all threads
    int64_t ticks           # sub-ticks run
    int64_t overruns        # sub-ticks that began a whole one late
    int64_t skipped         # sub-ticks never run, because the machine stood still
    int64_t busy_ns         # CPU time of the thread
    int64_t failed          # packets the kernel did not take
    int32_t realtime
    int64_t late[BUCKETS]

cdef void obey(Machine *m, Command *c, int64_t now) noexcept nogil
cdef void machine_run(Machine *m) noexcept nogil
