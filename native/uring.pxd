"""Socket calls in batches by io_uring: one system call makes them all, and none outlives it."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from native.clib cimport msghdr

cdef enum:
    UNDONE = -125           # -ECANCELED: the result of a call that a broken ring left undone

cdef struct Sqe:            # struct io_uring_sqe
    uint8_t opcode
    uint8_t flags
    uint16_t ioprio
    int32_t fd
    uint64_t offset
    uint64_t address
    uint32_t size
    uint32_t call_flags
    uint64_t user_data
    uint64_t unused[3]

cdef struct Cqe:            # struct io_uring_cqe
    uint64_t user_data
    int32_t result
    uint32_t flags

cdef struct Uring:
    int fd
    uint32_t entries        # calls a batch may hold
    uint32_t count          # calls of this batch
    uint32_t tail
    bint broken
    void *rings             # both, mapped from the kernel
    size_t rings_size
    int32_t *sq_tail
    int32_t *cq_head
    int32_t *cq_tail
    uint32_t cq_mask
    Sqe *sqes
    Cqe *cqes
    int32_t *results        # by place in the batch, once it ran: octets or -errno

cdef int uring_open(Uring *u, uint32_t entries) noexcept nogil
cdef void uring_close(Uring *u) noexcept nogil
cdef void uring_recvmsg(Uring *u, int fd, msghdr *into) noexcept nogil
cdef void uring_send(Uring *u, int fd, const void *octets, uint32_t n) noexcept nogil
cdef void uring_sendmsg(Uring *u, int fd, const msghdr *what) noexcept nogil
cdef void uring_run(Uring *u) noexcept nogil
