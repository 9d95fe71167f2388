# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The engine's datagrams. Everything but `io_open` and `io_close` runs on the engine's thread.

An RTP socket is read every 20 ms, on the sub-tick its leg sends: what comes earlier could not be heard earlier, each
packet carries the kernel's stamp of its arrival, and the send that follows finds the socket in the processor's caches,
which is worth more than any way of waiting. RTCP sockets are in an epoll set. What is to be sent waits until the end of
the sub-tick. No call is ever in flight, so a socket that was forgotten is let go of.
"""

from libc.errno cimport EAGAIN, EINVAL, ENOMEM, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native.clib cimport (
    AF_UNSPEC, CLOCK_REALTIME, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, MSG_DONTWAIT,
    MSG_NOSIGNAL, MSG_TRUNC, SO_TIMESTAMPNS, SOL_SOCKET, bind, clock_ns, close, connect,
    epoll_create1, epoll_ctl, epoll_event, epoll_wait, getsockname, msghdr, now_ns, recvmmsg, recvmsg, send, sendto, setsockopt,
    sockaddr,
)
from native.net cimport LONGEST, address_port, address_same
from native.uring cimport UNDONE, uring_close, uring_open, uring_recvmsg, uring_run, uring_send, uring_sendmsg

cdef enum:
    TURN = 20               # sub-ticks between two reads of an RTP socket
    RTCP_EVERY = 10
    RTCP_MOST = 64          # sockets in one look at the epoll set

cdef int64_t OLDEST = 1_000_000_000     # a packet that seems to have waited longer met a clock that was set


# --- open and close ---------------------------------------------------------------------------------------------------


cdef int inbox_open(Inbox *b) noexcept nogil:
    cdef int k
    b.heads = <mmsghdr *>calloc(SLOTS, sizeof(mmsghdr))
    b.parts = <iovec *>calloc(SLOTS, sizeof(iovec))
    b.sources = <Address *>calloc(SLOTS, sizeof(Address))
    b.controls = <uint8_t *>calloc(SLOTS, CONTROL)
    b.octets = <uint8_t *>calloc(SLOTS, ROOM)
    if b.heads == NULL or b.parts == NULL or b.sources == NULL or b.controls == NULL or b.octets == NULL:
        return -ENOMEM
    for k in range(SLOTS):
        b.parts[k].iov_base = b.octets + k * ROOM
        b.parts[k].iov_len = ROOM
        b.heads[k].msg_hdr.msg_iov = &b.parts[k]
        b.heads[k].msg_hdr.msg_iovlen = 1
        b.heads[k].msg_hdr.msg_name = b.sources[k].octets
        b.heads[k].msg_hdr.msg_control = b.controls + k * CONTROL
        renew(&b.heads[k].msg_hdr)
    return 0


cdef int outbox_open(Outbox *b) noexcept nogil:
    cdef int k
    b.rooms = <uint8_t *>calloc(QUEUE, ROOM)
    b.queue = <Queued *>calloc(QUEUE, sizeof(Queued))
    if b.rooms == NULL or b.queue == NULL:
        return -ENOMEM
    for k in range(QUEUE):
        b.queue[k].part.iov_base = b.rooms + k * ROOM
        b.queue[k].head.msg_hdr.msg_iov = &b.queue[k].part
        b.queue[k].head.msg_hdr.msg_iovlen = 1
        b.queue[k].head.msg_hdr.msg_name = b.queue[k].to.octets
    return 0


cdef int io_open(Io *io, int kind, int32_t max_tags) noexcept nogil:
    """Room for tags 0..max_tags-1. 0, or -errno with nothing left to close. The commanding thread calls it."""
    cdef int32_t k
    cdef int failed = 0
    memset(io, 0, sizeof(Io))
    if max_tags <= 0 or (kind != IO_PLAIN and kind != IO_URING):
        return -EINVAL
    if kind == IO_URING:
        failed = uring_open(&io.ring, BATCH)
        if failed:
            return failed
    io.kind = kind
    io.max_tags = max_tags
    io.epoll = epoll_create1(EPOLL_CLOEXEC)
    if io.epoll < 0:
        failed = -errno
    io.tags = <Watched *>calloc(max_tags, sizeof(Watched))
    if inbox_open(&io.inbox) or outbox_open(&io.outbox) or io.tags == NULL:
        failed = -ENOMEM
    if failed:
        io_close(io)
        return failed
    for k in range(max_tags):
        io.tags[k].fd = -1
    return 0


cdef void io_close(Io *io) noexcept nogil:
    """Once the engine's thread is gone. Sockets stay open: they belong to the caller. May be called twice."""
    if io.max_tags == 0:
        return
    uring_close(&io.ring)
    if io.epoll >= 0:
        close(io.epoll)
    free(io.tags)
    free(io.inbox.heads)
    free(io.inbox.parts)
    free(io.inbox.sources)
    free(io.inbox.controls)
    free(io.inbox.octets)
    free(io.outbox.rooms)
    free(io.outbox.queue)
    memset(io, 0, sizeof(Io))


cdef int io_watch(Io *io, uint32_t tag, int fd) noexcept nogil:
    """From now on `tag` is the bound UDP socket `fd`. -EINVAL for a tag out of range or in use, or -errno."""
    cdef Watched *w
    cdef epoll_event wanted
    cdef int one = 1
    if tag >= io.max_tags or fd < 0 or io.tags[tag].fd >= 0:
        return -EINVAL
    w = &io.tags[tag]
    if setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(int)) < 0:
        return -errno
    if tag & 1:
        wanted.events = EPOLLIN
        wanted.data.u64 = tag
        if epoll_ctl(io.epoll, EPOLL_CTL_ADD, fd, &wanted) < 0:
            return -errno
    w.fd = fd
    w.steady = False
    w.visited = 0
    w.peer.size = 0
    if tag >= io.top:
        io.top = tag + 1
    return 0


cdef int io_connect(Io *io, uint32_t tag, const Address *to) noexcept nogil:
    """Sends to `to` get cheaper, as their route is kept; packets of any other source are refused by the kernel.

    Address size 0: every source is heard again. 0, or -errno: -EINVAL for a tag not watched. A socket whose port the system
    chose loses it for a moment when it is disconnected; -EADDRINUSE if somebody took it then.
    """
    cdef Address own
    cdef Watched *w
    cdef int fd
    if tag >= io.max_tags or io.tags[tag].fd < 0:
        return -EINVAL
    w = &io.tags[tag]
    fd = w.fd
    io_flush(io)
    if to.size:
        if connect(fd, <const sockaddr *>to.octets, to.size) < 0:
            return -errno
    elif w.peer.size:
        own.size = LONGEST
        getsockname(fd, <sockaddr *>own.octets, &own.size)
        if disconnect(fd, &own) < 0:
            return -errno
    w.peer = to[0]
    return 0


cdef int disconnect(int fd, const Address *own) noexcept nogil:
    cdef Address none, left
    memset(&none, 0, sizeof(Address))
    none.octets[0] = AF_UNSPEC
    if connect(fd, <const sockaddr *>none.octets, 16) < 0:
        return -1
    left.size = LONGEST
    getsockname(fd, <sockaddr *>left.octets, &left.size)
    return 0 if address_port(&left) else bind(fd, <const sockaddr *>own.octets, own.size)


cdef void io_forget(Io *io, uint32_t tag) noexcept nogil:
    """What was queued leaves; then the tag is free, and `fd` may be closed and its number used again."""
    cdef Watched *w
    if tag >= io.max_tags or io.tags[tag].fd < 0:
        return
    io_flush(io)
    w = &io.tags[tag]
    if tag & 1:
        epoll_ctl(io.epoll, EPOLL_CTL_DEL, w.fd, NULL)
    w.fd = -1
    w.generation += 1


cdef void run_batch(Io *io) noexcept nogil:
    """A ring that broke is not used again; what it left undone is done by plain calls."""
    uring_run(&io.ring)
    if io.ring.broken:
        io.kind = IO_PLAIN


# --- in ---------------------------------------------------------------------------------------------------------------


cdef inline void renew(msghdr *head) noexcept nogil:
    """The kernel writes what it used over what there is."""
    head.msg_namelen = LONGEST
    head.msg_controllen = CONTROL


cdef inline int64_t arrival(const msghdr *head, int64_t ahead, int64_t now) noexcept nogil:
    """The kernel's stamp: a cmsghdr (length, level, type), then seconds and nanoseconds of CLOCK_REALTIME."""
    cdef const int64_t *words = <const int64_t *>head.msg_control
    cdef const int *kind = <const int *>(words + 1)
    cdef int64_t at
    if head.msg_controllen < 32 or kind[0] != SOL_SOCKET or kind[1] != SO_TIMESTAMPNS:
        return now
    at = words[2] * 1000000000 + words[3] - ahead
    return at if now - OLDEST < at <= now else now


cdef int64_t deliver(Io *io, int slot, Visit *v, int n, int64_t now, void *owner, took_t took) noexcept nogil:
    """Hands the `n` octets in `slot` over, unless the tag was forgotten meanwhile. Gives when they arrived."""
    cdef Inbox *b = &io.inbox
    cdef msghdr *head = &b.heads[slot].msg_hdr
    cdef int64_t at = arrival(head, b.ahead, now)
    b.sources[slot].size = head.msg_namelen
    renew(head)
    if head.msg_flags & MSG_TRUNC:
        io.counted.truncated += 1
    elif io.tags[v.tag].generation == v.generation:
        io.counted.received += 1
        took(owner, v.tag, b.octets + slot * ROOM, n, &b.sources[slot], at)
    return at


cdef int drain(Io *io, Visit *v, int most, int64_t now, void *owner, took_t took) noexcept nogil:
    """Up to `most` packets that wait in the socket, in one call; gives how many there were."""
    cdef int k, got
    if io.tags[v.tag].generation != v.generation:
        return 0
    got = recvmmsg(io.tags[v.tag].fd, io.inbox.heads + BATCH, most, MSG_DONTWAIT, NULL)
    if got < 0 and errno != EAGAIN:
        io.counted.refused += 1
    if got == most:
        io.counted.floods += 1
    for k in range(got):
        deliver(io, BATCH + k, v, io.inbox.heads[BATCH + k].msg_len, now, owner, took)
    return got if got > 0 else 0


cdef void visit(Io *io, int slot, int got, int64_t now, void *owner, took_t took) noexcept nogil:
    """What the first read of a socket gave: octets or -errno.

    Most sockets have one packet waiting. More are looked for where the last visit did not find exactly one, and where
    this one was there already when that ended.
    """
    cdef Visit *v = &io.inbox.visits[slot]
    cdef Watched *w = &io.tags[v.tag]
    cdef bint alone = False
    if got >= 0:
        alone = deliver(io, slot, v, got, now, owner, took) > w.visited and w.steady
    elif got == -EAGAIN:
        w.steady = False
        w.visited = now
        return
    elif got != UNDONE:
        io.counted.refused += 1
    w.steady = alone or drain(io, v, MOST - 1, now, owner, took) == 0
    w.visited = now


cdef void visit_batch(Io *io, int count, int64_t now, void *owner, took_t took) noexcept nogil:
    """Reads the first `count` sockets of `visits`."""
    cdef Inbox *b = &io.inbox
    cdef int k
    cdef ssize_t got
    if io.kind == IO_URING:
        for k in range(count):
            uring_recvmsg(&io.ring, io.tags[b.visits[k].tag].fd, &b.heads[k].msg_hdr)
        run_batch(io)
        for k in range(count):          # `took` may use the ring
            b.heads[k].msg_len = io.ring.results[k]
        for k in range(count):
            visit(io, k, <int>b.heads[k].msg_len, now, owner, took)
        return
    for k in range(count):
        if io.tags[b.visits[k].tag].generation == b.visits[k].generation:
            got = recvmsg(io.tags[b.visits[k].tag].fd, &b.heads[k].msg_hdr, MSG_DONTWAIT)
            visit(io, k, <int>got if got >= 0 else -errno, now, owner, took)


cdef void poll_rtp(Io *io, int64_t number, int64_t now, void *owner, took_t took) noexcept nogil:
    cdef uint32_t tag = 2 * <uint32_t>(number % TURN)
    cdef int count = 0
    while tag < io.top:
        if io.tags[tag].fd >= 0:
            io.inbox.visits[count] = Visit(tag, io.tags[tag].generation)
            count += 1
        tag += 2 * TURN
        if count == BATCH or (count and tag >= io.top):
            visit_batch(io, count, now, owner, took)
            count = 0


cdef void poll_rtcp(Io *io, int64_t now, void *owner, took_t took) noexcept nogil:
    cdef epoll_event ready[RTCP_MOST]
    cdef Visit v
    cdef int k, count = epoll_wait(io.epoll, ready, RTCP_MOST, 0)
    for k in range(count):
        v.tag = <uint32_t>ready[k].data.u64
        v.generation = io.tags[v.tag].generation
        if io.tags[v.tag].fd >= 0:
            drain(io, &v, MOST, now, owner, took)


cdef void io_poll(Io *io, int64_t number, int64_t now, void *owner, took_t took) noexcept nogil:
    """Gives `took` what arrived. `number` counts sub-ticks of 1 ms; RTP of index i is read when number % 20 == i % 20,
    RTCP when number % 10 == 0. `took` may call any of the others but this one.
    """
    io.inbox.ahead = clock_ns(CLOCK_REALTIME) - now_ns()
    poll_rtp(io, number, now, owner, took)
    if number % RTCP_EVERY == 0:
        poll_rtcp(io, now, owner, took)


# --- out --------------------------------------------------------------------------------------------------------------


cdef uint8_t *io_room(Io *io) noexcept nogil:
    """ROOM octets for the next packet, the same until `io_send`."""
    return io.outbox.rooms + io.outbox.count * ROOM


cdef void io_send(Io *io, uint32_t tag, int n, const Address *to) noexcept nogil:
    """Queues the first `n` (1..ROOM) octets of `io_room`; a full queue leaves at once. A tag not watched sends nothing."""
    cdef Queued *q = &io.outbox.queue[io.outbox.count]
    if tag >= io.max_tags or io.tags[tag].fd < 0 or n <= 0 or n > ROOM:
        io.counted.failed += 1
        return
    q.tag = tag
    q.n = n
    q.to = to[0]
    io.outbox.count += 1
    if io.outbox.count == QUEUE:
        io_flush(io)


cdef inline bint connected(Io *io, const Queued *q) noexcept nogil:
    return address_same(&io.tags[q.tag].peer, &q.to)


cdef ssize_t send_now(Io *io, Queued *q) noexcept nogil:
    """Octets or -errno."""
    cdef int fd = io.tags[q.tag].fd
    cdef ssize_t left
    if connected(io, q):
        left = send(fd, q.part.iov_base, q.n, MSG_DONTWAIT | MSG_NOSIGNAL)
    else:
        left = sendto(fd, q.part.iov_base, q.n, MSG_DONTWAIT | MSG_NOSIGNAL, <const sockaddr *>q.to.octets, q.to.size)
    return left if left >= 0 else -errno


cdef void sent(Io *io, Queued *q, ssize_t left) noexcept nogil:
    """A pending ICMP error makes one call fail without sending, so what was refused is tried again once."""
    if left < 0 and left != -EAGAIN:
        left = send_now(io, q)
    if left < 0:
        io.counted.failed += 1
    else:
        io.counted.sent += 1


cdef void flush_batch(Io *io, int32_t first, int32_t count) noexcept nogil:
    cdef Queued *q
    cdef int32_t k
    for k in range(count):
        q = &io.outbox.queue[first + k]
        if connected(io, q):
            uring_send(&io.ring, io.tags[q.tag].fd, q.part.iov_base, q.n)
            continue
        q.part.iov_len = q.n
        q.head.msg_hdr.msg_namelen = q.to.size
        uring_sendmsg(&io.ring, io.tags[q.tag].fd, &q.head.msg_hdr)
    run_batch(io)
    for k in range(count):
        sent(io, &io.outbox.queue[first + k], io.ring.results[k])


cdef int64_t io_flush(Io *io) noexcept nogil:
    """Everything queued leaves. Gives the sends that failed so far."""
    cdef int32_t at = 0, count = io.outbox.count, run
    while at < count:
        run = 1
        if io.kind == IO_URING:
            run = BATCH if count - at > BATCH else count - at
            flush_batch(io, at, run)
        else:
            sent(io, &io.outbox.queue[at], send_now(io, &io.outbox.queue[at]))
        at += run
    io.outbox.count = 0
    return io.counted.failed
