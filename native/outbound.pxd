"""A leg's way out, once in 20 ms."""

from libc.stdint cimport int64_t

from native.desk cimport Desk
from native.io cimport Io
from native.leg cimport Leg

cdef void leg_send(Desk *d, Leg *l, Io *io, int64_t now) noexcept nogil
cdef void leg_report(Leg *l, Io *io, bint bye, int64_t now) noexcept nogil
