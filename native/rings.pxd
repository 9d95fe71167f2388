"""Lock-free ring for one producer and one consumer; elements of any fixed width are copied in and out."""

from libc.stdint cimport uint32_t, uint64_t

cdef struct Ring:
    uint64_t head           # elements ever written; only the producer stores it
    char apart[56]          # the two counters never share a cache line
    uint64_t tail           # elements ever read; only the consumer stores it
    char apart_too[56]
    uint64_t refused        # elements the producer could not place
    uint32_t size           # a power of two
    uint32_t width          # bytes an element
    char *data

cdef int ring_open(Ring *r, uint32_t size, uint32_t width) noexcept nogil
cdef void ring_close(Ring *r) noexcept nogil
cdef uint32_t ring_waiting(Ring *r) noexcept nogil
cdef uint32_t ring_room(Ring *r) noexcept nogil
cdef bint ring_put(Ring *r, const void *items, uint32_t n) noexcept nogil
cdef uint32_t ring_fill(Ring *r, const void *items, uint32_t n) noexcept nogil
cdef uint32_t ring_take(Ring *r, void *into, uint32_t n) noexcept nogil
cdef void ring_drop(Ring *r) noexcept nogil
