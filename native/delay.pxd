"""How late the packets of a stream come, and the playout delay that is enough for nearly all of them."""

from libc.stdint cimport int64_t

cdef enum:
    BINS = 78               # of 5 ms: 390 ms

cdef struct Delay:          # times and spans in samples at the leg's rate
    int rate
    int unit                # 5 ms
    bint known
    int64_t least           # smallest transit (arrival less timestamp) of this window
    int64_t before          # and of the one before
    int64_t base            # the smaller of the two: transit of the fastest packets
    int64_t since           # when this window began
    int64_t last            # newest arrival
    int count               # packets in this window
    int level               # bin in which the percentile lies
    int target              # the delay that is enough
    double weight           # of the newest packet
    double total
    double share[BINS]      # relative delays, older ones weigh less

cdef void delay_open(Delay *d, int rate) noexcept nogil
cdef void delay_rebase(Delay *d, int64_t transit, int64_t t) noexcept nogil
cdef int64_t delay_packet(Delay *d, int64_t s, int64_t t, bint late) noexcept nogil
