"""RTCP (RFC 3550 section 6): what one leg reports of the stream it hears, and what the peer reports of ours."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from native.rtp cimport RtpSource

cdef enum:
    RTCP_LARGEST = 96       # octets of the longest packet written here: SR with one block, SDES, BYE
    CNAME = 16              # characters: 96 random bits in base 64 (RFC 7022 section 4.2)

cdef struct Sent:           # our own stream, kept by who sends it
    uint32_t ssrc
    uint32_t stamp          # RTP timestamp that belongs to the moment `stamp_at`
    int64_t stamp_at        # ns, CLOCK_MONOTONIC
    int clock               # RTP clock, ticks a second
    int64_t packets
    int64_t octets          # of payload, without headers and padding

cdef struct Rtcp:
    uint64_t random         # state of the generator
    uint8_t cname[CNAME]
    int64_t next_at         # when the next report is due; 0: not decided yet
    int64_t written         # reports sent
    # what the last report said of the source
    uint32_t prior_ssrc
    int64_t prior_expected
    int64_t prior_received
    int64_t prior_packets[2]    # ours, at the last two reports
    # the peer's last sender report
    uint32_t sr_ssrc
    uint32_t sr_middle      # middle 32 bits of its NTP timestamp, for LSR; 0: none came
    int64_t sr_at           # ns, when it came
    # what the peer says of our stream
    bint reported
    float remote_fraction   # 0..1, lost since its report before
    int32_t remote_lost     # since the beginning; negative where duplicates came
    uint32_t remote_jitter  # ticks of our RTP clock
    uint32_t remote_highest # extended sequence number
    int64_t rtt             # ns; -1: unknown
    bint goodbye            # the peer said BYE for `gone`
    uint32_t gone           # SSRC
    int64_t taken           # packets read
    int64_t garbage         # refused

cdef int64_t ntp_time(int64_t unix_ns) noexcept nogil
cdef void rtcp_open(Rtcp *r, uint64_t seed) noexcept nogil
cdef bint rtcp_due(Rtcp *r, int64_t now) noexcept nogil
cdef int rtcp_write(Rtcp *r, const RtpSource *source, const Sent *sent, int64_t now, int64_t wall_ntp,
                    uint8_t *out, int room) noexcept nogil
cdef int rtcp_bye(Rtcp *r, const RtpSource *source, const Sent *sent, int64_t now, int64_t wall_ntp,
                  uint8_t *out, int room) noexcept nogil
cdef bint rtcp_read(Rtcp *r, const uint8_t *octets, int n, uint32_t own_ssrc, int64_t now,
                    int64_t wall_ntp) noexcept nogil
