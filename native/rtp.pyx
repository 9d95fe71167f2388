# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""RTP header work. Sizes are octets; timestamps count ticks of the codec's clock."""


cdef enum:
    DROPOUT = 3000              # sequence numbers a stream may jump ahead
    OLD = 80000                 # ticks that a reordered key's packet may be late: 10 s at 8 kHz


cdef bint rtp_parse(const uint8_t *octets, int n, RtpPacket *p) noexcept nogil:
    """RFC 3550 section 5.1. False for what is not RTP version 2 or has lengths that can't be."""
    cdef int at = RTP_HEADER + 4 * (octets[0] & 15) if n >= RTP_HEADER else 0
    cdef int padding
    if n < RTP_HEADER or octets[0] >> 6 != 2 or at > n:
        return False
    if octets[1] >= 192 and octets[1] <= 223:   # RTCP sent to the RTP port (RFC 5761 section 4)
        return False
    if octets[0] & 0x10:
        if at + 4 > n:
            return False
        at += 4 + 4 * (octets[at + 2] << 8 | octets[at + 3])
        if at > n:
            return False
    p.size = n - at
    if octets[0] & 0x20:
        padding = octets[n - 1]
        if padding == 0 or padding > p.size:
            return False
        p.size -= padding
    p.marker = octets[1] >> 7
    p.payload = octets[1] & 0x7F
    p.seq = <uint16_t>(octets[2] << 8 | octets[3])
    p.stamp = <uint32_t>octets[4] << 24 | <uint32_t>octets[5] << 16 | <uint32_t>octets[6] << 8 | octets[7]
    p.ssrc = <uint32_t>octets[8] << 24 | <uint32_t>octets[9] << 16 | <uint32_t>octets[10] << 8 | octets[11]
    p.data = octets + at
    return True


cdef void rtp_header(uint8_t *out, int payload, bint marker, uint16_t seq, uint32_t stamp, uint32_t ssrc) noexcept nogil:
    """Twelve octets: version 2, no padding, extension or contributors."""
    cdef int k
    out[0] = 0x80
    out[1] = <uint8_t>((0x80 if marker else 0) | payload)
    out[2] = <uint8_t>(seq >> 8)
    out[3] = <uint8_t>seq
    for k in range(4):
        out[4 + k] = <uint8_t>(stamp >> (24 - 8 * k))
        out[8 + k] = <uint8_t>(ssrc >> (24 - 8 * k))


cdef int doubt(RtpSource *s, const RtpPacket *p, int64_t arrival_units) noexcept nogil:
    """A sequence number far from the newest: two in a row are a sender that began anew."""
    if s.doubted and p.seq == s.bad:
        s.known = s.doubted = False
        s.restarts += 1
        return source_packet(s, p, arrival_units)
    s.doubted = True
    s.bad = <uint16_t>(p.seq + 1)
    return SEQ_DUPLICATE


cdef int source_packet(RtpSource *s, const RtpPacket *p, int64_t arrival_units) noexcept nogil:
    """Takes one packet into the statistics of its source; a new SSRC starts them again. Gives a SEQ_ value."""
    cdef int64_t seq, ahead, transit, change
    if not s.known or s.ssrc != p.ssrc:
        s.known = True
        s.doubted = False
        s.gaps = 0
        s.ssrc = p.ssrc
        s.highest = s.first = p.seq + 65536
        s.stamp = p.stamp
        s.seen = 1
        s.received = 1
        s.duplicate = 0
        s.jitter = 0
        s.transit = arrival_units - s.stamp
        return SEQ_NEW
    ahead = <uint16_t>(p.seq - <uint16_t>s.highest)
    if ahead > 32767:
        ahead -= 65536
    if ahead <= 0:
        if ahead <= -64:                # too old to tell, unless the next one follows it (RFC 3550 appendix A.1)
            return doubt(s, p, arrival_units)
        if s.seen >> -ahead & 1:
            s.duplicate += 1
            return SEQ_DUPLICATE
        s.seen |= <uint64_t>1 << -ahead
        s.received += 1
        return SEQ_OLD
    if ahead > DROPOUT:
        return doubt(s, p, arrival_units)
    s.doubted = False
    s.gaps += ahead > 1
    s.seen = (s.seen << ahead | 1) if ahead < 64 else 1
    s.highest += ahead
    s.received += 1
    s.stamp = source_stamp(s, p.stamp)
    transit = arrival_units - s.stamp
    change = transit - s.transit
    s.transit = transit
    if change < 0:
        change = -change
    s.jitter += (change - s.jitter) / 16.0
    return SEQ_NEW


cdef int64_t source_lost(const RtpSource *s) noexcept nogil:
    """Expected less received, since the first packet (RFC 3550 appendix A.3); never negative."""
    cdef int64_t lost = s.highest - s.first + 1 - s.received
    return lost if s.known and lost > 0 else 0


cdef int64_t source_stamp(RtpSource *s, uint32_t stamp) noexcept nogil:
    """A 32-bit timestamp made 64 bits wide, nearest to the newest one."""
    return s.stamp + <int64_t><int32_t>(stamp - <uint32_t>s.stamp)


cdef int key_packet(KeyIn *k, const RtpPacket *p) noexcept nogil:
    """RFC 4733: the event code (0-15) when this packet begins a key, -1 when it goes on with one or is not a key,
    -2 when it can't be read.

    One key is known by its timestamp; a long key's next segment (section 2.5.1.3) begins where the last one ended.
    """
    cdef int event
    cdef uint32_t duration, since
    if p.size < 4:
        return -2
    event = p.data[0]
    duration = <uint32_t>(p.data[2] << 8 | p.data[3])
    if event > 15:
        return -1
    since = p.stamp - k.stamp
    if k.known and since == 0:
        if duration > k.duration:
            k.duration = duration
        k.ended = k.ended or p.data[1] & 0x80
        return -1
    if k.known and <int32_t>since < 0 and <int32_t>since > -OLD:
        return -1                           # an older key's packet, reordered
    if k.known and not k.ended and event == k.event and k.duration >= 0xF000 and since <= 0xFFFF + 800:
        k.stamp = p.stamp
        k.duration = duration
        k.ended = p.data[1] & 0x80
        return -1
    k.known = True
    k.stamp = p.stamp
    k.event = event
    k.duration = duration
    k.ended = p.data[1] & 0x80
    return event


cdef void key_payload(uint8_t *out, int event, bint end, int duration) noexcept nogil:
    """Four octets: event, end bit and volume 10 (-10 dBm0), duration in timestamp units."""
    out[0] = <uint8_t>event
    out[1] = <uint8_t>((0x80 if end else 0) | 10)
    out[2] = <uint8_t>(duration >> 8)
    out[3] = <uint8_t>duration
