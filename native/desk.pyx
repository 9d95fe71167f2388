# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Events from the engine's thread to the one that commands it."""

from native.rings cimport ring_put


cdef void post(Desk *d, int32_t kind, int32_t leg, int64_t at, int64_t a, int64_t b) noexcept nogil:
    """One event up. When the ring is full the event is counted, and RING_FULL is the next that fits."""
    cdef Event event
    if d.events_full:
        event = Event(RING_FULL, leg, at, FULL_EVENTS, d.events_refused)
        if not ring_put(&d.events, &event, 1):
            d.events_refused += 1
            return
        d.events_full = False
    event = Event(kind, leg, at, a, b)
    if not ring_put(&d.events, &event, 1):
        d.events_full = True
        d.events_refused += 1
        d.ring_full += 1
    d.posted += 1
