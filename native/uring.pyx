# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""io_uring by its three system calls (io_uring(7)); the kernel's structures stand in the .pxd.

Every call carries MSG_DONTWAIT, so that the kernel completes or refuses it while it is submitted: when `uring_run`
returns nothing is in flight, no buffer is lent and no file is held.
"""

import os

from libc.errno cimport EAGAIN, EBUSY, EINTR, ENOMEM, ENOSYS, EPERM, errno
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native.clib cimport (
    ACQUIRE, MAP_POPULATE, MAP_SHARED, MSG_DONTWAIT, MSG_NOSIGNAL, PROT_READ, PROT_WRITE, RELEASE, close, load32, mmap, munmap,
    store32, syscall,
)

cdef enum:
    SETUP = 425             # system call numbers, the same on every architecture
    ENTER = 426
    SINGLE_MMAP = 1         # the feature: both rings in one mapping
    GETEVENTS = 1
    NOP = 0                 # operations
    SENDMSG = 9
    RECVMSG = 10
    SEND = 26
    TRIES = 100             # a kernel short of memory is asked this often

cdef int64_t SQES_AT = 0x10000000   # the mapping's offset

cdef struct Offsets:        # struct io_sqring_offsets and io_cqring_offsets
    uint32_t head
    uint32_t tail
    uint32_t mask
    uint32_t entries
    uint32_t fourth         # flags, or overflow
    uint32_t fifth          # dropped, or the completions
    uint32_t sixth          # the index array, or flags
    uint32_t unused[3]

cdef struct Params:         # struct io_uring_params
    uint32_t sq_entries
    uint32_t cq_entries
    uint32_t flags
    uint32_t cpu
    uint32_t idle
    uint32_t features
    uint32_t unused[4]
    Offsets sq
    Offsets cq


cdef int map_rings(Uring *u, Params *p) noexcept nogil:
    cdef size_t sq = p.sq.sixth + p.sq_entries * sizeof(uint32_t)
    cdef size_t cq = p.cq.fifth + p.cq_entries * sizeof(Cqe)
    cdef uint8_t *base
    cdef uint32_t k
    u.rings_size = sq if sq > cq else cq
    u.rings = mmap(NULL, u.rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u.fd, 0)
    u.sqes = <Sqe *>mmap(NULL, p.sq_entries * sizeof(Sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u.fd, SQES_AT)
    if u.rings == <void *>-1 or u.sqes == <Sqe *>-1:
        return -ENOMEM
    base = <uint8_t *>u.rings
    u.sq_tail = <int32_t *>(base + p.sq.tail)
    u.cq_head = <int32_t *>(base + p.cq.head)
    u.cq_tail = <int32_t *>(base + p.cq.tail)
    u.cq_mask = (<uint32_t *>(base + p.cq.mask))[0]
    u.cqes = <Cqe *>(base + p.cq.fifth)
    for k in range(p.sq_entries):
        (<uint32_t *>(base + p.sq.sixth))[k] = k
    return 0


cdef int uring_open(Uring *u, uint32_t entries) noexcept nogil:
    """`entries`: a power of two. 0, or -errno with nothing left to close: -ENOSYS or -EPERM where io_uring is not to be had."""
    cdef Params p
    cdef int failed
    memset(u, 0, sizeof(Uring))
    memset(&p, 0, sizeof(Params))
    u.rings = <void *>-1
    u.sqes = <Sqe *>-1
    u.entries = entries
    u.fd = <int>syscall(SETUP, <long>entries, &p)
    if u.fd < 0:
        failed = -errno
        memset(u, 0, sizeof(Uring))
        return failed
    u.results = <int32_t *>calloc(entries, sizeof(int32_t))
    failed = -ENOSYS if not p.features & SINGLE_MMAP else -ENOMEM if u.results == NULL else map_rings(u, &p)
    if failed:
        uring_close(u)
    return failed


cdef void uring_close(Uring *u) noexcept nogil:
    """May be called twice, and on zeroed memory."""
    if u.entries == 0:
        return
    if u.rings != <void *>-1:
        munmap(u.rings, u.rings_size)
    if u.sqes != <Sqe *>-1:
        munmap(u.sqes, u.entries * sizeof(Sqe))
    close(u.fd)
    free(u.results)
    memset(u, 0, sizeof(Uring))


cdef inline void add(Uring *u, uint8_t opcode, int fd, const void *address, uint32_t size) noexcept nogil:
    """One more call in the batch; the caller keeps it below `entries`."""
    cdef Sqe *s = &u.sqes[(u.tail + u.count) & (u.entries - 1)]
    memset(s, 0, sizeof(Sqe))
    s.opcode = opcode
    s.fd = fd
    s.address = <uint64_t>address
    s.size = size
    s.call_flags = MSG_DONTWAIT if opcode == RECVMSG else MSG_DONTWAIT | MSG_NOSIGNAL
    s.user_data = u.count
    u.results[u.count] = UNDONE
    u.count += 1


cdef void uring_recvmsg(Uring *u, int fd, msghdr *into) noexcept nogil:
    add(u, RECVMSG, fd, into, 1)


cdef void uring_send(Uring *u, int fd, const void *octets, uint32_t n) noexcept nogil:
    add(u, SEND, fd, octets, n)


cdef void uring_sendmsg(Uring *u, int fd, const msghdr *what) noexcept nogil:
    add(u, SENDMSG, fd, what, 1)


cdef void reap(Uring *u) noexcept nogil:
    cdef uint32_t head = <uint32_t>u.cq_head[0], tail = <uint32_t>load32(u.cq_tail, ACQUIRE)
    cdef Cqe *c
    while head != tail:
        c = &u.cqes[head & u.cq_mask]
        if c.user_data < u.entries:
            u.results[c.user_data] = c.result
        head += 1
    store32(u.cq_head, <int32_t>head, RELEASE)


cdef void uring_run(Uring *u) noexcept nogil:
    """Makes the calls of the batch and empties it; `results` holds what each gave.

    A kernel that won't take them breaks the ring: what it left is UNDONE, and the ring must not be used again.
    """
    cdef uint32_t left = u.count
    cdef int tries = 0
    cdef long took
    u.tail += u.count
    store32(u.sq_tail, <int32_t>u.tail, RELEASE)
    while left:
        took = syscall(ENTER, <long>u.fd, <long>left, <long>left, <long>GETEVENTS, NULL, <long>0)
        reap(u)                         # makes no system call: errno stays
        if took > 0:
            left -= <uint32_t>took
            continue
        tries += 1
        if tries == TRIES or (errno != EINTR and errno != EAGAIN and errno != EBUSY):
            break
    u.broken = left > 0
    u.count = 0


# --- for Python -------------------------------------------------------------------------------------------------------


def uring_refused():
    """Why io_uring is not to be had here, in one sentence; "" where it is."""
    cdef Uring u
    cdef int failed = uring_open(&u, 8)
    if not failed:
        uring_close(&u)
        return ""
    return {
        ENOSYS: "this kernel has no io_uring, or one older than Linux 5.4",
        EPERM: "io_uring is forbidden here: by the sysctl kernel.io_uring_disabled or by the container's seccomp profile",
        ENOMEM: "io_uring may not lock enough memory: raise RLIMIT_MEMLOCK (ulimit -l)",
    }.get(-failed, f"io_uring_setup failed: {os.strerror(-failed)}")
