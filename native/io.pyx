# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The engine's datagrams. Everything but `io_open` and `io_close` runs on the engine's thread.

A socket is read on the sub-tick its leg sends and on those 5, 10 and 15 ms later; RTCP every 100 ms. What is to be sent
waits until the end of the sub-tick.
"""

import os

from libc.errno cimport EAGAIN, EINVAL, ENOMEM, ENOSYS, errno
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from native.clib cimport MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, now_ns, recvmmsg, sendmmsg, sendto, sockaddr
from native.net cimport address_fill

from native.net import text_of

cdef enum:
    READS_EVERY = 5         # sub-ticks between two reads of an RTP socket
    RTCP_EVERY = 100


# --- open and close ---------------------------------------------------------------------------------------------------


cdef int plain_open(Plain *p) noexcept nogil:
    cdef int k
    p.octets = <uint8_t *>calloc(MOST, ROOM)
    p.sources = <Address *>calloc(MOST, sizeof(Address))
    p.parts = <iovec *>calloc(2 * MOST, sizeof(iovec))
    p.heads = <mmsghdr *>calloc(2 * MOST, sizeof(mmsghdr))
    if p.octets == NULL or p.sources == NULL or p.parts == NULL or p.heads == NULL:
        return -ENOMEM
    for k in range(2 * MOST):
        p.heads[k].msg_hdr.msg_iov = &p.parts[k]
        p.heads[k].msg_hdr.msg_iovlen = 1
    for k in range(MOST):
        p.parts[k].iov_base = p.octets + k * ROOM
        p.parts[k].iov_len = ROOM
        p.heads[k].msg_hdr.msg_name = p.sources[k].octets
        p.heads[k].msg_hdr.msg_namelen = sizeof(p.sources[k].octets)
    return 0


cdef int io_open(Io *io, int kind, int32_t max_tags) noexcept nogil:
    """Room for tags 0..max_tags-1. 0, or -errno with nothing left to close. The commanding thread calls it."""
    cdef int32_t k
    cdef int failed
    memset(io, 0, sizeof(Io))
    if max_tags <= 0:
        return -EINVAL
    if kind != IO_PLAIN:
        return -ENOSYS
    io.kind = kind
    io.max_tags = max_tags
    io.tags = <Watched *>calloc(max_tags, sizeof(Watched))
    io.rooms = <uint8_t *>calloc(QUEUE, ROOM)
    io.queue = <Queued *>calloc(QUEUE, sizeof(Queued))
    failed = plain_open(&io.plain)
    if failed or io.tags == NULL or io.rooms == NULL or io.queue == NULL:
        io_close(io)
        return failed or -ENOMEM
    for k in range(max_tags):
        io.tags[k].fd = -1
    return 0


cdef void io_close(Io *io) noexcept nogil:
    """Once the engine's thread is gone. Sockets stay open: they belong to the caller. May be called twice."""
    free(io.tags)
    free(io.rooms)
    free(io.queue)
    free(io.plain.octets)
    free(io.plain.sources)
    free(io.plain.parts)
    free(io.plain.heads)
    memset(io, 0, sizeof(Io))


cdef int io_watch(Io *io, uint32_t tag, int fd) noexcept nogil:
    """From now on `tag` is the bound UDP socket `fd`. -EINVAL for a tag out of range or in use."""
    if tag >= io.max_tags or fd < 0 or io.tags[tag].fd >= 0:
        return -EINVAL
    io.tags[tag].fd = fd
    if tag >= io.top:
        io.top = tag + 1
    return 0


cdef void io_forget(Io *io, uint32_t tag) noexcept nogil:
    """What was queued leaves; then the tag is free, and `fd` may be closed and its number used again."""
    if tag >= io.max_tags or io.tags[tag].fd < 0:
        return
    io_flush(io)
    io.tags[tag].fd = -1
    io.tags[tag].generation += 1


# --- in ---------------------------------------------------------------------------------------------------------------


cdef void read_socket(Io *io, uint32_t tag, int64_t now, void *owner, took_t took) noexcept nogil:
    """One call for everything that waits, MOST packets at most; a pending ICMP error costs a second one."""
    cdef mmsghdr *head = io.plain.heads
    cdef int fd = io.tags[tag].fd
    cdef uint32_t generation = io.tags[tag].generation
    cdef int k, got = recvmmsg(fd, head, MOST, MSG_DONTWAIT, NULL)
    if got < 0 and errno != EAGAIN:
        io.counted.refused += 1
        got = recvmmsg(fd, head, MOST, MSG_DONTWAIT, NULL)
    if got == MOST:
        io.counted.floods += 1
    for k in range(got):
        io.plain.sources[k].size = head.msg_hdr.msg_namelen
        head.msg_hdr.msg_namelen = sizeof(io.plain.sources[k].octets)
        if head.msg_hdr.msg_flags & MSG_TRUNC:
            io.counted.truncated += 1
        elif io.tags[tag].generation == generation:     # else the owner let go of it meanwhile
            io.counted.received += 1
            took(owner, tag, io.plain.octets + k * ROOM, head.msg_len, &io.plain.sources[k], now)
        head += 1


cdef void read_every(Io *io, int64_t number, int every, uint32_t first, int64_t now, void *owner, took_t took) noexcept nogil:
    cdef uint32_t tag = 2 * <uint32_t>(number % every) + first
    while tag < io.top:
        if io.tags[tag].fd >= 0:
            read_socket(io, tag, now, owner, took)
        tag += 2 * every


cdef void io_poll(Io *io, int64_t number, int64_t now, void *owner, took_t took) noexcept nogil:
    """Gives `took` what arrived. `number` counts sub-ticks of 1 ms; index i is read when number % 5 == i % 5.

    `took` may call any of the others but this one.
    """
    read_every(io, number, READS_EVERY, 0, now, owner, took)
    read_every(io, number, RTCP_EVERY, 1, now, owner, took)


# --- out --------------------------------------------------------------------------------------------------------------


cdef uint8_t *io_room(Io *io) noexcept nogil:
    """ROOM octets for the next packet, the same until `io_send`."""
    return io.rooms + io.queued * ROOM


cdef void io_send(Io *io, uint32_t tag, int n, const Address *to) noexcept nogil:
    """Queues the first `n` (1..ROOM) octets of `io_room`; a full queue leaves at once. A tag not watched sends nothing."""
    cdef Queued *q = &io.queue[io.queued]
    if tag >= io.max_tags or io.tags[tag].fd < 0 or n <= 0 or n > ROOM:
        io.counted.failed += 1
        return
    q.tag = tag
    q.n = n
    q.to = to[0]
    io.queued += 1
    if io.queued == QUEUE:
        io_flush(io)


cdef bint send_one(Io *io, int32_t at) noexcept nogil:
    """A pending ICMP error makes one call fail without sending, so a refused packet is tried again."""
    cdef Queued *q = &io.queue[at]
    cdef int fd = io.tags[q.tag].fd, k
    for k in range(2):
        if sendto(fd, io.rooms + at * ROOM, q.n, MSG_DONTWAIT | MSG_NOSIGNAL, <const sockaddr *>q.to.octets, q.to.size) >= 0:
            return True
        if errno == EAGAIN:
            break
    return False


cdef int32_t send_run(Io *io, int32_t at, int32_t count) noexcept nogil:
    """`count` packets of one socket, from queue entry `at` on; gives how many left before one was refused."""
    cdef Plain *p = &io.plain
    cdef Queued *q
    cdef int32_t k
    for k in range(count):
        q = &io.queue[at + k]
        p.parts[MOST + k].iov_base = io.rooms + (at + k) * ROOM
        p.parts[MOST + k].iov_len = q.n
        p.heads[MOST + k].msg_hdr.msg_name = q.to.octets
        p.heads[MOST + k].msg_hdr.msg_namelen = q.to.size
    k = sendmmsg(io.tags[io.queue[at].tag].fd, p.heads + MOST, count, MSG_DONTWAIT | MSG_NOSIGNAL)
    return k if k > 0 else 0


cdef int64_t io_flush(Io *io) noexcept nogil:
    """Everything queued leaves; several packets in a row of one socket in one call. Gives the sends that failed so far."""
    cdef int32_t at = 0, run, left
    while at < io.queued:
        run = 1
        while at + run < io.queued and run < MOST and io.queue[at + run].tag == io.queue[at].tag:
            run += 1
        left = send_run(io, at, run) if run > 1 else 0
        io.counted.sent += left
        at += left
        if left < run:                  # alone, or what stopped the run
            if send_one(io, at):
                io.counted.sent += 1
            else:
                io.counted.failed += 1
            at += 1
    io.queued = 0
    return io.counted.failed


# --- for Python -------------------------------------------------------------------------------------------------------


cdef struct Heard:          # one packet, in a list that grows
    uint32_t tag
    int n
    Address source
    uint8_t octets[ROOM]

cdef struct Pile:
    Heard *heard
    int n
    int room


cdef void keep(void *owner, uint32_t tag, const uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil:
    cdef Pile *pile = <Pile *>owner
    cdef Heard *more
    if pile.n == pile.room:
        more = <Heard *>realloc(pile.heard, (2 * pile.room + 64) * sizeof(Heard))
        if more == NULL:
            return
        pile.heard = more
        pile.room = 2 * pile.room + 64
    pile.heard[pile.n].tag = tag
    pile.heard[pile.n].n = n
    pile.heard[pile.n].source = source[0]
    memcpy(pile.heard[pile.n].octets, octets, n)
    pile.n += 1


cdef class IoLoop:
    """The engine's datagram loop by itself, for tests and benchmarks. All calls from one thread."""

    cdef Io io
    cdef Pile pile
    cdef readonly str kind

    def __init__(self, str kind="plain", int max_tags=1024):
        """`kind`: "plain" or "uring". Raises OSError where the kernel refuses it, ValueError for another kind."""
        cdef int failed
        if kind not in ("plain", "uring"):
            raise ValueError(f"{kind!r} is not a kind of loop: expected 'plain' or 'uring'")
        io_close(&self.io)
        self.kind = kind
        failed = io_open(&self.io, IO_URING if kind == "uring" else IO_PLAIN, max_tags)
        if failed:
            raise OSError(-failed, os.strerror(-failed))

    def __dealloc__(self):
        io_close(&self.io)
        free(self.pile.heard)

    def close(self):
        """Nothing is watched any more; the sockets stay open. May be called twice."""
        io_close(&self.io)

    def watch(self, uint32_t tag, int fd):
        """Raises OSError where the tag is out of range or in use."""
        cdef int failed = io_watch(&self.io, tag, fd)
        if failed:
            raise OSError(-failed, os.strerror(-failed))

    def forget(self, uint32_t tag):
        io_forget(&self.io, tag)

    def poll(self, int64_t number):
        """What sub-tick `number` reads: a list of (tag, octets, (ip, port))."""
        cdef Heard *h
        cdef int k
        self.pile.n = 0
        with nogil:
            io_poll(&self.io, number, now_ns(), &self.pile, keep)
        out = []
        for k in range(self.pile.n):
            h = &self.pile.heard[k]
            out.append((h.tag, (<char *>h.octets)[:h.n], text_of((<char *>h.source.octets)[:h.source.size])))
        return out

    def send(self, uint32_t tag, const uint8_t[::1] octets not None, str ip, int port):
        """Queues one packet of 1..2048 octets."""
        cdef Address to
        address_fill(&to, ip, port)
        if self.io.rooms == NULL:
            raise ValueError("the loop is closed")
        if not 1 <= octets.shape[0] <= ROOM:
            raise ValueError(f"a packet has 1 to {ROOM} octets, not {octets.shape[0]}")
        memcpy(io_room(&self.io), &octets[0], octets.shape[0])
        io_send(&self.io, tag, <int>octets.shape[0], &to)

    def flush(self):
        """Gives the sends that failed so far."""
        return io_flush(&self.io)

    def counters(self):
        """Packets received, sent, failed to leave, truncated; errors receives reported; polls a flood filled."""
        return self.io.counted
