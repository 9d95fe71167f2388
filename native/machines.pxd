"""The native threads of one engine, and the legs on them, as the commanding thread sees them."""

from libc.stdint cimport int32_t, int64_t

from native.leg cimport Leg
from native.loop cimport Command, Machine
from native.playout cimport Prompt

cdef class Machines:
    cdef Machine **machines
    cdef Prompt *prompts
    cdef readonly int threads
    cdef readonly int fd
    cdef int max_legs, vad_mode
    cdef list running           # threading.Thread
    cdef list free              # a heap of indexes for each thread
    cdef list loads             # open legs of each thread
    cdef dict sockets           # leg -> (RTP socket, RTCP socket or None)
    cdef dict generations       # slot -> generation
    cdef dict closing           # leg -> its sockets, until the engine let go of them
    cdef dict buried            # address -> how often it must still be let go of before it is freed
    cdef list kinds
    cdef list spare             # for each thread, addresses of legs never used
    cdef list blocks            # addresses of the memory legs are in
    cdef int64_t[::1] late_read

    cdef int command(self, int thread, Command *c) except -1
    cdef int need(self, int n) except -1
    cdef int simple(self, int what, object leg, int a=*, int b=*) except -1
    cdef int thread_of(self, object leg) except -1
    cdef Leg *leg(self, object handle) except NULL
    cdef int take_index(self, int thread) except -1
    cdef Leg *new_leg(self, int thread, int index) except NULL
    cdef int reclaim(self) except -1
    cdef int dig(self) except -1
