# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""How late the packets of a stream come, and the playout delay that is enough for nearly all of them.

A packet's relative delay is its transit (arrival less timestamp) less that of the fastest packet of the last 2 to 4 s, so
that a sender's clock may drift. Relative delays are counted in 5 ms bins that forget; the target is the upper edge of the
bin with the 98th percentile, and 5 ms. The scheme is that of WebRTC's NetEQ. A packet counts for as much as it came after
the one before it, 20 ms at most: a network that stood still once is one event, however many packets come at its end.
"""

from libc.string cimport memset

cdef enum:
    WINDOW = 50             # packets a window holds at least

cdef double FORGET = 0.995      # weight of a packet beside the next one
cdef double PERCENTILE = 0.98
cdef double HEAVIEST = 1e6
cdef double PRIOR = 4           # packets believed to have been seen before the first one, 5..10 ms late


cdef void delay_open(Delay *d, int rate) noexcept nogil:
    """Nothing is known: the target is 15 ms."""
    memset(d, 0, sizeof(Delay))
    d.rate = rate
    d.unit = rate // 200
    d.weight = 1
    d.share[1] = d.total = PRIOR
    d.level = 1
    d.target = 3 * d.unit


cdef void delay_rebase(Delay *d, int64_t transit, int64_t t) noexcept nogil:
    """`transit` is the fastest from now on; what is known about the spread stays."""
    d.known = True
    d.least = d.before = d.base = transit
    d.since = d.last = t
    d.count = 0


cdef void settle(Delay *d) noexcept nogil:
    """The bin with the percentile."""
    cdef double sum = 0, enough = PERCENTILE * d.total
    cdef int k
    for k in range(BINS):
        sum += d.share[k]
        if sum >= enough:
            break
    d.level = k if k < BINS else BINS - 1
    d.target = (d.level + 2) * d.unit


cdef void raise_base(Delay *d, int64_t base) noexcept nogil:
    """The fastest packets are slower now: delays measured from them are less, by whole bins."""
    cdef int64_t bins = (base - d.base) // d.unit
    cdef int k, to
    d.base = base
    if bins <= 0:
        return
    for k in range(1, BINS):
        to = k - <int>bins if k > bins else 0
        d.share[to] += d.share[k]
        d.share[k] = 0
    settle(d)


cdef void follow(Delay *d, int64_t transit, int64_t t) noexcept nogil:
    """The fastest transit of two windows of 2 s (and 50 packets) each."""
    if not d.known or t - d.last > 4 * d.rate:
        delay_rebase(d, transit, t)
    elif d.count >= WINDOW and t - d.since >= 2 * d.rate:
        d.before = d.least
        d.least = transit
        d.since = t
        d.count = 0
        raise_base(d, d.before if d.before < transit else transit)
    elif transit < d.least:
        d.least = transit
        d.base = transit if transit < d.base else d.base
    d.last = t
    d.count += 1


cdef void forget(Delay *d) noexcept nogil:
    cdef int k
    for k in range(BINS):
        d.share[k] /= d.weight
    d.total /= d.weight
    d.weight = 1


cdef int64_t delay_packet(Delay *d, int64_t s, int64_t t, bint late) noexcept nogil:
    """A packet with timestamp s came at t; gives its relative delay. One that was too late counts twice."""
    cdef int64_t relative, apart = t - d.last
    cdef int bin, tick = 4 * d.unit
    cdef double weight
    follow(d, t - s, t)
    relative = t - s - d.base
    bin = <int>(relative // d.unit) if relative < BINS * d.unit else BINS - 1
    apart = apart if apart < tick else tick
    apart = apart if apart > tick // 8 else tick // 8
    d.weight /= FORGET
    weight = d.weight * apart / tick
    weight = 2 * weight if late else weight
    d.share[bin] += weight
    d.total += weight
    if d.weight > HEAVIEST:
        forget(d)
    if bin > d.level or d.count & 7 == 0:
        settle(d)
    return relative
