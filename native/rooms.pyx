# cython: language_level=3
"""Rooms: legs that hear each other. A room lives on the thread of its first member."""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc
from libc.string cimport memset

from native.leg cimport Leg
from native.loop cimport Command, DO_FAR, DO_SEAT, DO_STAND
from native.machines cimport Machines
from native.rings cimport ring_open
from native.room cimport Link, Parcel, Room

from native.machines import EngineError, free_link, free_plain
from native.seating import Seating

cdef enum:
    PARCELS = 16


cdef class Rooms(Machines):
    """Who is in which room."""

    def __cinit__(self, *args, **options):
        self.seatings = {}
        self.homes = {}
        self.next_room = 0

    def open_room(self):
        """A room for up to 16 legs; it ends with its last member."""
        self.next_room += 1
        self.seatings[self.next_room] = None
        return self.next_room

    def join(self, int room, leg, heard_by=None):
        """The leg hears all members, and is heard by all, by none ([]: monitor) or by some ([agent]: whisper).

        A member that joins again changes who hears it, and no frame is lost. A leg in another room leaves that one.
        """
        cdef Room *memory
        if room not in self.seatings:
            raise EngineError(f"room {room} is not open")
        self.leg(leg)
        self.need(4)
        if self.seatings[room] is not None and self.seatings[room][0].full and self.homes.get(leg) != room:
            raise EngineError(f"room {room} has 16 members already, and holds no more")
        if self.homes.get(leg, room) != room:
            self.leave(leg)
        if self.seatings[room] is None:
            memory = <Room *>calloc(1, sizeof(Room))
            if memory == NULL:
                raise MemoryError
            self.seatings[room] = (Seating(), self.thread_of(leg), <uintptr_t>memory)
            self.buried[<uintptr_t>memory] = (1, free_plain)
        seating, home, at = self.seatings[room]
        new = leg not in seating.legs
        seat = seating.seat(leg, heard_by)
        self.homes[leg] = room
        self.sit(leg, seating, home, at, seat, new)

    cdef int sit(self, leg, seating, int home, at, int seat, bint new) except -1:
        cdef Command c
        cdef Leg *l = self.leg(leg)
        cdef Link *link = NULL
        memset(&c, 0, sizeof(Command))
        if self.thread_of(leg) != home:
            link = <Link *><uintptr_t>seating.links[leg] if not new else self.new_link(seating, leg)
        c.what = DO_SEAT
        c.index = l.index if link == NULL else 0
        c.a = seat
        c.room = <Room *><uintptr_t>at
        c.link = link
        for k, mask in enumerate(seating.masks()):
            c.detail.hears[k] = mask
        self.command(home, &c)
        if link != NULL and new:
            self.far(leg, link)
        return 0

    cdef int far(self, leg, Link *link) except -1:
        cdef Command c
        memset(&c, 0, sizeof(Command))
        c.what = DO_FAR
        c.index = self.leg(leg).index
        c.link = link
        return self.command(self.thread_of(leg), &c)

    cdef Link *new_link(self, seating, leg) except NULL:
        cdef Link *link = <Link *>calloc(1, sizeof(Link))
        if link == NULL or ring_open(&link.to_room, PARCELS, sizeof(Parcel)) or ring_open(&link.to_leg, PARCELS, sizeof(Parcel)):
            raise MemoryError
        seating.links[leg] = <uintptr_t>link
        self.buried[<uintptr_t>link] = (2, free_link)
        return link

    def leave(self, leg):
        """Out of whatever room the leg is in."""
        cdef Command c
        cdef Leg *l = self.leg(leg)
        if leg not in self.homes:
            return
        self.need(2)
        room = self.homes.pop(leg)
        seating, home, at = self.seatings[room]
        memset(&c, 0, sizeof(Command))
        link = seating.links.pop(leg, 0)
        c.what = DO_STAND
        c.index = l.index if not link else 0
        c.a = seating.stand(leg)
        c.room = <Room *><uintptr_t>at
        c.link = <Link *><uintptr_t>link
        c.b = not seating.legs
        for k, mask in enumerate(seating.masks()):
            c.detail.hears[k] = mask
        self.command(home, &c)
        if link:
            self.far(leg, NULL)
        if not seating.legs:
            del self.seatings[room]

    def room_of(self, leg):
        """The room the leg is in, or None."""
        self.leg(leg)
        return self.homes.get(leg)

    def bridge(self, a, b):
        """A room of two: each hears the other, until `unbridge` or the end of either."""
        if a == b:
            raise EngineError("a leg can't be bridged with itself")
        self.leg(a)
        self.leg(b)
        if self.homes.get(a) is not None and self.homes.get(a) == self.homes.get(b):
            return
        self.need(8)
        self.leave(a)
        self.leave(b)
        room = self.open_room()
        self.join(room, a)
        self.join(room, b)

    def unbridge(self, leg):
        """Everybody leaves the room that the leg is in."""
        self.leg(leg)
        room = self.homes.get(leg)
        if room is not None:
            self.need(2 * len(self.seatings[room][0].legs))
            for member in self.seatings[room][0].legs:
                self.leave(member)
