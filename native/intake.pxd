"""Packets of stateful codecs into decode order. Fixed memory: 16 packets of at most 1500 octets."""

from libc.stdint cimport int16_t, int64_t, uint8_t

from native.codec cimport Coder

cdef enum:
    HELD = 16               # packets; a power of two
    LARGEST = 1500          # octets of one packet's payload

cdef struct Held:
    int64_t seq             # of an empty place: none that a packet has
    int64_t stamp
    int codec               # CODEC_NONE: carried no audio
    int n
    bint marker
    uint8_t data[LARGEST]

cdef struct Intake:
    bint running
    int64_t next            # sequence number to decode next
    int64_t due             # stamp its first sample is expected at
    int codec               # of the last packet decoded; CODEC_NONE: none yet
    int span                # its samples
    int64_t garbage         # packets the codec could not decode
    int64_t recovered       # samples made up by the codec where packets were lost
    Held packets[HELD]      # by seq % HELD

cdef void intake_reset(Intake *i) noexcept nogil
cdef bint intake_put(
    Intake *i, int64_t seq, int64_t stamp, int codec, bint marker, const uint8_t *data, int n
) noexcept nogil
cdef int intake_next(Intake *i, Coder *c, bint force, int16_t *pcm, int64_t *stamp, bint *marker) noexcept nogil
