"""Symmetric RTP: where a leg's packets come from, and so where its own go."""

from libc.stdint cimport int64_t, uint16_t, uint32_t

from native.net cimport Address

cdef struct Latch:
    bint done
    Address source          # the one, once `done`
    Address next            # a source that may become the one
    uint32_t next_ssrc
    uint16_t next_seq
    int in_a_row
    Address former          # the source before the peer said another address

cdef enum:
    LATCH_STRANGER = 0      # not this leg's packet
    LATCH_HEARD = 1         # heard; where to send stays as it is
    LATCH_MOVED = 2         # heard, and from now on this source is the one

cdef enum:
    LOOSE_NS = 1000000000   # ... and this long, its socket hears everybody again
    MOVED_NS = 5000000000   # a latched source silent this long may be replaced

cdef void latch_anew(Latch *k) noexcept nogil
cdef int latch_packet(
    Latch *k, const Address *source, const Address *signalled, uint32_t ssrc, uint16_t seq, int64_t silent_ns, bint proven
) noexcept nogil
