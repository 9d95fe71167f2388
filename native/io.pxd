"""Datagrams of many sockets, in batches. A tag names a socket: 2 * index is RTP, 2 * index + 1 is RTCP."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from native.clib cimport iovec, mmsghdr
from native.net cimport Address

ctypedef void (*took_t)(void *owner, uint32_t tag, const uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil

cdef enum:
    IO_PLAIN = 0            # recvmmsg and sendto on sockets polled in turn
    IO_URING = 1
    ROOM = 2048             # octets of the longest packet
    MOST = 32               # packets of one tag in a poll
    QUEUE = 512             # packets that may wait to be sent

cdef struct Counted:        # since io_open
    int64_t received
    int64_t sent
    int64_t failed          # sends the kernel refused
    int64_t truncated       # datagrams longer than ROOM, dropped
    int64_t refused         # ICMP and other errors a receive reported
    int64_t floods          # polls in which one tag reached MOST

cdef struct Watched:
    int fd                  # -1: none
    uint32_t generation     # goes up when the tag is forgotten

cdef struct Queued:
    uint32_t tag
    int32_t n
    Address to

cdef struct Plain:          # what the polled sockets need
    uint8_t *octets         # MOST * ROOM received
    Address *sources        # MOST
    iovec *parts            # MOST received, then MOST to be sent
    mmsghdr *heads          # ... as above

cdef struct Io:
    int kind
    uint32_t max_tags
    uint32_t top            # tags ever watched lie below
    Watched *tags           # max_tags
    uint8_t *rooms          # QUEUE * ROOM
    Queued *queue           # QUEUE
    int32_t queued
    Counted counted
    Plain plain

cdef int io_open(Io *io, int kind, int32_t max_tags) noexcept nogil
cdef void io_close(Io *io) noexcept nogil
cdef int io_watch(Io *io, uint32_t tag, int fd) noexcept nogil
cdef void io_forget(Io *io, uint32_t tag) noexcept nogil
cdef void io_poll(Io *io, int64_t number, int64_t now, void *owner, took_t took) noexcept nogil
cdef uint8_t *io_room(Io *io) noexcept nogil
cdef void io_send(Io *io, uint32_t tag, int n, const Address *to) noexcept nogil
cdef int64_t io_flush(Io *io) noexcept nogil
