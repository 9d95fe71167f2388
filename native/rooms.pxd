"""Rooms as the commanding thread sees them."""

from native.machines cimport Machines
from native.room cimport Link

cdef class Rooms(Machines):
    cdef dict seatings          # room -> (Seating, thread, address), None before its first member
    cdef dict homes             # leg -> room
    cdef int next_room

    cdef int sit(self, leg, seating, int home, at, int seat, bint new) except -1
    cdef int far(self, leg, Link *link) except -1
    cdef Link *new_link(self, seating, leg) except NULL
