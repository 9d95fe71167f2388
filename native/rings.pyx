# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Lock-free single-producer single-consumer ring (Lamport 1977; release/acquire as in C11)."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from native.clib cimport ACQUIRE, RELAXED, RELEASE, load64, store64


cdef int ring_open(Ring *r, uint32_t size, uint32_t width) noexcept nogil:
    """Allocates `size` (a power of two) elements of `width` bytes. 0, or -1 where there is no memory."""
    memset(r, 0, sizeof(Ring))
    r.size = size
    r.width = width
    r.data = <char *>calloc(size, width)
    return 0 if r.data != NULL else -1


cdef void ring_close(Ring *r) noexcept nogil:
    free(r.data)
    r.data = NULL


cdef uint32_t ring_waiting(Ring *r) noexcept nogil:
    """Elements ready to be read. For either side."""
    return <uint32_t>(load64(&r.head, ACQUIRE) - load64(&r.tail, ACQUIRE))


cdef uint32_t ring_room(Ring *r) noexcept nogil:
    return r.size - ring_waiting(r)


cdef void copy_in(Ring *r, uint64_t at, const char *items, uint32_t n) noexcept nogil:
    cdef uint32_t start = <uint32_t>at & (r.size - 1)
    cdef uint32_t first = r.size - start
    if first > n:
        first = n
    memcpy(r.data + <size_t>start * r.width, items, <size_t>first * r.width)
    if n > first:
        memcpy(r.data, items + <size_t>first * r.width, <size_t>(n - first) * r.width)


cdef bint ring_put(Ring *r, const void *items, uint32_t n) noexcept nogil:
    """Producer: all `n` elements or none; what is refused is counted."""
    cdef uint64_t head = load64(&r.head, RELAXED)
    if r.size - <uint32_t>(head - load64(&r.tail, ACQUIRE)) < n:
        r.refused += n
        return False
    copy_in(r, head, <const char *>items, n)
    store64(&r.head, head + n, RELEASE)
    return True


cdef uint32_t ring_fill(Ring *r, const void *items, uint32_t n) noexcept nogil:
    """Producer: as many elements as fit; gives how many."""
    cdef uint64_t head = load64(&r.head, RELAXED)
    cdef uint32_t room = r.size - <uint32_t>(head - load64(&r.tail, ACQUIRE))
    if room < n:
        r.refused += n - room
        n = room
    copy_in(r, head, <const char *>items, n)
    store64(&r.head, head + n, RELEASE)
    return n


cdef uint32_t ring_take(Ring *r, void *into, uint32_t n) noexcept nogil:
    """Consumer: up to `n` elements; gives how many."""
    cdef uint64_t tail = load64(&r.tail, RELAXED)
    cdef uint32_t ready = <uint32_t>(load64(&r.head, ACQUIRE) - tail)
    cdef uint32_t start, first
    if ready < n:
        n = ready
    start = <uint32_t>tail & (r.size - 1)
    first = r.size - start
    if first > n:
        first = n
    memcpy(into, r.data + <size_t>start * r.width, <size_t>first * r.width)
    if n > first:
        memcpy(<char *>into + <size_t>first * r.width, r.data, <size_t>(n - first) * r.width)
    store64(&r.tail, tail + n, RELEASE)
    return n


cdef void ring_drop(Ring *r) noexcept nogil:
    """Consumer: forgets everything that waits."""
    store64(&r.tail, load64(&r.head, ACQUIRE), RELEASE)
