# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A leg's two halves: `leg_receive` every 5 ms at most, `leg_send` every 20 ms."""

from libc.string cimport memcpy, memmove, memset

from native.clib cimport (
    AF_INET, MSG_DONTWAIT, MSG_NOSIGNAL, RELEASE, load64, ntohl, ntohs, recvfrom, sendto, sockaddr, socklen_t, store64,
)
from native.ears cimport HEARD_END, ears_hear, ears_idle, ears_played, ears_rest
from native.g711 cimport PCMA, PCMU, g711_decode, g711_encode
from native.jitter cimport jitter_put, jitter_reset, jitter_take
from native.playout cimport PLAY_BARGE, PLAY_KEYS, playout_clear, playout_skip, playout_take
from native.resample cimport double_rate
from native.rings cimport ring_put, ring_take
from native.rtp cimport (
    RTP_HEADER, SEQ_DUPLICATE, SEQ_NEW, RtpPacket, key_packet, key_payload, rtp_header, rtp_parse, source_packet,
)

cdef enum:
    IN_A_ROW = 3            # valid packets that make a new source the one
    BURST = 32              # packets read from a socket at once
    LONGEST_PACKET = 480    # samples: 60 ms
    COMFORT_NOISE = 13

cdef const char *DIGITS = b"0123456789*#ABCD"
cdef int64_t SILENT_NS = 5_000_000_000
cdef int64_t MOVED_NS = 1_000_000_000       # a latched source silent this long may be replaced


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


cdef void leg_remote(Leg *l, uint32_t ip, uint16_t port, int payload, int key_payload, bint send, bint receive) noexcept nogil:
    """The signalled address (network byte order). The latch starts again when it differs from the last one."""
    if not l.wire.known or ip != l.wire.to.sin_addr.s_addr or port != l.wire.to.sin_port:
        memset(&l.latch, 0, sizeof(Latch))
        l.wire.to.sin_family = AF_INET
        l.wire.to.sin_addr.s_addr = ip
        l.wire.to.sin_port = port
    l.wire.known = True
    l.wire.fresh = l.wire.fresh or (send and not l.wire.send)
    l.wire.payload = payload
    l.wire.key_payload = key_payload
    l.wire.send = send
    l.wire.receive = receive


# --- in -----------------------------------------------------------------------------------------------------------


cdef bint latch(Desk *d, Leg *l, sockaddr_in *source, const RtpPacket *p, int64_t now) noexcept nogil:
    """Whether a packet from `source` is this leg's. Three valid ones in a row from elsewhere move the leg there."""
    cdef Latch *k = &l.latch
    cdef bint signalled
    if k.done and source.sin_addr.s_addr == k.ip and source.sin_port == k.port:
        k.in_a_row = 0
        return True
    if k.done and now - l.heard_at < MOVED_NS:
        return False
    signalled = l.wire.known and source.sin_addr.s_addr == l.wire.to.sin_addr.s_addr and source.sin_port == l.wire.to.sin_port
    if (
        k.in_a_row and source.sin_addr.s_addr == k.next_ip and source.sin_port == k.next_port
        and p.ssrc == k.next_ssrc and p.seq == k.next_seq
    ):
        k.in_a_row += 1
    else:
        k.in_a_row = 1
        k.next_ip = source.sin_addr.s_addr
        k.next_port = source.sin_port
        k.next_ssrc = p.ssrc
    k.next_seq = <uint16_t>(p.seq + 1)
    if signalled or k.in_a_row >= IN_A_ROW:
        k.done = True
        k.in_a_row = 0
        k.ip = source.sin_addr.s_addr
        k.port = source.sin_port
        l.wire.to.sin_family = AF_INET
        l.wire.to.sin_addr.s_addr = k.ip
        l.wire.to.sin_port = k.port
        post(d, RTP_LATCHED, l.handle, now, ntohl(k.ip), ntohs(k.port))
        return True
    return not k.done       # nothing better is known: it is heard, but not yet answered


cdef void take_key(Desk *d, Leg *l, const RtpPacket *p, int64_t now) noexcept nogil:
    cdef int event = key_packet(&l.key, p)
    if event == -2:
        d.garbage += 1
        l.discarded += 1
        return
    l.key_at = now
    if event < 0:
        return
    post(d, KEY, l.handle, now, DIGITS[event], 1 if l.masked else 0)
    playout_skip(&l.playout, d.prompts, PLAY_KEYS)
    tell_ended(d, l, now, 1)


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
    if l.listening and not l.flowing:
        open_up(d, l)


cdef void take_audio(Desk *d, Leg *l, const RtpPacket *p, bint newest, int64_t stamp, int64_t now) noexcept nogil:
    cdef int16_t pcm[LONGEST_PACKET]
    cdef int heard
    if p.size == 0 or p.size > LONGEST_PACKET:
        d.garbage += 1
        l.discarded += 1
        return
    g711_decode(p.payload, p.data, pcm, p.size)
    jitter_put(&l.jitter, stamp, pcm, p.size, p.marker, now)
    if newest:
        heard = ears_hear(&l.ears, stamp, pcm, p.size, now)
        if heard:
            speech(d, l, heard, now)


cdef void take_packet(Desk *d, Leg *l, const uint8_t *octets, int n, sockaddr_in *source, int64_t now) noexcept nogil:
    cdef RtpPacket p
    cdef int order
    cdef bint key, audio
    cdef double jitter = l.source.jitter
    cdef int64_t transit = l.source.transit
    if not rtp_parse(octets, n, &p):
        d.garbage += 1
        l.discarded += 1
        return
    key = p.payload == l.wire.key_payload
    audio = p.payload == PCMU or p.payload == PCMA
    if not l.wire.receive or not (key or audio or p.payload == COMFORT_NOISE) or not latch(d, l, source, &p, now):
        l.discarded += 1
        return
    if l.lost:
        l.lost = False
        post(d, RTP_BACK, l.handle, now, (now - l.heard_at) // 1000000, 0)
    l.heard_at = now
    l.octets_in += p.size
    if l.source.known and l.source.ssrc != p.ssrc:
        jitter_reset(&l.jitter)
        memset(&l.key, 0, sizeof(KeyIn))
    order = source_packet(&l.source, &p, now // 125000)
    if order == SEQ_DUPLICATE:
        return
    if key:                 # every packet of a key carries the time it began: no measure of jitter
        l.source.jitter = jitter
        l.source.transit = transit
        take_key(d, l, &p, now)
    elif audio:
        take_audio(d, l, &p, order == SEQ_NEW, l.source.stamp if order == SEQ_NEW else stamp_of(l, &p), now)


cdef int64_t stamp_of(Leg *l, const RtpPacket *p) noexcept nogil:
    return l.source.stamp + <int32_t>(p.stamp - <uint32_t>l.source.stamp)


cdef void leg_receive(Desk *d, Leg *l, int64_t now) noexcept nogil:
    """Everything that waits in the socket."""
    cdef uint8_t octets[2048]
    cdef sockaddr_in source
    cdef socklen_t length
    cdef ssize_t n
    cdef int k
    for k in range(BURST):
        length = sizeof(sockaddr_in)
        n = recvfrom(l.fd, octets, sizeof(octets), MSG_DONTWAIT, <sockaddr *>&source, &length)
        if n < 0:
            break
        take_packet(d, l, octets, <int>n, &source, now)
    if ears_idle(&l.ears, now) == HEARD_END:
        speech(d, l, HEARD_END, now)
    if l.wire.receive and l.wire.known and not l.lost and now - l.heard_at > SILENT_NS:
        l.lost = True
        post(d, RTP_LOST, l.handle, now, 0, 0)


# --- up -----------------------------------------------------------------------------------------------------------


cdef void push_up(Desk *d, Leg *l, const int16_t *frame) noexcept nogil:
    cdef int16_t wide[2 * FRAME]
    double_rate(&l.doubler, frame, wide, FRAME)
    if ring_put(&l.up, wide, 2 * FRAME):
        l.up_full = False
    elif not l.up_full:
        l.up_full = True
        d.ring_full += 1
        post(d, RING_FULL, l.handle, l.heard_at, FULL_UP, 0)


cdef void open_up(Desk *d, Leg *l) noexcept nogil:
    """Speech started: what came before it goes first."""
    cdef int k
    l.flowing = True
    memset(&l.doubler, 0, sizeof(Doubler))
    for k in range(PREROLL):
        push_up(d, l, l.past[(l.past_at + k) % PREROLL])


cdef void leg_listen(Leg *l, bint on) noexcept nogil:
    """Arms the gate (or closes it); frames already in the ring belong to the past. Speech in progress opens it at once."""
    l.listening = on
    l.flowing = False
    l.up_full = False
    store64(&l.up_floor, load64(&l.up.head, 0), RELEASE)


cdef void leg_overheard(Desk *d, Leg *l) noexcept nogil:
    """Opens the gate where `leg_listen` found the caller speaking already."""
    if l.listening and not l.flowing and l.ears.speaking:
        open_up(d, l)


cdef void leg_rearm(Desk *d, Leg *l, int64_t now) noexcept nogil:
    """A prompt starts or goes on: speech that is under way must be detected anew to mute it."""
    if l.ears.speaking:
        ears_rest(&l.ears)
        post(d, SPEECH_ENDED, l.handle, now, l.ears.voiced_steps * 10, 0)


cdef void leg_stop(Desk *d, Leg *l, int64_t now) noexcept nogil:
    """Whatever plays ends now."""
    playout_clear(&l.playout, d.prompts)
    tell_ended(d, l, now, 1)


cdef void leg_alone(Desk *d, Leg *l) noexcept nogil:
    """Takes a bridge apart."""
    if l.peer >= 0:
        d.legs[l.peer].peer = -1
        d.legs[l.peer].crossing = 0
        l.peer = -1
        l.crossing = 0


# --- out ----------------------------------------------------------------------------------------------------------


cdef void tell_ended(Desk *d, Leg *l, int64_t now, int stopped) noexcept nogil:
    cdef int k
    for k in range(l.playout.n_begun):
        post(d, PROMPT_STARTED, l.handle, now, l.playout.begun[k], 0)
    for k in range(l.playout.n_ended):
        post(d, PROMPT_DONE, l.handle, now, l.playout.ended[k], stopped)
    l.playout.n_begun = l.playout.n_ended = 0


cdef bint key_out(Leg *l, uint8_t *packet, bint *marker, uint32_t *stamp) noexcept nogil:
    """The event packet of this tick (RFC 4733 section 2.5.1), or False when no key is being sent."""
    cdef KeysOut *k = &l.keys
    cdef bint end
    if k.gap:
        k.gap -= 1
        return False
    if k.count == 0:
        return False
    marker[0] = k.sent == 0
    if k.sent == 0:
        k.stamp = l.wire.stamp
    if k.ends == 0:
        k.sent += FRAME
    end = k.sent >= k.length[k.head]
    stamp[0] = k.stamp
    key_payload(packet + RTP_HEADER, k.event[k.head], end, k.length[k.head] if end else k.sent)
    if end:
        k.ends += 1
        if k.ends == 3:
            k.ends = k.sent = 0
            k.head = (k.head + 1) % KEYS
            k.count -= 1
            k.gap = 3
            l.wire.fresh = True
    return True


cdef void fill_out(Desk *d, Leg *l, int16_t *out) noexcept nogil:
    """What this leg says now: a prompt, else its peer, else live audio, else silence."""
    cdef uint32_t n
    cdef bint crossed = l.crossing > 0
    if crossed:
        memcpy(out, l.across[0], FRAME * sizeof(int16_t))
        l.crossing -= 1
        memmove(l.across[0], l.across[1], 2 * FRAME * sizeof(int16_t))
    if l.wire.known and l.wire.send and playout_take(&l.playout, d.prompts, out, FRAME):
        return
    if l.peer >= 0:
        if not crossed:
            memset(out, 0, FRAME * sizeof(int16_t))
        return
    n = ring_take(&l.down, out, FRAME) if l.playout.count == 0 else 0
    memset(out + n, 0, (FRAME - n) * sizeof(int16_t))


cdef void cross(Desk *d, Leg *l, const int16_t *frame) noexcept nogil:
    """Hands what this leg said to its peer; three waiting frames are one too many."""
    cdef Leg *peer = d.legs[l.peer]
    if peer.crossing == 3:
        memmove(peer.across[0], peer.across[1], 2 * FRAME * sizeof(int16_t))
        peer.crossing = 2
    memcpy(peer.across[peer.crossing], frame, FRAME * sizeof(int16_t))
    peer.crossing += 1


cdef void record(Desk *d, Leg *l, const int16_t *heard, const int16_t *said) noexcept nogil:
    cdef int16_t both[2 * FRAME]
    cdef int k
    for k in range(FRAME):
        both[2 * k] = 0 if l.masked else heard[k]
        both[2 * k + 1] = 0 if l.masked else said[k]
    if ring_put(&l.taps, both, FRAME):
        l.tap_full = False
    elif not l.tap_full:
        l.tap_full = True
        d.ring_full += 1
        post(d, RING_FULL, l.handle, l.heard_at, FULL_TAP, 0)


cdef void leg_send(Desk *d, Leg *l, int64_t now) noexcept nogil:
    """One tick: a frame from the jitter buffer, a packet out, and what follows from both."""
    cdef int16_t heard[FRAME]
    cdef int16_t said[FRAME]
    cdef uint8_t packet[RTP_HEADER + FRAME]
    cdef bint marker = l.wire.fresh, is_key, keyed
    cdef uint32_t stamp = l.wire.stamp
    cdef int size
    # A key being pressed takes the place of audio; it is silence, not loss.
    keyed = l.key.known and not l.key.ended and now - l.key_at < 100_000_000
    jitter_take(&l.jitter, heard, keyed, now)
    memcpy(l.past[l.past_at], heard, sizeof(heard))
    l.past_at = (l.past_at + 1) % PREROLL
    if l.flowing:
        push_up(d, l, heard)
    if l.peer >= 0:
        cross(d, l, heard)
    fill_out(d, l, said)
    is_key = l.wire.known and l.wire.send and key_out(l, packet, &marker, &stamp)
    if is_key:
        memset(said, 0, sizeof(said))
        size = RTP_HEADER + 4
        rtp_header(packet, l.wire.key_payload, marker, l.wire.seq, stamp, l.wire.ssrc)
    else:
        size = RTP_HEADER + FRAME
        rtp_header(packet, l.wire.payload, marker, l.wire.seq, stamp, l.wire.ssrc)
        g711_encode(l.wire.payload, said, packet + RTP_HEADER, FRAME)
    if l.wire.known and l.wire.send:
        if sendto(l.fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL, <sockaddr *>&l.wire.to, sizeof(sockaddr_in)) < 0:
            l.wire.failed += 1
        l.wire.packets += 1
        l.wire.octets += size - RTP_HEADER
        l.wire.seq += 1
        if not is_key:
            l.wire.fresh = False
            g711_decode(l.wire.payload, packet + RTP_HEADER, said, FRAME)
    else:
        memset(said, 0, sizeof(said))
    l.wire.stamp += FRAME
    ears_played(&l.ears, said, FRAME)
    if l.tapped:
        record(d, l, heard, said)
    if l.playout.n_begun or l.playout.n_ended:
        tell_ended(d, l, now, 0)
