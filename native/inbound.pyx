# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""From a datagram to the jitter buffer and the ears, as it arrives."""

from libc.stdint cimport int16_t, int32_t, uint16_t, uint32_t
from libc.string cimport memset

from native.clib cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_ns
from native.codec cimport CODEC_NONE, CODECS, codec_decode, codec_samples, coder_reset
from native.desk cimport (
    KEY, PROMPT_MUTED, RTCP_BYE, RTP_BACK, RTP_LATCHED, RTP_LOST, SPEECH_ENDED, SPEECH_STARTED, post,
)
from native.ears cimport HEARD_END, ears_hear, ears_idle
from native.intake cimport intake_next, intake_put, intake_reset
from native.jitter cimport jitter_noise, jitter_put, jitter_reset, jitter_short
from native.latch cimport LATCH_MOVED, LATCH_STRANGER, latch_packet
from native.leg cimport Leg, Timeline, leg_ended, leg_flow
from native.net cimport address_host4, address_port, address_same_host
from native.playout cimport PLAY_BARGE, PLAY_KEYS, playout_skip
from native.resample cimport MOST, Doubler, Halver, double_rate, halve_rate
from native.rtcp cimport ntp_time, rtcp_read
from native.rtp cimport SEQ_DUPLICATE, SEQ_NEW, KeyIn, RtpPacket, key_packet, rtp_parse, source_packet
from native.srtp cimport srtp_open

cdef enum:
    LONGEST = 1920          # samples: 120 ms at 16 kHz
    COMFORT_NOISE = 13

cdef const char *DIGITS = b"0123456789*#ABCD"
cdef int64_t SILENT_NS = 5_000_000_000
cdef int64_t WALL = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC)


cdef inline void refuse(Desk *d, Leg *l) noexcept nogil:
    d.garbage += 1
    l.discarded += 1


cdef void key_down(Desk *d, Leg *l, int digit, int64_t now) noexcept nogil:
    """The caller pressed a key."""
    post(d, KEY, l.handle, now, digit, 1 if l.masked else 0)
    playout_skip(&l.playout, d.prompts, PLAY_KEYS)
    leg_ended(d, l, now, 1)


cdef void take_key(Desk *d, Leg *l, const RtpPacket *p, int64_t now) noexcept nogil:
    cdef int event = key_packet(&l.key, p)
    if event == -2:
        refuse(d, l)
        return
    l.key_at = now
    if event >= 0:
        key_down(d, l, DIGITS[event], now)


cdef void speech(Desk *d, Leg *l, int heard, int64_t now) noexcept nogil:
    cdef bint mutes
    if heard == HEARD_END:
        post(d, SPEECH_ENDED, l.handle, now, l.ears.voiced_steps * 10, 0)
        return
    mutes = l.playout.count > 0 and not l.playout.muted and l.playout.items[l.playout.current].flags & PLAY_BARGE
    if mutes:
        l.playout.muted = True
    post(d, SPEECH_STARTED, l.handle, l.ears.first_at, 1 if mutes else 0, (now - l.ears.first_at) // 1000)
    if mutes:
        post(d, PROMPT_MUTED, l.handle, now, l.playout.items[l.playout.current].token, 0)
    leg_flow(d, l)


# --- audio --------------------------------------------------------------------------------------------------------


cdef int to_wide(Doubler *doubler, const int16_t *pcm, int n, int16_t *out) noexcept nogil:
    cdef int at = 0, part
    while at < n:
        part = n - at if n - at < MOST else MOST
        double_rate(doubler, pcm + at, out + 2 * at, part)
        at += part
    return 2 * n


cdef int to_narrow(Halver *halver, const int16_t *pcm, int n, int16_t *out) noexcept nogil:
    cdef int at = 0, part
    n &= ~1
    while at < n:
        part = n - at if n - at < 2 * MOST else 2 * MOST
        halve_rate(halver, pcm + at, out + at // 2, part)
        at += part
    return n // 2


cdef void audio_in(
    Desk *d, Leg *l, const int16_t *pcm, int n, int64_t sample, bint newest, bint marker, int64_t now
) noexcept nogil:
    """Samples at the rate of the timeline's codec; `sample`: where they belong, at the leg's rate."""
    cdef int16_t made[2 * LONGEST]
    cdef int16_t narrow[LONGEST]
    cdef const int16_t *ears = pcm
    cdef int heard, few = n
    cdef bint wide = CODECS[l.timeline.codec].rate == 16000
    if l.wide:
        if wide:
            few = to_narrow(&l.ear_halver, pcm, n, narrow) if newest else 0
            ears = narrow
        elif n <= LONGEST // 2:
            n = to_wide(&l.in_doubler, pcm, n, made)
            pcm = made
        else:
            audio_in(d, l, pcm, LONGEST // 2, sample, newest, marker, now)
            audio_in(d, l, pcm + LONGEST // 2, n - LONGEST // 2, sample + LONGEST, newest, False, now)
            return
    elif wide:
        n = few = to_narrow(&l.in_halver, pcm, n, made)
        pcm = ears = made
    jitter_put(&l.jitter, sample, pcm, n, marker, now)
    if not newest:
        return
    l.timeline.next = sample + n
    heard = ears_hear(&l.ears, sample // 2 if l.wide else sample, ears, few, now)
    if heard:
        speech(d, l, heard, now)


cdef int64_t sample_of(Leg *l, int codec, int64_t at) noexcept nogil:
    """Where a sample of the codec (at its own rate) stands at the leg's rate. A codec that counts otherwise goes on where the
    one before it ended."""
    cdef Timeline *t = &l.timeline
    if t.codec == CODEC_NONE or CODECS[t.codec].clock != CODECS[codec].clock or CODECS[t.codec].rate != CODECS[codec].rate:
        t.sample = t.next
        t.at = at
    t.codec = codec
    return t.sample + (at - t.at) * (16000 if l.wide else 8000) // CODECS[codec].rate


cdef void leg_decode(Desk *d, Leg *l, bint force, int64_t now) noexcept nogil:
    """What the intake has in order goes to the jitter buffer; `force`: until the next frame is whole, over gaps too."""
    cdef int16_t pcm[LONGEST]
    cdef int64_t at = 0
    cdef bint marker = False
    cdef int n
    while not force or jitter_short(&l.jitter) > 0:
        n = intake_next(&l.intake, &l.coder_in, force, pcm, &at, &marker)
        if n <= 0:
            return
        audio_in(d, l, pcm, n, sample_of(l, l.timeline.codec, at), True, marker, now)


cdef void take_audio(
    Desk *d, Leg *l, const RtpPacket *p, int codec, bint newest, int64_t seq, int64_t stamp, int64_t now
) noexcept nogil:
    cdef int16_t pcm[LONGEST]
    cdef int64_t at = codec_samples(codec, stamp)
    cdef int n
    if codec != l.timeline.codec:
        if not newest:
            l.discarded += 1            # late, of the codec before
            return
        intake_reset(&l.intake)
        coder_reset(&l.coder_in, codec)
        memset(&l.in_doubler, 0, sizeof(Doubler))
        memset(&l.in_halver, 0, sizeof(Halver))
        sample_of(l, codec, at)
    if CODECS[codec].stateful:
        if p.size > 0 and intake_put(&l.intake, seq, at, codec, p.marker, p.data, p.size):
            leg_decode(d, l, False, now)
        else:
            l.discarded += 1
        return
    n = codec_decode(&l.coder_in, codec, p.data, p.size, pcm, LONGEST)
    if n <= 0:
        refuse(d, l)
        return
    audio_in(d, l, pcm, n, sample_of(l, codec, at), newest, p.marker, now)


cdef void pass_over(Desk *d, Leg *l, const RtpPacket *p, int64_t seq, int64_t stamp, int64_t now) noexcept nogil:
    """A packet that carries no audio is no gap to a codec that decodes in order."""
    if CODECS[l.timeline.codec].stateful:
        intake_put(&l.intake, seq, codec_samples(l.timeline.codec, stamp), CODEC_NONE, False, p.data, 0)
        leg_decode(d, l, False, now)


# --- packets ------------------------------------------------------------------------------------------------------


cdef int64_t units(int64_t now, int clock) noexcept nogil:
    """A time in units of an RTP clock."""
    return now // 1000 * (clock // 1000) // 1000


cdef int count(Leg *l, const RtpPacket *p, int codec, int64_t now) noexcept nogil:
    """Takes the packet into the receiver's statistics; gives a SEQ_ value. Only audio that follows audio of the same clock
    is a measure of jitter: every packet of a key carries the time it began."""
    cdef double jitter = l.source.jitter
    cdef int64_t transit = l.source.transit, restarts = l.source.restarts
    cdef int before = l.timeline.codec, order, clock
    if l.source.known and l.source.ssrc != p.ssrc:
        jitter_reset(&l.jitter)
        intake_reset(&l.intake)
        memset(&l.key, 0, sizeof(KeyIn))
        l.timeline.codec = before = CODEC_NONE
    clock = CODECS[codec].clock if codec else CODECS[l.wire.codec].clock
    order = source_packet(&l.source, p, units(now, clock))
    if l.source.restarts != restarts:
        intake_reset(&l.intake)
        memset(&l.key, 0, sizeof(KeyIn))
        l.timeline.codec = before = CODEC_NONE
    if codec == CODEC_NONE:
        l.source.jitter = jitter
        l.source.transit = transit
    elif before == CODEC_NONE:
        l.source.jitter = 0
    elif CODECS[before].clock != clock:
        l.source.jitter = jitter
    return order


cdef bint ours(Desk *d, Leg *l, const Address *source, const RtpPacket *p, int64_t now) noexcept nogil:
    cdef int found = latch_packet(&l.latch, source, &l.wire.signalled, p.ssrc, p.seq, now - l.heard_at, l.srtp != NULL)
    if found == LATCH_MOVED:
        l.wire.to = source[0]
        post(d, RTP_LATCHED, l.handle, now, address_host4(source), address_port(source))
    return found != LATCH_STRANGER


cdef void leg_packet(Desk *d, Leg *l, uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil:
    """One datagram of the RTP port; `octets` is written over where it is encrypted."""
    cdef RtpPacket p
    cdef int order, codec
    cdef int64_t stamp
    cdef bint key, noise
    if n >= 2 and 192 <= octets[1] <= 223:      # RFC 5761 section 4
        leg_control(d, l, octets, n, source, now)
        return
    if l.srtp != NULL:
        n = srtp_open(l.srtp, octets, n, False)
    if n < 0 or not rtp_parse(octets, n, &p):
        refuse(d, l)
        return
    key = p.payload == l.wire.key_payload
    noise = p.payload == COMFORT_NOISE or p.payload == l.wire.noise_payload
    codec = CODEC_NONE if key or noise else l.wire.codecs[p.payload]
    if not l.wire.receive or not (key or noise or codec) or not ours(d, l, source, &p, now):
        l.discarded += 1
        return
    if l.lost:
        l.lost = False
        post(d, RTP_BACK, l.handle, now, (now - l.heard_at) // 1000000, 0)
    l.heard_at = now
    l.octets_in += p.size
    order = count(l, &p, codec, now)
    if order == SEQ_DUPLICATE:
        return
    stamp = l.source.stamp
    if order != SEQ_NEW:
        stamp += <int32_t>(p.stamp - <uint32_t>l.source.stamp)
    if key or noise:
        pass_over(d, l, &p, extended(l, p.seq), stamp, now)
    if key:
        take_key(d, l, &p, now)
    elif noise:
        if l.timeline.codec:
            jitter_noise(
                &l.jitter, sample_of(l, l.timeline.codec, codec_samples(l.timeline.codec, stamp)), p.data, p.size, now
            )
    else:
        take_audio(d, l, &p, codec, order == SEQ_NEW, extended(l, p.seq), stamp, now)


cdef int64_t extended(const Leg *l, uint16_t seq) noexcept nogil:
    """A sequence number near the newest one, without its wrap."""
    cdef int64_t ahead = <uint16_t>(seq - <uint16_t>l.source.highest)
    return l.source.highest + (ahead - 65536 if ahead > 32767 else ahead)


cdef void leg_control(Desk *d, Leg *l, uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil:
    """One datagram of RTCP, from its own port or that of RTP."""
    if not l.wire.known or not address_same_host(source, &l.wire.to):
        l.discarded += 1
        return
    if l.srtp != NULL:
        n = srtp_open(l.srtp, octets, n, True)
    if n < 0 or not rtcp_read(&l.rtcp, octets, n, l.wire.ssrc, now, wall_ntp(now)):
        refuse(d, l)
        return
    l.wire.control = source[0]
    if l.rtcp.goodbye:
        l.rtcp.goodbye = False
        post(d, RTCP_BYE, l.handle, now, 0, 0)


cdef int64_t wall_ntp(int64_t now) noexcept nogil:
    """Wall time as NTP writes it; a wall clock that is set moves nothing here."""
    return ntp_time(now + WALL)


cdef void leg_watch(Desk *d, Leg *l, int64_t now) noexcept nogil:
    """What follows from packets that did not come."""
    if ears_idle(&l.ears, now) == HEARD_END:
        speech(d, l, HEARD_END, now)
    if l.wire.receive and l.wire.known and not l.lost and now - l.heard_at > SILENT_NS:
        l.lost = True
        post(d, RTP_LOST, l.handle, now, 0, 0)
