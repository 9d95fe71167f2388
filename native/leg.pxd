"""One leg: a socket, what comes in by it, what goes out by it. Everything here runs on the engine's thread."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from native.clib cimport sockaddr_in
from native.ears cimport Ears
from native.jitter cimport FRAME, Jitter
from native.playout cimport Playout, Prompt
from native.resample cimport Doubler
from native.rings cimport Ring
from native.rtp cimport KeyIn, RtpSource

cdef enum:
    PREROLL = 20            # frames kept for the start of an utterance: 400 ms
    KEYS = 64               # digits that may wait to be sent
    LEG_FREE = 0
    LEG_OPEN = 1
    LEG_TAKEN = 3           # prepared by the commanding thread, not yet seen by the engine
    LEG_GONE = 2            # the engine let go of it; its socket may be closed

cdef enum:                  # event kinds
    SPEECH_STARTED = 1
    SPEECH_ENDED = 2
    KEY = 3
    PROMPT_STARTED = 4
    PROMPT_MUTED = 5
    PROMPT_DONE = 6
    RTP_LATCHED = 7
    RTP_LOST = 8
    RTP_BACK = 9
    RING_FULL = 10

cdef enum:                  # which ring was full
    FULL_EVENTS = 0
    FULL_UP = 1
    FULL_TAP = 2

cdef struct Event:
    int32_t kind
    int32_t leg
    int64_t at
    int64_t a
    int64_t b

cdef struct Wire:           # the way out
    sockaddr_in to
    bint known
    bint send
    bint receive
    int payload
    int key_payload
    uint16_t seq
    uint32_t stamp
    uint32_t ssrc
    bint fresh              # the next packet begins a talk spurt
    int64_t packets
    int64_t octets
    int64_t failed

cdef struct Latch:          # symmetric RTP: where valid packets come from
    bint done
    uint32_t ip
    uint16_t port
    uint32_t next_ip        # a source that may become the one
    uint16_t next_port
    uint32_t next_ssrc
    uint16_t next_seq
    int in_a_row

cdef struct KeysOut:
    uint8_t event[KEYS]
    int32_t length[KEYS]    # timestamp units
    int head
    int count
    int sent                # timestamp units of the current event
    int ends                # end packets sent
    int gap                 # ticks of silence still to come
    uint32_t stamp

cdef struct Leg:
    int32_t state           # atomic
    int32_t handle
    int32_t slot
    int fd
    Wire wire
    Latch latch
    RtpSource source
    KeyIn key
    int64_t key_at
    KeysOut keys
    Jitter jitter
    Ears ears
    void *webrtc
    Playout playout
    int32_t peer            # slot, -1 alone
    int16_t across[3][FRAME]    # frames from the peer
    int crossing
    bint listening
    bint flowing            # frames go up the ring
    bint tapped
    bint masked
    Doubler doubler
    int16_t past[PREROLL][FRAME]
    int past_at
    Ring up                 # 16 kHz, to Python
    Ring down               # 8 kHz, from Python
    Ring taps               # 8 kHz stereo, to Python
    uint64_t up_floor       # atomic: samples before this one belong to an older utterance
    bint up_full
    bint tap_full
    bint lost
    int64_t opened_at
    int64_t heard_at        # newest valid packet
    int64_t octets_in
    int64_t discarded
    int64_t muted_frames

cdef struct Desk:           # what all legs of an engine share
    Leg **legs
    int32_t max_legs
    Prompt *prompts
    Ring events
    int64_t events_refused
    bint events_full
    int posted              # events since the eventfd was written
    int64_t garbage
    int64_t ring_full

cdef void post(Desk *d, int32_t kind, int32_t leg, int64_t at, int64_t a, int64_t b) noexcept nogil
cdef void leg_receive(Desk *d, Leg *l, int64_t now) noexcept nogil
cdef void leg_send(Desk *d, Leg *l, int64_t now) noexcept nogil
cdef void leg_listen(Leg *l, bint on) noexcept nogil
cdef void leg_overheard(Desk *d, Leg *l) noexcept nogil
cdef void leg_rearm(Desk *d, Leg *l, int64_t now) noexcept nogil
cdef void leg_stop(Desk *d, Leg *l, int64_t now) noexcept nogil
cdef void leg_alone(Desk *d, Leg *l) noexcept nogil
cdef void leg_remote(Leg *l, uint32_t ip, uint16_t port, int payload, int key_payload, bint send, bint receive) noexcept nogil
