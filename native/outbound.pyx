# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A leg's tick: a frame from the jitter buffer, a packet out, and what follows from both."""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t
from libc.string cimport memset

from native.codec cimport CODEC_PCMA, CODEC_PCMU, CODECS, codec_decode, codec_encode
from native.comfort cimport comfort_measure
from native.desk cimport FULL_TAP, RING_FULL, post
from native.dtmf cimport dtmf_hear, dtmf_make
from native.ears cimport ears_played, ears_stand_out
from native.gain cimport gain_hear, gain_level
from native.inbound cimport key_down, leg_decode, leg_watch, wall_ntp
from native.io cimport io_connect, io_room, io_send
from native.jitter cimport jitter_take
from native.latch cimport LOOSE_NS
from native.leg cimport KEYS, PREROLL, KeysOut, leg_ended, leg_push
from native.mix cimport mix_add, mix_out
from native.net cimport Address, address_same
from native.playout cimport playout_over, playout_take
from native.resample cimport double_rate, halve_rate
from native.rings cimport ring_put, ring_take
from native.room cimport FRAME, WIDE, link_send, link_take, room_mix, voice_take
from native.rtcp cimport RTCP_LARGEST, Sent, rtcp_bye, rtcp_due, rtcp_write
from native.rtp cimport RTP_HEADER, key_payload, rtp_header
from native.srtp cimport srtp_seal

cdef enum:
    PACKET = 1400           # octets of payload at most
    GAP = 3                 # ticks between two keys
    HANGOVER = 10           # ticks of silence before comfort noise takes its place
    NOISE_EVERY = 25        # ticks between two packets of it
    SILENCE = 32            # peak of a frame that says nothing
    LONGEST_KEY = 0xFFFF    # units of duration an event packet can tell
    NOISE_ROOM = 11         # octets of a comfort noise payload

cdef const char *DIGITS = b"0123456789*#ABCD"
cdef int64_t KEY_NS = 100_000_000
cdef int16_t QUIET[FRAME]


# --- in from the jitter buffer ------------------------------------------------------------------------------------


cdef int16_t *hear(Desk *d, Leg *l, int n, int64_t now) noexcept nogil:
    """What the leg says this tick, at its rate, to everybody who listens. The frame stays for as long as an utterance may
    reach back."""
    cdef int16_t *frame = l.past[l.past_at]
    cdef int digit
    # A key being pressed takes the place of audio; it is silence, not loss.
    cdef bint keyed = l.key.known and not l.key.ended and now - l.key_at < KEY_NS
    if CODECS[l.timeline.codec].stateful:
        leg_decode(d, l, True, now)
    jitter_take(&l.jitter, frame, keyed, now)
    if l.auto_gain:
        gain_hear(&l.gain, frame, n, ears_stand_out(&l.ears))
    else:
        gain_level(&l.gain, frame, n, ears_stand_out(&l.ears))
    l.past_at = (l.past_at + 1) % PREROLL
    if l.flowing:
        leg_push(d, l, frame)
    voice_take(&l.voice, frame, l.wide, l.wide or (l.room != NULL and l.room.wide & ~(1 << l.seat)))
    if l.tones:
        digit = dtmf_hear(&l.dtmf, l.voice.narrow, FRAME)
        if digit:
            key_down(d, l, digit, now)
    if l.link != NULL:
        link_send(l.link, &l.voice)
    return frame


# --- what is said -------------------------------------------------------------------------------------------------


cdef void live(Leg *l, int16_t *out, int n) noexcept nogil:
    """Audio from Python (8 kHz), silence after it."""
    cdef int16_t narrow[FRAME]
    cdef uint32_t got
    if not l.wide:
        got = ring_take(&l.down, out, FRAME)
        memset(out + got, 0, (FRAME - got) * sizeof(int16_t))
        return
    got = ring_take(&l.down, narrow, FRAME)
    memset(narrow + got, 0, (FRAME - got) * sizeof(int16_t))
    double_rate(&l.down_doubler, narrow, out, FRAME)


cdef void repeat(const int16_t *heard, int16_t *out, int n) noexcept nogil:
    """1 dB softer."""
    cdef int k
    for k in range(n):
        out[k] = <int16_t>((heard[k] * 29205) >> 15)


cdef void background(Desk *d, Leg *l, const int16_t *heard, int16_t *out, int n) noexcept nogil:
    """What the leg would hear without a prompt: its room, its own voice, live audio or silence."""
    if l.room != NULL:
        room_mix(l.room, l.seat, out)
    elif l.link != NULL:
        if not link_take(l.link, out, l.wide):
            memset(out, 0, n * sizeof(int16_t))
    elif l.echoing:
        repeat(heard, out, n)
    elif l.playout.count == 0:
        live(l, out, n)
    else:
        memset(out, 0, n * sizeof(int16_t))


cdef bint say(Desk *d, Leg *l, const int16_t *heard, int16_t *out, int n) noexcept nogil:
    """A prompt in place of the rest, or over it. True where a prompt is heard."""
    cdef int16_t prompt[WIDE]
    cdef int32_t total[WIDE]
    cdef bint sends = l.wire.known and l.wire.send
    if not playout_over(&l.playout):
        if sends and playout_take(&l.playout, d.prompts, out, n, l.wide):
            if l.link != NULL:
                link_take(l.link, prompt, l.wide)       # its frame is over, heard or not
            return True
        background(d, l, heard, out, n)
        return False
    background(d, l, heard, out, n)
    if not sends or not playout_take(&l.playout, d.prompts, prompt, n, l.wide):
        return False
    memset(total, 0, n * sizeof(int32_t))
    mix_add(total, out, n)
    mix_add(total, prompt, n)
    mix_out(total, out, n)
    return True


# --- keys ---------------------------------------------------------------------------------------------------------


cdef int key_out(Leg *l) noexcept nogil:
    """The key held in this tick (its event code), or -1; `sent` counts the tick already."""
    cdef KeysOut *k = &l.keys
    if k.gap:
        k.gap -= 1
        return -1
    if k.count == 0:
        return -1
    if k.sent == 0:
        k.stamp = l.wire.stamp
    if k.ends == 0:
        k.sent += 1
    return k.event[k.head]


cdef void key_over(Leg *l) noexcept nogil:
    cdef KeysOut *k = &l.keys
    k.ends = k.sent = 0
    k.head = (k.head + 1) % KEYS
    k.count -= 1
    k.gap = GAP
    l.wire.fresh = True


cdef void key_tone(Leg *l, int event, int16_t *out, int n) noexcept nogil:
    """In the audio, where the peer takes no telephone-event."""
    cdef int16_t narrow[FRAME]
    if l.wide:
        dtmf_make(&l.dtmf_out, DIGITS[event], narrow, FRAME)
        double_rate(&l.down_doubler, narrow, out, FRAME)
    else:
        dtmf_make(&l.dtmf_out, DIGITS[event], out, FRAME)
    if l.keys.sent >= l.keys.ticks[l.keys.head]:
        key_over(l)


cdef int key_event(Leg *l, int event, uint8_t *packet) noexcept nogil:
    """The event packet of this tick (RFC 4733 section 2.5.1); its octets with the header."""
    cdef KeysOut *k = &l.keys
    cdef int tick = CODECS[l.wire.codec].clock // 50
    cdef bint end = k.sent >= k.ticks[k.head] or (k.sent + 1) * tick > LONGEST_KEY
    rtp_header(packet, l.wire.key_payload, k.sent == 1 and k.ends == 0, l.wire.seq, k.stamp, l.wire.ssrc)
    key_payload(packet + RTP_HEADER, event, end, k.sent * tick)
    if end:
        k.ends += 1
        if k.ends == 3:
            key_over(l)
    return RTP_HEADER + 4


# --- out ----------------------------------------------------------------------------------------------------------


cdef bint silent(const int16_t *pcm, int n) noexcept nogil:
    cdef int k, peak = 0
    for k in range(n):
        peak |= pcm[k] ^ (pcm[k] >> 15)
    return peak < SILENCE


cdef int noise_out(Leg *l, const int16_t *said, int n, uint8_t *packet) noexcept nogil:
    """RFC 3389: octets of a comfort noise packet, 0 where nothing is sent, -1 where audio is."""
    if l.wire.noise_payload < 0:
        return -1
    if not silent(said, n):
        l.wire.fresh = l.wire.fresh or l.quiet_ticks >= HANGOVER
        l.quiet_ticks = 0
        return -1
    l.quiet_ticks += 1
    if l.quiet_ticks < HANGOVER:
        return -1
    if (l.quiet_ticks - HANGOVER) % NOISE_EVERY:
        return 0
    rtp_header(packet, l.wire.noise_payload, False, l.wire.seq, l.wire.stamp, l.wire.ssrc)
    return RTP_HEADER + comfort_measure(&l.comfort, said, n, packet + RTP_HEADER, NOISE_ROOM)


cdef int audio_out(Leg *l, const int16_t *said, int n, uint8_t *packet) noexcept nogil:
    """Octets of this tick's audio packet, 0 where the codec sends none."""
    cdef int size = codec_encode(&l.coder_out, l.wire.codec, said, n, packet + RTP_HEADER, PACKET)
    if size <= 0:
        l.wire.fresh = True             # the codec sends nothing in silence; what follows begins a talk spurt
        return 0
    rtp_header(packet, l.wire.payload, l.wire.fresh, l.wire.seq, l.wire.stamp, l.wire.ssrc)
    l.wire.fresh = False
    return RTP_HEADER + size


cdef void transmit(Leg *l, Io *io, int16_t *said, int n) noexcept nogil:
    """This tick's packet. `said` becomes what the peer will hear, coding included where that is cheap."""
    cdef uint8_t *packet = io_room(io)
    cdef int size, event = key_out(l), payload
    cdef bint audio = False
    if event >= 0 and l.wire.key_payload >= 0:
        size = key_event(l, event, packet)
        memset(said, 0, n * sizeof(int16_t))
    else:
        if event >= 0:
            key_tone(l, event, said, n)
        size = noise_out(l, said, n, packet)
        if size < 0:
            size = audio_out(l, said, n, packet)
            audio = size > 0
    l.wire.stamp += CODECS[l.wire.codec].clock // 50
    if size == 0:
        return
    if audio and (l.wire.codec == CODEC_PCMU or l.wire.codec == CODEC_PCMA):
        codec_decode(NULL, l.wire.codec, packet + RTP_HEADER, n, said, n)
    payload = size - RTP_HEADER
    if l.srtp != NULL:
        size = srtp_seal(l.srtp, packet, size, False)
        if size < 0:
            l.wire.failed += 1
            return
    io_send(io, 2 * l.index, size, &l.wire.to)
    l.wire.packets += 1
    l.wire.octets += payload
    l.wire.seq += 1


cdef void leg_report(Leg *l, Io *io, bint bye, int64_t now) noexcept nogil:
    """RTCP: a report, or the one that says goodbye."""
    cdef uint8_t *packet
    cdef Sent sent
    cdef int size
    if not l.wire.reports or not l.wire.known:
        return
    sent.ssrc = l.wire.ssrc
    sent.packets = l.wire.packets
    sent.octets = l.wire.octets
    sent.stamp = l.wire.stamp
    sent.clock = CODECS[l.wire.codec].clock
    sent.stamp_at = now
    packet = io_room(io)
    if bye:
        size = rtcp_bye(&l.rtcp, &l.source, &sent, now, wall_ntp(now), packet, RTCP_LARGEST)
    else:
        size = rtcp_write(&l.rtcp, &l.source, &sent, now, wall_ntp(now), packet, RTCP_LARGEST)
    if size > 0 and l.srtp != NULL:
        size = srtp_seal(l.srtp, packet, size, True)
    if size > 0:
        io_send(io, 2 * l.index + (1 if l.wire.reports == 1 else 0), size, &l.wire.control)


# --- recording ----------------------------------------------------------------------------------------------------


cdef const int16_t *tapped(Leg *l, int side, const int16_t *pcm, int16_t *made) noexcept nogil:
    """One side of the recording at the recording's rate."""
    if l.wide == l.tap_wide:
        return pcm
    if l.wide:
        halve_rate(&l.tap_halve[side], pcm, made, WIDE)
    else:
        double_rate(&l.tap_double[side], pcm, made, FRAME)
    return made


cdef void record(Desk *d, Leg *l, const int16_t *heard, const int16_t *said) noexcept nogil:
    cdef int16_t both[2 * WIDE]
    cdef int16_t left[WIDE]
    cdef int16_t right[WIDE]
    cdef int n = WIDE if l.tap_wide else FRAME, k
    heard = tapped(l, 0, heard, left)
    said = tapped(l, 1, said, right)
    if l.masked:
        memset(both, 0, 2 * n * sizeof(int16_t))
    else:
        for k in range(n):
            both[2 * k] = heard[k]
            both[2 * k + 1] = said[k]
    if ring_put(&l.taps, both, n):
        l.tap_full = False
    elif not l.tap_full:
        l.tap_full = True
        d.ring_full += 1
        post(d, RING_FULL, l.handle, l.heard_at, FULL_TAP, 0)


cdef void played(Leg *l, const int16_t *said, bint prompt) noexcept nogil:
    """The echo guard knows what prompts said, at 8 kHz. Other audio interrupts nothing when it comes back."""
    cdef int16_t narrow[FRAME]
    if not prompt:
        ears_played(&l.ears, QUIET, FRAME)
        return
    if l.wide:
        halve_rate(&l.said_halver, said, narrow, WIDE)
        said = narrow
    ears_played(&l.ears, said, FRAME)


cdef void hold(Leg *l, Io *io, int64_t now) noexcept nogil:
    """While the peer's packets come from where it said, the socket is connected to it: sending costs an eighth less, and what
    strangers send ends in the kernel. Silence opens it again, so that a peer that moved is heard. A socket bound to every
    address of the machine stays open: connected, it would hear at one of them alone."""
    cdef Address nowhere
    if (
        l.narrowly and l.latch.done and now - l.heard_at < LOOSE_NS
        and (l.srtp != NULL or address_same(&l.latch.source, &l.wire.signalled))
    ):
        if not address_same(&l.wire.held, &l.latch.source) and io_connect(io, 2 * l.index, &l.latch.source) == 0:
            l.wire.held = l.latch.source
    elif l.wire.held.size:
        memset(&nowhere, 0, sizeof(Address))
        if io_connect(io, 2 * l.index, &nowhere) == 0:
            l.wire.held = nowhere


cdef void leg_send(Desk *d, Leg *l, Io *io, int64_t now) noexcept nogil:
    """One tick of a leg; what it sends is queued."""
    cdef int16_t said[WIDE]
    cdef int n = WIDE if l.wide else FRAME
    cdef const int16_t *heard = hear(d, l, n, now)
    cdef bint prompt = say(d, l, heard, said, n)
    if l.wire.known and l.wire.send:
        transmit(l, io, said, n)
    else:
        memset(said, 0, n * sizeof(int16_t))
        l.wire.stamp += CODECS[l.wire.codec].clock // 50 if l.wire.known else FRAME
    if l.wire.reports and rtcp_due(&l.rtcp, now):
        leg_report(l, io, False, now)
    played(l, said, prompt)
    if l.tapped:
        record(d, l, heard, said)
    if l.playout.n_begun or l.playout.n_ended:
        leg_ended(d, l, now, 0)
    leg_watch(d, l, now)
    hold(l, io, now)
