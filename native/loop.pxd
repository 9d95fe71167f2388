"""The engine's thread: commands, sub-ticks, lateness."""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from native.leg cimport Desk
from native.rings cimport Ring

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
    DO_BRIDGE = 8
    DO_UNBRIDGE = 9
    DO_KEYS = 10
    DO_TAP = 11
    DO_MASK = 12
    DO_FREE_PROMPT = 13

cdef struct Command:
    int32_t what
    int32_t slot
    int32_t a
    int32_t b
    int64_t token
    uint32_t ip
    uint16_t port
    uint16_t flags
    int32_t n
    int32_t ids[NAMED]

cdef struct Machine:
    Desk desk
    Ring commands
    int eventfd
    int32_t stopping        # atomic
    int32_t top             # atomic: slots ever used
    int64_t ticks           # sub-ticks run
    int64_t overruns        # sub-ticks that began a whole one late
    int64_t skipped         # sub-ticks never run, because the machine stood still
    int64_t busy_ns         # CPU time of the thread
    int32_t realtime
    int64_t late[BUCKETS]

cdef void obey(Machine *m, Command *c, int64_t now) noexcept nogil
cdef void obey_all(Machine *m, int64_t now) noexcept nogil
cdef void machine_run(Machine *m) noexcept nogil
