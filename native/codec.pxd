"""The table of codecs: one row each, one place to add another."""

from libc.stdint cimport int16_t, int64_t, uint8_t

from native.g722 cimport G722
from native.opus cimport Tuning

cdef enum:
    CODEC_NONE = 0
    CODEC_PCMU = 1
    CODEC_PCMA = 2
    CODEC_G722 = 3
    CODEC_L16_8 = 4
    CODEC_L16_16 = 5
    CODEC_OPUS = 6
    CODECS_KNOWN = 7
    CODEC_ROOM = 1920       # samples: 120 ms at 16 kHz, the longest packet

cdef struct Coder:
    # State of one direction of one stream. Its first use after a reset makes it a decoder or an encoder.
    int codec               # the stateful codec it is set up for; CODEC_NONE: none
    int role
    G722 g722
    void *opus              # memory of a libopus state; NULL where coder_open found none
    Tuning tuning           # of the Opus encoder

ctypedef int (*codec_decode_t)(Coder *c, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil
ctypedef int (*codec_encode_t)(Coder *c, const int16_t *pcm, int n, uint8_t *out, int room) noexcept nogil

cdef struct Codec:
    const char *name        # encoding name of RFC 3551 or RFC 7587
    int clock               # of RTP timestamps, Hz
    int rate                # of PCM, 8000 or 16000 Hz
    bint stateful           # decodes in order, through an Intake
    codec_decode_t decode
    codec_encode_t encode

cdef Codec CODECS[CODECS_KNOWN]

cdef int codec_static(int payload) noexcept nogil
cdef int64_t codec_samples(int codec, int64_t stamp) noexcept nogil
cdef int64_t codec_ticks(int codec, int64_t samples) noexcept nogil

cdef int coder_open(Coder *c) noexcept nogil
cdef int coder_memory(Coder *c) noexcept nogil
cdef void coder_close(Coder *c) noexcept nogil
cdef void coder_reset(Coder *c, int codec) noexcept nogil
cdef void coder_tune(Coder *c, int bitrate, int complexity, int loss, bint dtx) noexcept nogil
cdef int codec_decode(Coder *c, int codec, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil
cdef int codec_missing(Coder *c, int codec, const uint8_t *next, int next_n, int samples, int16_t *pcm) noexcept nogil
cdef int codec_encode(Coder *c, int codec, const int16_t *pcm, int n, uint8_t *out, int room) noexcept nogil
