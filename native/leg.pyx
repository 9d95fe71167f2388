# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What commands do to a leg."""

from libc.string cimport memcpy, memset

from native.clib cimport RELEASE, load64, prefetch, store64
from native.codec cimport CODECS, coder_reset
from native.comfort cimport Comfort
from native.desk cimport FULL_UP, PROMPT_DONE, PROMPT_STARTED, RING_FULL, SPEECH_ENDED, post
from native.dtmf cimport dtmf_open, dtmf_make_open
from native.ears cimport ears_open, ears_rest
from native.gain cimport gain_open
from native.intake cimport intake_reset
from native.jitter cimport jitter_open
from native.latch cimport latch_anew
from native.net cimport address_same
from native.playout cimport playout_clear
from native.resample cimport double_rate
from native.rings cimport ring_put
from native.room cimport room_settle
from native.vad cimport STEP


cdef inline void fetch(const void *at, size_t octets) noexcept nogil:
    cdef size_t k = 0
    while k < octets:
        prefetch(<const char *>at + k)
        k += 64


cdef void leg_fetch(Leg *l) noexcept nogil:
    """Asks for what a tick will touch. Thousands of legs don't fit into the processor's near caches, and waiting for one
    line after the other would cost as much as all the arithmetic."""
    cdef size_t head = <const char *>&l.voice.other - <const char *>l
    fetch(l, head)
    fetch(&l.jitter, 256)
    fetch(&l.jitter.delay, 64)
    fetch(&l.jitter.accepted, 64)
    fetch(&l.jitter.held, 64)
    fetch(&l.ears, 64)
    fetch(l.ears.vad.view + l.ears.vad.end, 2 * STEP * sizeof(float))
    fetch(&l.ears.echo, 64)
    fetch(&l.ears.echo.missing, 64)
    fetch(&l.ears.anchored, 64)
    fetch(&l.ears.speaking, 64)
    fetch(&l.playout, 64)
    fetch(&l.keys.head, 64)
    fetch(&l.rtcp.next_at, 64)
    fetch(l.past[l.past_at], 2 * FRAME)
    if l.flowing:
        fetch(&l.up, 192)


cdef void leg_clear(Leg *l, int32_t handle) noexcept nogil:
    """A leg as good as new; its rings, coders' memory and VAD are kept."""
    cdef Ring up = l.up, down = l.down, taps = l.taps
    cdef Coder coder_in = l.coder_in, coder_out = l.coder_out
    cdef void *webrtc = l.webrtc
    cdef int index = l.index
    memset(l, 0, sizeof(Leg))
    l.handle = handle
    l.index = index
    l.up = up
    l.down = down
    l.taps = taps
    l.coder_in = coder_in
    l.coder_out = coder_out
    l.webrtc = webrtc
    l.fd = l.control_fd = -1
    l.wire.key_payload = l.wire.noise_payload = -1
    l.wire.fresh = True
    leg_rate(l, False)


cdef void leg_rate(Leg *l, bint wide) noexcept nogil:
    """Everything that has a rate starts anew at 8 or 16 kHz."""
    l.wide = wide
    memset(&l.timeline, 0, sizeof(Timeline))
    memset(&l.voice, 0, sizeof(Voice))
    memset(l.past, 0, sizeof(l.past))
    intake_reset(&l.intake)
    jitter_open(&l.jitter, 16000 if wide else 8000)
    ears_open(&l.ears, l.webrtc)
    dtmf_open(&l.dtmf)
    dtmf_make_open(&l.dtmf_out)
    gain_open(&l.gain)
    memset(&l.comfort, 0, sizeof(Comfort))
    if l.room != NULL:
        l.room.seats[l.seat].wide = wide
        room_settle(l.room)


cdef void leg_remote(Leg *l, const Wire *said) noexcept nogil:
    """What was agreed with the peer. The latch starts again when the address differs from the last one."""
    cdef bint wide
    if not l.wire.known or not address_same(&l.wire.signalled, &said.signalled):
        latch_anew(&l.latch)
        l.wire.to = l.wire.signalled = said.signalled
        l.wire.control = said.control
    elif said.reports != l.wire.reports:
        l.wire.control = said.control
    l.wire.known = True
    l.wire.fresh = l.wire.fresh or (said.send and not l.wire.send)
    l.wire.payload = said.payload
    l.wire.key_payload = said.key_payload
    l.wire.noise_payload = said.noise_payload
    l.wire.reports = said.reports
    l.wire.send = said.send
    l.wire.receive = said.receive
    memcpy(l.wire.codecs, said.codecs, sizeof(said.codecs))
    l.tones = said.key_payload < 0
    if l.wire.codec != said.codec:
        l.wire.codec = said.codec
        l.wire.fresh = True
        coder_reset(&l.coder_out, said.codec)
        coder_reset(&l.coder_in, said.codec)
    wide = CODECS[said.codec].rate == 16000
    if wide != l.wide:
        leg_rate(l, wide)


cdef void leg_seat(Leg *l, Room *room, int seat, Link *link) noexcept nogil:
    """Takes a seat (`room` here, or `link` to one on another thread), or none."""
    l.room = room
    l.seat = seat
    l.link = link


cdef void leg_keys(Leg *l, const int32_t *codes, int n, int ms) noexcept nogil:
    """Queues digits to be sent, `ms` each."""
    cdef int k, at
    for k in range(n):
        if l.keys.count == KEYS:
            return
        at = (l.keys.head + l.keys.count) % KEYS
        l.keys.event[at] = <uint8_t>codes[k]
        l.keys.ticks[at] = (ms + 19) // 20
        l.keys.count += 1


# --- up the ring --------------------------------------------------------------------------------------------------


cdef void leg_push(Desk *d, Leg *l, const int16_t *frame) noexcept nogil:
    """One frame at the leg's rate, up at 16 kHz."""
    cdef int16_t broad[WIDE]
    if not l.wide:
        double_rate(&l.doubler, frame, broad, FRAME)
        frame = broad
    if ring_put(&l.up, frame, WIDE):
        l.up_full = False
    elif not l.up_full:
        l.up_full = True
        d.ring_full += 1
        post(d, RING_FULL, l.handle, l.heard_at, FULL_UP, 0)


cdef void leg_flow(Desk *d, Leg *l) noexcept nogil:
    """Opens the gate where somebody listens and the caller speaks: what came before it goes first."""
    cdef int k
    if not l.listening or l.flowing or not l.ears.speaking:
        return
    l.flowing = True
    memset(&l.doubler, 0, sizeof(Doubler))
    for k in range(PREROLL):
        leg_push(d, l, l.past[(l.past_at + k) % PREROLL])


cdef void leg_listen(Desk *d, Leg *l, bint on) noexcept nogil:
    """Arms the gate (or closes it); frames already in the ring belong to the past. Speech in progress opens it at once."""
    l.listening = on
    l.flowing = False
    l.up_full = False
    store64(&l.up_floor, load64(&l.up.head, 0), RELEASE)
    leg_flow(d, l)


# --- prompts ------------------------------------------------------------------------------------------------------


cdef void leg_rearm(Desk *d, Leg *l, int64_t now) noexcept nogil:
    """A prompt starts or goes on: speech that is under way must be detected anew to mute it."""
    if l.ears.speaking:
        ears_rest(&l.ears)
        post(d, SPEECH_ENDED, l.handle, now, l.ears.voiced_steps * 10, 0)


cdef void leg_stop(Desk *d, Leg *l, int64_t now) noexcept nogil:
    """Whatever plays ends now."""
    playout_clear(&l.playout, d.prompts)
    leg_ended(d, l, now, 1)


cdef void leg_ended(Desk *d, Leg *l, int64_t now, int stopped) noexcept nogil:
    """Tells which tokens began and ended."""
    cdef int k
    for k in range(l.playout.n_begun):
        post(d, PROMPT_STARTED, l.handle, now, l.playout.begun[k], 0)
    for k in range(l.playout.n_ended):
        post(d, PROMPT_DONE, l.handle, now, l.playout.ended[k], stopped)
    l.playout.n_begun = l.playout.n_ended = 0
