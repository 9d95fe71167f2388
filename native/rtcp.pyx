# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Compound RTCP packets written and read, one leg with one peer. Times are ns of CLOCK_MONOTONIC; `wall_ntp` is the
wall clock as a 64-bit NTP timestamp (seconds since 1900 in the upper half) of the same moment.
"""

from libc.string cimport memcpy, memset

cdef enum:
    SR = 200
    RR = 201
    SDES = 202
    BYE = 203
    APP = 204
    FEEDBACK = 205          # transport layer, RFC 4585; 206: payload specific
    FEEDBACK_LAST = 206
    XR = 207                # RFC 3611
    BLOCK = 24              # octets of a report block
    SENDER = 20             # of the sender's part of an SR

cdef int64_t SECOND = 1_000_000_000
cdef int64_t SINCE_1900 = 2_208_988_800     # seconds, at the beginning of 1970
cdef int64_t UNHEARD_OF = 60 * 65536        # a round trip of a minute is a clock that was set
cdef uint32_t TO_NOUGHT = 0xFFFFFFFF - 655  # up to 10 ms below nought are clocks that are rounded
cdef double MINIMUM = 5e9                   # ns between reports (RFC 3550 section 6.2)
cdef double COMPENSATION = 1.21828          # e - 3/2 (section 6.3.1)
cdef const char *LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


cdef int64_t ntp_time(int64_t unix_ns) noexcept nogil:
    """NTP timestamp of a time in ns since 1970."""
    cdef uint64_t seconds = <uint64_t>(unix_ns // SECOND + SINCE_1900)
    cdef uint64_t part = <uint64_t>(unix_ns % SECOND)
    return <int64_t>(seconds << 32 | (part << 32) // <uint64_t>SECOND)


cdef inline void put32(uint8_t *out, uint32_t value) noexcept nogil:
    out[0] = <uint8_t>(value >> 24)
    out[1] = <uint8_t>(value >> 16)
    out[2] = <uint8_t>(value >> 8)
    out[3] = <uint8_t>value


cdef inline uint32_t get32(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef uint64_t draw(Rtcp *r) noexcept nogil:
    """SplitMix64."""
    cdef uint64_t z
    r.random += <uint64_t>0x9E3779B97F4A7C15
    z = r.random
    z = (z ^ z >> 30) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ z >> 27) * <uint64_t>0x94D049BB133111EB
    return z ^ z >> 31


cdef void rtcp_open(Rtcp *r, uint64_t seed) noexcept nogil:
    """A leg as new. `seed`: 64 bits nobody can guess, they make the CNAME."""
    cdef uint64_t bits = 0
    cdef int k
    memset(r, 0, sizeof(Rtcp))
    r.random = seed
    r.rtt = -1
    for k in range(CNAME):
        if k % 8 == 0:
            bits = draw(r)
        r.cname[k] = LETTERS[bits & 63]
        bits >>= 6


# --- when ---


cdef bint rtcp_due(Rtcp *r, int64_t now) noexcept nogil:
    """True once each interval: 5 s by 0.5 to 1.5, over 1.21828; the first after half of that (sections 6.2, 6.3.1)."""
    cdef double part = 0.5 + <double>(draw(r) >> 11) / 9007199254740992.0 if r.next_at <= now else 0
    cdef int64_t interval = <int64_t>(MINIMUM * part / COMPENSATION)
    if r.next_at > now:
        return False
    if r.next_at == 0:
        r.next_at = now + interval // 2
        return False
    r.next_at = now + interval
    return True


# --- writing ---


cdef inline void head(uint8_t *out, int count, int kind, int octets) noexcept nogil:
    """The common header of a packet of `octets`, a multiple of four."""
    out[0] = <uint8_t>(0x80 | count)
    out[1] = <uint8_t>kind
    out[2] = <uint8_t>((octets // 4 - 1) >> 8)
    out[3] = <uint8_t>(octets // 4 - 1)


cdef uint8_t fraction_lost(Rtcp *r, int64_t expected, int64_t received) noexcept nogil:
    """Lost of expected since the last report, in 256ths (appendix A.3); then this report is the last one."""
    cdef int64_t due = expected - r.prior_expected
    cdef int64_t lost = due - (received - r.prior_received)
    r.prior_expected = expected
    r.prior_received = received
    if due <= 0 or lost <= 0:
        return 0
    return <uint8_t>(lost * 256 // due) if lost < due else 255


cdef int block(Rtcp *r, const RtpSource *s, int64_t now, uint8_t *out) noexcept nogil:
    """The report block of section 6.4.1. Its octets, or 0 where nothing came since the last report."""
    cdef int64_t expected = s.highest - s.first + 1
    cdef int64_t received = s.received + s.duplicate
    cdef int64_t lost = expected - received
    cdef int64_t since
    if not s.known:
        return 0
    if r.prior_ssrc != s.ssrc or received < r.prior_received:
        r.prior_ssrc = s.ssrc
        r.prior_expected = r.prior_received = 0
    if received == r.prior_received:
        return 0
    lost = 0x7FFFFF if lost > 0x7FFFFF else -0x800000 if lost < -0x800000 else lost
    memset(out, 0, BLOCK)
    put32(out, s.ssrc)
    put32(out + 4, <uint32_t>(lost & 0xFFFFFF))
    out[4] = fraction_lost(r, expected, received)
    put32(out + 8, <uint32_t>(s.highest - 65536))
    put32(out + 12, <uint32_t>s.jitter)
    if r.sr_middle != 0 and r.sr_ssrc == s.ssrc:
        since = now - r.sr_at
        put32(out + 16, r.sr_middle)
        put32(out + 20, <uint32_t>(since // SECOND * 65536 + since % SECOND * 65536 // SECOND))
    return BLOCK


cdef void sender_part(const Sent *sent, int64_t now, int64_t wall_ntp, uint8_t *out) noexcept nogil:
    """Twenty octets: this moment on the wall and on our RTP clock, packets and octets sent."""
    cdef int64_t since = now - sent.stamp_at
    cdef int64_t ticks = since // SECOND * sent.clock + since % SECOND * sent.clock // SECOND
    put32(out, <uint32_t>(<uint64_t>wall_ntp >> 32))
    put32(out + 4, <uint32_t>wall_ntp)
    put32(out + 8, sent.stamp + <uint32_t>ticks)
    put32(out + 12, <uint32_t>sent.packets)
    put32(out + 16, <uint32_t>sent.octets)


cdef int rtcp_write(Rtcp *r, const RtpSource *source, const Sent *sent, int64_t now, int64_t wall_ntp,
                    uint8_t *out, int room) noexcept nogil:
    """SR (RR where nothing was sent since the report before the last one) and SDES. Octets; 0: `room` is too small."""
    cdef bint sender = sent.packets > r.prior_packets[1]
    cdef int size = 8 + (SENDER if sender else 0)
    cdef int blocks
    if room < RTCP_LARGEST - 8:
        return 0
    blocks = block(r, source, now, out + size)
    if sender:
        sender_part(sent, now, wall_ntp, out + 8)
    size += blocks
    head(out, blocks // BLOCK, SR if sender else RR, size)
    put32(out + 4, sent.ssrc)
    out += size
    memset(out, 0, 28)
    head(out, 1, SDES, 28)
    put32(out + 4, sent.ssrc)
    out[8] = 1                              # CNAME; two octets of nought end the list
    out[9] = CNAME
    memcpy(out + 10, r.cname, CNAME)
    r.prior_packets[1] = r.prior_packets[0]
    r.prior_packets[0] = sent.packets
    r.written += 1
    return size + 28


cdef int rtcp_bye(Rtcp *r, const RtpSource *source, const Sent *sent, int64_t now, int64_t wall_ntp,
                  uint8_t *out, int room) noexcept nogil:
    """The last report with BYE behind it (section 6.6). Octets; 0: `room` is too small."""
    cdef int size
    if room < RTCP_LARGEST:
        return 0
    size = rtcp_write(r, source, sent, now, wall_ntp, out, room)
    head(out + size, 1, BYE, 8)
    put32(out + size + 4, sent.ssrc)
    return size + 8


# --- reading ---


cdef int body_of(const uint8_t *at, int left) noexcept nogil:
    """Octets of the packet at `at` without padding, its header with it; -1 where its lengths can't be.

    Only the last packet of a compound may be padded (section 6.4.1).
    """
    cdef int size, padding
    if left < 4 or at[0] >> 6 != 2 or at[1] < 192 or at[1] > 223:
        return -1
    size = 4 + 4 * (at[2] << 8 | at[3])
    if size > left:
        return -1
    if at[0] & 0x20:
        padding = at[size - 1]
        if size != left or padding == 0 or padding % 4 or padding > size - 4:
            return -1
        return size - padding
    return size


cdef int least(int kind, int count) noexcept nogil:
    """Octets a packet of this type needs for what it counts (sections 6.4 to 6.7, RFC 4585, RFC 3611)."""
    if kind == SR:
        return 8 + SENDER + BLOCK * count
    if kind == RR:
        return 8 + BLOCK * count
    if kind == SDES:
        return 4 + 8 * count                # a chunk has an SSRC and at least a word
    if kind == BYE:
        return 4 + 4 * count
    if kind == APP or kind == FEEDBACK or kind == FEEDBACK_LAST:
        return 12
    return 8 if kind == XR else 4


cdef bint compound(const uint8_t *octets, int n) noexcept nogil:
    """True when all `n` octets are packets whose lengths add up. One that begins with no report is taken (RFC 5506)."""
    cdef int at = 0, size
    while at < n:
        size = body_of(octets + at, n - at)
        if size < 0 or size < least(octets[at + 1], octets[at] & 31):
            return False
        at += 4 + 4 * (octets[at + 2] << 8 | octets[at + 3])
    return n > 0


cdef void take_block(Rtcp *r, const uint8_t *at, int64_t wall_ntp) noexcept nogil:
    """A report block about our stream, come at `wall_ntp`."""
    cdef uint32_t now = <uint32_t>(<uint64_t>wall_ntp >> 16)
    cdef uint32_t trip
    r.reported = True
    r.remote_fraction = at[4] / <float>256
    r.remote_lost = <int32_t>(get32(at + 4) << 8) >> 8
    r.remote_highest = get32(at + 8)
    r.remote_jitter = get32(at + 12)
    if get32(at + 16) == 0:
        return
    trip = now - get32(at + 16) - get32(at + 20)
    if trip > TO_NOUGHT:
        trip = 0
    if trip < UNHEARD_OF:
        r.rtt = <int64_t>trip * SECOND // 65536


cdef void take(Rtcp *r, const uint8_t *at, uint32_t own_ssrc, int64_t now, int64_t wall_ntp) noexcept nogil:
    """One packet whose lengths were checked. What bears our own SSRC came back to us and says nothing."""
    cdef int kind = at[1], count = at[0] & 31
    cdef int k, blocks = 8 + (SENDER if kind == SR else 0)
    if kind == BYE:
        for k in range(count):
            if get32(at + 4 + 4 * k) != own_ssrc:
                r.goodbye = True
                r.gone = get32(at + 4 + 4 * k)
    if (kind != SR and kind != RR) or get32(at + 4) == own_ssrc:
        return
    if kind == SR:
        r.sr_ssrc = get32(at + 4)
        r.sr_middle = get32(at + 8) << 16 | get32(at + 12) >> 16
        r.sr_at = now
    for k in range(count):
        if get32(at + blocks + BLOCK * k) == own_ssrc:
            take_block(r, at + blocks + BLOCK * k, wall_ntp)


cdef bint rtcp_read(Rtcp *r, const uint8_t *octets, int n, uint32_t own_ssrc, int64_t now,
                    int64_t wall_ntp) noexcept nogil:
    """Takes a compound packet in; False for garbage, of which nothing is taken.

    SDES, APP, XR (RFC 3611), feedback (RFC 4585) and unknown types are stepped over.
    """
    cdef int at = 0
    if not compound(octets, n):
        r.garbage += 1
        return False
    while at < n:
        take(r, octets + at, own_ssrc, now, wall_ntp)
        at += 4 + 4 * (octets[at + 2] << 8 | octets[at + 3])
    r.taken += 1
    return True


# --- for Python ---


cdef class RtcpState:
    """RTCP of one leg. `seed`: 64 bits."""

    cdef Rtcp r

    def __cinit__(self, uint64_t seed):
        rtcp_open(&self.r, seed)

    def due(self, int64_t now):
        """True once each interval (5 s, randomized); the first call only sets the clock."""
        return bool(rtcp_due(&self.r, now))

    def write(self, dict sent, dict source, int64_t now, int64_t wall_ntp, bint bye=False, int room=RTCP_LARGEST):
        """A compound packet; b"" where it does not fit in `room` octets.

        `sent` holds the fields of Sent, `source` ssrc, first, highest (extended sequence numbers from 65536 on),
        received, duplicate and jitter of RtpSource; an empty one is a peer nobody heard yet.
        """
        cdef Sent ours
        cdef RtpSource theirs
        cdef uint8_t out[2048]
        memset(&theirs, 0, sizeof(theirs))
        memset(&ours, 0, sizeof(ours))
        ours.ssrc, ours.stamp, ours.stamp_at = sent["ssrc"], sent["stamp"], sent["stamp_at"]
        ours.clock, ours.packets, ours.octets = sent["clock"], sent["packets"], sent["octets"]
        if source:
            theirs.known = True
            theirs.ssrc, theirs.first, theirs.highest = source["ssrc"], source["first"], source["highest"]
            theirs.received, theirs.duplicate = source["received"], source["duplicate"]
            theirs.jitter = source["jitter"]
        room = min(room, <int>sizeof(out))
        size = (rtcp_bye if bye else rtcp_write)(&self.r, &theirs, &ours, now, wall_ntp, out, room)
        return out[:size]

    def read(self, const uint8_t[::1] octets, unsigned int own_ssrc, int64_t now, int64_t wall_ntp):
        """False for garbage."""
        cdef const uint8_t *first = &octets[0] if octets.shape[0] else NULL
        return bool(rtcp_read(&self.r, first, <int>octets.shape[0], own_ssrc, now, wall_ntp))

    @property
    def remote(self):
        """What the peer said of our stream: fraction (0..1), lost, jitter (ticks), highest, rtt (ns, -1: unknown)."""
        return {
            "reported": bool(self.r.reported),
            "fraction": self.r.remote_fraction,
            "lost": self.r.remote_lost,
            "jitter": self.r.remote_jitter,
            "highest": self.r.remote_highest,
            "rtt": self.r.rtt,
        }

    @property
    def goodbye(self):
        """The SSRC that said BYE, or None."""
        return self.r.gone if self.r.goodbye else None

    @property
    def cname(self):
        return (<bytes>self.r.cname[:CNAME]).decode()

    @property
    def counters(self):
        return {"written": self.r.written, "taken": self.r.taken, "garbage": self.r.garbage}


def ntp(int64_t unix_ns):
    """64-bit NTP timestamp of a time in ns since 1970, as a signed number."""
    return ntp_time(unix_ns)
