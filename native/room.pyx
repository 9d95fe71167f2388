# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Rooms. Every leg makes one frame in each 20 ms at a sub-tick of its own and hears, at another, the newest frame of each
seat it listens to. The order of sub-ticks never changes, so between two frames out there is exactly one frame in of
every other seat: nobody needs a queue, and a change of seats or of who hears whom neither loses nor doubles a frame.
"""

from libc.string cimport memcpy, memset

from native.clib cimport ACQUIRE, load32
from native.mix cimport mix_add, mix_out
from native.resample cimport double_rate, halve_rate
from native.rings cimport ring_put, ring_take, ring_waiting

cdef enum:
    WAITING = 3             # parcels from another thread; one more than needed at either end of the jitter between threads


cdef void voice_take(Voice *v, int16_t *frame, bint wide, bint both) noexcept nogil:
    """This tick's frame: 160 samples, or 320 where `wide`, which stay where they are for 20 ms. Made at the other rate too
    where somebody listens at that one (`both`)."""
    v.wide = wide
    if wide:
        v.broad = frame
        v.narrow = v.other
    else:
        v.narrow = frame
        v.broad = v.other
    if both and not v.both:
        memset(&v.doubler, 0, sizeof(Doubler))
        memset(&v.halver, 0, sizeof(Halver))
    v.both = both
    if not both:
        return
    if wide:
        halve_rate(&v.halver, v.broad, v.narrow, WIDE)
    else:
        double_rate(&v.doubler, v.narrow, v.broad, FRAME)


cdef void room_settle(Room *r) noexcept nogil:
    """After seats changed: which are taken, and which at 16 kHz."""
    cdef int k
    r.taken = r.wide = 0
    for k in range(SEATS):
        if r.seats[k].taken:
            r.taken |= <uint16_t>(1 << k)
            r.wide |= <uint16_t>((1 if r.seats[k].wide else 0) << k)


cdef void room_mix(Room *r, int seat, int16_t *out) noexcept nogil:
    """What this seat hears now, at its rate: the sum of those it listens to, held within 16 bits."""
    cdef int32_t total[WIDE]
    cdef Seat *listener = &r.seats[seat]
    cdef int n = WIDE if listener.wide else FRAME, k, sources = 0
    cdef int16_t *first = NULL
    cdef int16_t *pcm
    cdef Voice *v
    cdef uint16_t heard = listener.hears & r.taken
    for k in range(SEATS):
        if not heard >> k & 1:
            continue
        v = r.seats[k].voice
        if v.narrow == NULL or (v.wide != listener.wide and not v.both):
            continue                    # made at the other rate from its next frame on
        pcm = v.broad if listener.wide else v.narrow
        sources += 1
        if sources == 1:
            first = pcm
            continue
        if sources == 2:
            memset(total, 0, n * sizeof(int32_t))
            mix_add(total, first, n)
        mix_add(total, pcm, n)
    if sources == 0:
        memset(out, 0, n * sizeof(int16_t))
    elif sources == 1:
        memcpy(out, first, n * sizeof(int16_t))
    else:
        mix_out(total, out, n)


# --- between threads ----------------------------------------------------------------------------------------------


cdef void send(Ring *ring, const int16_t *pcm, bint wide) noexcept nogil:
    cdef Parcel parcel
    parcel.wide = wide
    memcpy(parcel.pcm, pcm, (WIDE if wide else FRAME) * sizeof(int16_t))
    ring_put(ring, &parcel, 1)


cdef bint take(Ring *ring, Parcel *parcel) noexcept nogil:
    """The oldest parcel; where too many wait, one of them is passed over."""
    if ring_waiting(ring) > WAITING:
        ring_take(ring, parcel, 1)
    return ring_take(ring, parcel, 1) == 1


cdef void link_send(Link *k, Voice *v) noexcept nogil:
    """The leg's thread: this tick's frame goes to the room."""
    send(&k.to_room, v.broad if v.wide else v.narrow, v.wide)


cdef bint link_take(Link *k, int16_t *out, bint wide) noexcept nogil:
    """The leg's thread: what the room says. False while nothing of this rate came."""
    cdef Parcel parcel
    if not take(&k.to_leg, &parcel) or parcel.wide != wide:
        return False
    memcpy(out, parcel.pcm, (WIDE if wide else FRAME) * sizeof(int16_t))
    return True


cdef void room_far(Room *r, int seat) noexcept nogil:
    """The room's thread, once in 20 ms: a far leg's frame in, its mix out."""
    cdef Seat *s = &r.seats[seat]
    cdef Parcel parcel
    cdef int16_t out[WIDE]
    parcel.wide = s.own.wide
    if take(&s.link.to_room, &parcel):
        memcpy(s.frame, parcel.pcm, sizeof(s.frame))
    else:
        memset(s.frame, 0, sizeof(s.frame))
    voice_take(&s.own, s.frame, parcel.wide, True)
    if s.wide != load32(&s.link.wide, ACQUIRE):
        s.wide = not s.wide
        room_settle(r)
    room_mix(r, seat, out)
    send(&s.link.to_leg, out, s.wide)
