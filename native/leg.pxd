"""One leg: sockets, what comes in by them, what goes out by them. Everything here runs on the engine's thread."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from native.codec cimport Coder
from native.comfort cimport Comfort
from native.desk cimport Desk
from native.dtmf cimport Dtmf, DtmfOut
from native.ears cimport Ears
from native.gain cimport Gain
from native.intake cimport Intake
from native.io cimport Io
from native.jitter cimport Jitter
from native.latch cimport Latch
from native.net cimport Address
from native.playout cimport Playout
from native.resample cimport Doubler, Halver
from native.rings cimport Ring
from native.room cimport FRAME, WIDE, Link, Room, Voice
from native.rtcp cimport Rtcp
from native.rtp cimport KeyIn, RtpSource
from native.srtp cimport Srtp

cdef enum:
    PREROLL = 20            # frames kept for the start of an utterance: 400 ms
    KEYS = 64               # digits that may wait to be sent
    LEG_FREE = 0
    LEG_OPEN = 1
    LEG_TAKEN = 3           # prepared by the commanding thread, not yet seen by the engine
    LEG_GONE = 2            # the engine let go of it; its sockets may be closed

cdef struct Wire:           # the way out
    Address to
    Address control         # where RTCP goes
    Address signalled       # what the offer or answer said
    Address held            # what the socket is connected to
    bint known
    bint send
    bint receive
    uint8_t codecs[128]     # by payload number, CODEC_NONE where nothing was agreed
    int payload
    int codec
    int key_payload
    int noise_payload
    int reports             # RTCP: 0 none, 1 on a port of its own, 2 on the port of RTP
    uint16_t seq
    uint32_t stamp
    uint32_t ssrc
    bint fresh              # the next packet begins a talk spurt
    int64_t packets
    int64_t octets
    int64_t failed

cdef struct KeysOut:
    uint8_t event[KEYS]
    int32_t ticks[KEYS]     # how long
    int head
    int count
    int sent                # ticks of the current event
    int ends                # end packets sent
    int gap                 # ticks of silence still to come
    uint32_t stamp

cdef struct Timeline:       # from samples of the codec (extended RTP timestamps) to samples at the leg's rate
    int codec
    int64_t at
    int64_t sample
    int64_t next            # the sample after the newest packet

cdef struct Leg:
    # What every turn touches stands together, in one piece of memory that can be asked for ahead.
    int32_t state           # atomic
    int32_t handle
    int32_t index           # among the legs of its thread
    int fd
    int control_fd          # RTCP; -1 none
    bint narrowly           # bound to one address
    bint wide               # 16 kHz, else 8
    bint listening
    bint flowing            # frames go up the ring
    bint tapped
    bint tap_wide
    bint masked
    bint echoing
    bint tones              # keys are looked for in the audio
    bint auto_gain
    bint up_full
    bint tap_full
    bint lost
    int quiet_ticks         # silence being sent
    int past_at
    int seat
    Room *room              # NULL alone; on this thread
    Link *link              # the room is on another thread
    Srtp *srtp              # NULL: plain RTP
    void *webrtc
    int64_t key_at
    int64_t opened_at
    int64_t heard_at        # newest valid packet
    int64_t octets_in
    int64_t discarded
    uint64_t up_floor       # atomic: samples before this one belong to an older utterance
    RtpSource source
    Timeline timeline
    Latch latch
    KeyIn key
    Gain gain
    Wire wire
    Voice voice             # what this leg said this tick
    # From here on each has a head that is touched, and a body that mostly is not.
    Jitter jitter
    Ears ears
    Playout playout
    Ring up                 # 16 kHz, to Python
    Ring down               # 8 kHz, from Python
    Ring taps               # stereo, to Python
    KeysOut keys
    Rtcp rtcp
    Comfort comfort
    Dtmf dtmf
    DtmfOut dtmf_out
    Coder coder_in
    Coder coder_out
    Halver ear_halver
    Doubler in_doubler      # for a codec whose rate is not the leg's
    Halver in_halver
    Doubler doubler         # up the ring
    Doubler down_doubler
    Doubler tap_double[2]
    Halver tap_halve[2]
    Halver said_halver
    int16_t past[PREROLL][WIDE]
    Intake intake

cdef void leg_fetch(Leg *l) noexcept nogil
cdef void leg_clear(Leg *l, int32_t handle) noexcept nogil
cdef void leg_listen(Desk *d, Leg *l, bint on) noexcept nogil
cdef void leg_rearm(Desk *d, Leg *l, int64_t now) noexcept nogil
cdef void leg_stop(Desk *d, Leg *l, int64_t now) noexcept nogil
cdef void leg_ended(Desk *d, Leg *l, int64_t now, int stopped) noexcept nogil
cdef void leg_remote(Leg *l, const Wire *said) noexcept nogil
cdef void leg_seat(Leg *l, Room *room, int seat, Link *link) noexcept nogil
cdef void leg_keys(Leg *l, const int32_t *codes, int n, int ms) noexcept nogil
cdef void leg_flow(Desk *d, Leg *l) noexcept nogil
cdef void leg_push(Desk *d, Leg *l, const int16_t *frame) noexcept nogil
