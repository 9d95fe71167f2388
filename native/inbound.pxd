"""A leg's way in."""

from libc.stdint cimport int64_t, uint8_t

from native.desk cimport Desk
from native.leg cimport Leg
from native.net cimport Address

cdef void leg_packet(Desk *d, Leg *l, uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil
cdef void leg_control(Desk *d, Leg *l, uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil
cdef void leg_watch(Desk *d, Leg *l, int64_t now) noexcept nogil
cdef void leg_decode(Desk *d, Leg *l, bint force, int64_t now) noexcept nogil
cdef void key_down(Desk *d, Leg *l, int digit, int64_t now) noexcept nogil
cdef int64_t wall_ntp(int64_t now) noexcept nogil
