"""Datagrams of many sockets, in batches. A tag names a socket: 2 * index is RTP, 2 * index + 1 is RTCP."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from native.clib cimport iovec, mmsghdr
from native.net cimport Address
from native.uring cimport Uring

# `now`: when the packet arrived, by the kernel's stamp, on CLOCK_MONOTONIC
ctypedef void (*took_t)(void *owner, uint32_t tag, const uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil

cdef enum:
    IO_PLAIN = 0            # one system call a packet
    IO_URING = 1            # one for all packets of a sub-tick
    ROOM = 2048             # octets of the longest packet
    MOST = 32               # packets of one tag in a poll
    BATCH = 128             # calls in one batch of io_uring
    SLOTS = BATCH + MOST    # packets being received
    QUEUE = 512             # packets that may wait to be sent
    CONTROL = 64            # octets of control messages beside a packet

cdef struct Counted:        # since io_open
    int64_t received
    int64_t sent
    int64_t failed          # sends the kernel refused
    int64_t truncated       # datagrams longer than ROOM, dropped
    int64_t refused         # ICMP and other errors a receive reported
    int64_t floods          # reads that filled

cdef struct Watched:
    int fd                  # -1: none
    uint32_t generation     # goes up when the tag is forgotten
    int64_t visited         # when it was last read, ns
    bint steady             # that read gave exactly one packet
    Address peer            # what the socket is connected to

cdef struct Visit:          # a socket whose first packet is being read
    uint32_t tag
    uint32_t generation

cdef struct Inbox:          # SLOTS of each
    mmsghdr *heads
    iovec *parts
    Address *sources
    uint8_t *controls
    uint8_t *octets
    Visit visits[BATCH]
    int64_t ahead           # CLOCK_REALTIME less CLOCK_MONOTONIC

cdef struct Queued:
    uint32_t tag
    int32_t n
    Address to
    mmsghdr head
    iovec part

cdef struct Outbox:         # QUEUE of each
    uint8_t *rooms
    Queued *queue
    int32_t count

cdef struct Io:
    int kind                # what is in use now
    uint32_t max_tags
    uint32_t top            # tags ever watched lie below
    int epoll               # of RTCP sockets
    Watched *tags           # max_tags
    Inbox inbox
    Outbox outbox
    Uring ring
    Counted counted

cdef int io_open(Io *io, int kind, int32_t max_tags) noexcept nogil
cdef void io_close(Io *io) noexcept nogil
cdef int io_watch(Io *io, uint32_t tag, int fd) noexcept nogil
cdef int io_connect(Io *io, uint32_t tag, const Address *to) noexcept nogil
cdef void io_forget(Io *io, uint32_t tag) noexcept nogil
cdef void io_poll(Io *io, int64_t number, int64_t now, void *owner, took_t took) noexcept nogil
cdef uint8_t *io_room(Io *io) noexcept nogil
cdef void io_send(Io *io, uint32_t tag, int n, const Address *to) noexcept nogil
cdef int64_t io_flush(Io *io) noexcept nogil
