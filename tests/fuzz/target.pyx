# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What libFuzzer calls: hostile octets into the C of `native/`, one function a target. `make fuzz` compiles it, with the
units it uses, for coverage feedback and AddressSanitizer. What must hold whatever comes is asserted by abort().

An input is a script: `tests/fuzz/scripts.py` reads the same bytes for the Python faces. Buffers are allocated at their
exact size, so that one octet too many is found.
"""

from libc.stdint cimport int8_t, int16_t, int64_t, uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy, memset

from native.codec cimport (
    CODEC_ROOM, CODECS_KNOWN, Coder, codec_decode, codec_missing, coder_close, coder_open,
)
from native.intake cimport Intake, intake_next, intake_put, intake_reset
from native.jitter cimport Jitter, jitter_noise, jitter_open, jitter_put, jitter_reset, jitter_short, jitter_take
from native.rtcp cimport RTCP_LARGEST, Rtcp, Sent, rtcp_bye, rtcp_open, rtcp_read, rtcp_write
from native.rtp cimport KeyIn, RtpPacket, RtpSource, key_packet, rtp_parse, source_lost, source_packet
from native.srtp cimport SRTP_PROFILES, SRTP_ROOM, Srtp, srtp_create, srtp_destroy, srtp_open, srtp_seal

cdef extern from *:
    """
    static volatile unsigned char trunkline_sink;
    """
    uint8_t trunkline_sink

cdef int64_t TICK = 20_000_000
cdef uint32_t OWN = 0x11111111

cdef struct Script:
    const uint8_t *at
    int left


cdef inline int number(Script *s) noexcept nogil:
    """One octet; 0 at the end."""
    cdef int value
    if s.left == 0:
        return 0
    value = s.at[0]
    s.at += 1
    s.left -= 1
    return value


cdef inline int wide(Script *s) noexcept nogil:
    """Two octets, signed."""
    cdef int high = number(s)
    return <int16_t>(high << 8 | number(s))


cdef uint8_t *chunk(Script *s, int *n, int spare) noexcept nogil:
    """A copy of the next octets, in memory of their very size and `spare` more: a length (255: two more octets), then
    as many as are there."""
    cdef uint8_t *copy
    n[0] = number(s)
    if n[0] == 255:
        n[0] = (number(s) << 8 | number(s)) % 1600
    if n[0] > s.left:
        n[0] = s.left
    copy = <uint8_t *>malloc(n[0] + spare)
    memcpy(copy, s.at, n[0])
    s.at += n[0]
    s.left -= n[0]
    return copy


cdef inline void must(bint so) noexcept nogil:
    if not so:
        abort()


cdef void read_all(const uint8_t *octets, int n) noexcept nogil:
    """Touches every octet."""
    global trunkline_sink
    cdef uint8_t total = 0
    cdef int k
    for k in range(n):
        total ^= octets[k]
    trunkline_sink = total


# --- targets ------------------------------------------------------------------------------------------------------


cdef int rtp(const uint8_t *data, size_t size) noexcept nogil:
    """Packets of one socket: parsed, counted, and taken for keys."""
    cdef Script s = Script(data, <int>size)
    cdef RtpSource source
    cdef KeyIn key
    cdef RtpPacket p
    cdef int64_t arrival = 0
    cdef uint8_t *octets
    cdef int n, event
    memset(&source, 0, sizeof(source))
    memset(&key, 0, sizeof(key))
    while s.left:
        octets = chunk(&s, &n, 0)
        if rtp_parse(octets, n, &p):
            must(p.size >= 0 and p.data >= octets and p.data + p.size <= octets + n and 0 <= p.payload < 128)
            read_all(p.data, p.size)
            source_packet(&source, &p, arrival)
            must(source.known and source.ssrc == p.ssrc and source_lost(&source) >= 0 and source.jitter >= 0)
            event = key_packet(&key, &p)
            must(-2 <= event <= 15)
        arrival += 160
        free(octets)
    return 0


cdef int jitter(const uint8_t *data, size_t size) noexcept nogil:
    """A leg's packets and ticks in any order."""
    cdef Script s = Script(data, <int>size)
    cdef Jitter *j = <Jitter *>malloc(sizeof(Jitter))
    cdef int rate = 16000 if number(&s) & 1 else 8000
    cdef int64_t stamp = 160000, now = 0
    cdef int16_t *pcm
    cdef uint8_t *octets
    cdef int op, n, k, loud
    jitter_open(j, rate)
    while s.left:
        op = number(&s)
        if op & 3 == 0:
            n = 1 + (op >> 2) * 30          # 1 to 1891 samples
            pcm = <int16_t *>malloc(n * sizeof(int16_t))
            loud = number(&s)
            for k in range(n):
                pcm[k] = <int16_t>((k & 31) * loud * 4 - loud * 64)
            stamp += wide(&s)
            jitter_put(j, stamp, pcm, n, op & 4 != 0, now)
            free(pcm)
        elif op & 3 == 1:
            for k in range(1 + (op >> 4)):
                now += TICK
                pcm = <int16_t *>malloc(rate // 50 * sizeof(int16_t))
                jitter_take(j, pcm, op & 4 != 0, now)
                read_all(<uint8_t *>pcm, rate // 50 * <int>sizeof(int16_t))
                free(pcm)
        elif op & 3 == 2:
            octets = chunk(&s, &n, 0)
            if n:
                jitter_noise(j, stamp, octets, n, now)
            free(octets)
        elif op & 4:
            jitter_reset(j)
        elif op & 8:
            stamp += <int64_t>wide(&s) << 16
        else:
            now += <int64_t>number(&s) * 1_000_000
        must(0 <= jitter_short(j) <= rate // 50)
        must(j.late >= 0 and j.concealed >= 0 and j.dropped >= 0 and j.stretched >= 0)
    free(j)
    return 0


cdef int rtcp(const uint8_t *data, size_t size) noexcept nogil:
    """Compound packets read, reports written between them."""
    cdef Script s = Script(data, <int>size)
    cdef Rtcp r
    cdef RtpSource source
    cdef Sent sent = Sent(OWN, 0, 0, 8000, 1, 160)
    cdef int64_t now = TICK
    cdef uint8_t *octets
    cdef int n, op
    rtcp_open(&r, 1)
    memset(&source, 0, sizeof(source))
    while s.left:
        op = number(&s)
        now += <int64_t>(op >> 2) * TICK
        if op & 3 == 3:
            source.known = True
            source.first = 65536
            source.highest = 65536 + (wide(&s) & 0xFFFF)
            source.received += number(&s)
            source.duplicate += op & 4
            sent.packets += 1
            octets = <uint8_t *>malloc(RTCP_LARGEST)
            n = (rtcp_bye if op & 8 else rtcp_write)(&r, &source, &sent, now, now, octets, RTCP_LARGEST)
            must(0 < n <= RTCP_LARGEST and n % 4 == 0)
            must(rtcp_read(&r, octets, n, OWN + 1, now, now))
        else:
            octets = chunk(&s, &n, 0)
            rtcp_read(&r, octets, n, OWN, now, now << 8)
            must(0 <= r.remote_fraction < 1 and r.rtt >= -1)
        free(octets)
    return 0


cdef int intake(const uint8_t *data, size_t size) noexcept nogil:
    """Packets of any codec in any order, decoded in order."""
    cdef Script s = Script(data, <int>size)
    cdef Intake *i = <Intake *>malloc(sizeof(Intake))
    cdef Coder c
    cdef int64_t seq = 1000, stamp = 0
    cdef bint marker = False
    cdef int16_t *pcm
    cdef uint8_t *octets
    cdef int op, n
    coder_open(&c)
    memset(i, 0, sizeof(Intake))
    intake_reset(i)
    while s.left:
        op = number(&s)
        if op & 3 < 2:
            seq += <int8_t>number(&s)
            stamp = seq * 320 + wide(&s)
            octets = chunk(&s, &n, 0)
            intake_put(i, seq, stamp, op >> 2 & 7, op & 0x20 != 0, octets, n)
            free(octets)
        elif op & 3 == 2:
            pcm = <int16_t *>malloc(CODEC_ROOM * sizeof(int16_t))
            n = intake_next(i, &c, op & 4 != 0, pcm, &stamp, &marker)
            must(0 <= n <= CODEC_ROOM)
            read_all(<uint8_t *>pcm, n * <int>sizeof(int16_t))
            free(pcm)
        elif op & 4:
            intake_reset(i)
        else:
            seq += wide(&s)
    coder_close(&c)
    free(i)
    return 0


cdef int srtp(const uint8_t *data, size_t size) noexcept nogil:
    """Packets that claim to be sealed, some of them sealed by us and then bent."""
    cdef Script s = Script(data, <int>size)
    cdef Srtp pair
    cdef uint8_t key[30]
    cdef uint8_t *octets
    cdef int op, n, sealed
    cdef int profile = number(&s) % SRTP_PROFILES
    cdef int length = 28 if profile == 2 else 30
    memset(key, 7, sizeof(key))
    if srtp_create(&pair, profile, key, length, key, length):
        return 0
    while s.left:
        op = number(&s)
        octets = chunk(&s, &n, SRTP_ROOM)
        if op & 2:
            sealed = srtp_seal(&pair, octets, n, op & 1)
            must(sealed == -1 or n < sealed <= n + SRTP_ROOM)
            n = sealed if sealed > 0 else n
            if op & 4:
                octets[number(&s) % n if n else 0] ^= <uint8_t>(1 << (op >> 5))
        must(srtp_open(&pair, octets, n, op & 1) <= n)
        free(octets)
    srtp_destroy(&pair)
    return 0


cdef int codec(const uint8_t *data, size_t size) noexcept nogil:
    """Garbage for every decoder, with losses between."""
    cdef Script s = Script(data, <int>size)
    cdef Coder c
    cdef int16_t *pcm
    cdef uint8_t *octets
    cdef int op, n, got
    coder_open(&c)
    while s.left:
        op = number(&s)
        octets = chunk(&s, &n, 0)
        pcm = <int16_t *>malloc(CODEC_ROOM * sizeof(int16_t))
        if op & 8:
            got = codec_missing(&c, op & 7, octets, n, (op >> 4) * 120, pcm)
        else:
            got = codec_decode(&c, op & 7, octets, n, pcm, CODEC_ROOM)
        must(-1 <= got <= CODEC_ROOM)
        if got > 0:
            read_all(<uint8_t *>pcm, got * <int>sizeof(int16_t))
        free(pcm)
        free(octets)
    coder_close(&c)
    return 0


TARGETS = {
    "rtp": <uintptr_t>&rtp,
    "jitter": <uintptr_t>&jitter,
    "rtcp": <uintptr_t>&rtcp,
    "intake": <uintptr_t>&intake,
    "srtp": <uintptr_t>&srtp,
    "codec": <uintptr_t>&codec,
}
"""Addresses of `int (const uint8_t *, size_t)`."""
