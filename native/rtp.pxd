"""RTP packets (RFC 3550), receiver statistics, and named telephone events (RFC 4733)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    RTP_HEADER = 12

cdef struct RtpPacket:
    int payload             # payload type
    bint marker
    uint16_t seq
    uint32_t stamp
    uint32_t ssrc
    const uint8_t *data
    int size                # octets of payload, padding taken off

cdef struct RtpSource:
    bint known
    uint32_t ssrc
    int64_t first           # extended sequence numbers
    int64_t highest
    uint64_t seen           # bit k: highest - k was received
    int64_t received
    int64_t duplicate
    int64_t stamp           # extended timestamp of the newest packet
    int64_t transit
    int64_t gaps            # runs of numbers that were passed over
    int64_t restarts        # of the numbering under one SSRC
    bint doubted            # a packet far off came; one that follows it shows a new numbering
    uint16_t bad
    double jitter           # RFC 3550 section 6.4.1, in timestamp units

cdef struct KeyIn:
    bint known
    bint ended
    uint32_t stamp
    uint32_t duration
    int event

cdef enum:
    SEQ_NEW = 0
    SEQ_OLD = 1             # behind the newest, not seen before
    SEQ_DUPLICATE = 2

cdef bint rtp_parse(const uint8_t *octets, int n, RtpPacket *p) noexcept nogil
cdef void rtp_header(uint8_t *out, int payload, bint marker, uint16_t seq, uint32_t stamp, uint32_t ssrc) noexcept nogil
cdef int source_packet(RtpSource *s, const RtpPacket *p, int64_t arrival_units) noexcept nogil
cdef int64_t source_lost(const RtpSource *s) noexcept nogil
cdef int64_t source_stamp(RtpSource *s, uint32_t stamp) noexcept nogil
cdef int key_packet(KeyIn *k, const RtpPacket *p) noexcept nogil
cdef void key_payload(uint8_t *out, int event, bint end, int duration) noexcept nogil
