# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Which source is the peer: the signalled address at its first packet, whatever was learnt before; another after three
valid ones in a row, and then it is kept until it is silent for five seconds. `proven` packets (authenticated by SRTP) teach at once, and where keys are set no
other packet gets here.
"""

from libc.string cimport memset

from native.net cimport address_same

cdef enum:
    IN_A_ROW = 3            # valid packets that make a new source the one


cdef void latch_anew(Latch *k) noexcept nogil:
    """The peer said another address. What still comes from the one before does not count for a second."""
    cdef Address former = k.source if k.done else k.former
    memset(k, 0, sizeof(Latch))
    k.former = former


cdef int latch_packet(
    Latch *k, const Address *source, const Address *signalled, uint32_t ssrc, uint16_t seq, int64_t silent_ns, bint proven
) noexcept nogil:
    """Gives a LATCH_ value for one valid packet. `silent_ns`: since the last packet that was this leg's."""
    if k.done and address_same(source, &k.source):
        k.in_a_row = 0
        return LATCH_HEARD
    if k.done and silent_ns < MOVED_NS and not proven and not address_same(source, signalled):
        return LATCH_STRANGER
    if not k.done and silent_ns < LOOSE_NS and address_same(source, &k.former) and not address_same(source, signalled):
        return LATCH_STRANGER
    if k.in_a_row and address_same(source, &k.next) and ssrc == k.next_ssrc and seq == k.next_seq:
        k.in_a_row += 1
    else:
        k.in_a_row = 1
        k.next = source[0]
        k.next_ssrc = ssrc
    k.next_seq = <uint16_t>(seq + 1)
    if proven or k.in_a_row >= IN_A_ROW or address_same(source, signalled):
        k.done = True
        k.in_a_row = 0
        k.source = source[0]
        return LATCH_MOVED
    return LATCH_STRANGER if k.done else LATCH_HEARD    # nothing better is known: it is heard, but not yet answered
