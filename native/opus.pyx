# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Opus (RFC 6716) by pointers into libopus. States live in memory of the caller's: nothing is allocated here."""

from libc.stdint cimport uintptr_t

from native import foreign

ctypedef int (*size_t_of)(int streams) noexcept nogil
ctypedef int (*decoder_init_t)(void *state, int32_t rate, int streams) noexcept nogil
ctypedef int (*encoder_init_t)(void *state, int32_t rate, int streams, int application) noexcept nogil
ctypedef int (*decode_t)(void *state, const uint8_t *data, int32_t n, int16_t *pcm, int room, int fec) noexcept nogil
ctypedef int32_t (*encode_t)(void *state, const int16_t *pcm, int n, uint8_t *data, int32_t room) noexcept nogil
ctypedef int (*control_t)(void *state, int request, ...) noexcept nogil

cdef enum:
    RATE = 16000
    VOIP = 2048             # OPUS_APPLICATION_VOIP
    SET_BITRATE = 4002
    SET_COMPLEXITY = 4010
    SET_INBAND_FEC = 4012
    SET_PACKET_LOSS_PERC = 4014
    SET_DTX = 4016
    STEP = 40               # samples: 2.5 ms, the unit of every Opus frame

cdef size_t_of decoder_size
cdef size_t_of encoder_size
cdef decoder_init_t decoder_init
cdef encoder_init_t encoder_init
cdef decode_t decode
cdef encode_t encode
cdef control_t control


cdef size_t opus_size() noexcept nogil:
    """Octets that hold a decoder or an encoder; 0 without libopus."""
    cdef size_t d, e
    if decode == NULL:
        return 0
    d = decoder_size(1)
    e = encoder_size(1)
    return d if d > e else e


cdef int opus_decoder_reset(void *state) noexcept nogil:
    if state == NULL or decode == NULL or decoder_init(state, RATE, 1) != 0:
        return -1
    return 0


cdef int opus_encoder_reset(void *state, const Tuning *tuning) noexcept nogil:
    if state == NULL or decode == NULL or encoder_init(state, RATE, 1, VOIP) != 0:
        return -1
    return opus_tune(state, tuning)


cdef int opus_tune(void *state, const Tuning *tuning) noexcept nogil:
    """Settings of an encoder that runs."""
    if control(state, SET_BITRATE, tuning.bitrate) or control(state, SET_COMPLEXITY, tuning.complexity):
        return -1
    if control(state, SET_INBAND_FEC, <int32_t>1) or control(state, SET_PACKET_LOSS_PERC, tuning.loss):
        return -1
    return -1 if control(state, SET_DTX, <int32_t>(1 if tuning.dtx else 0)) else 0


cdef int opus_in(void *state, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil:
    """Samples of a packet of 2.5 to 120 ms; -1 garbage."""
    cdef int got = decode(state, data, n, pcm, room, 0)
    return got if got > 0 else -1


cdef int opus_lost(void *state, const uint8_t *next, int next_n, int16_t *pcm, int samples) noexcept nogil:
    """The last frame before `next` from its in-band FEC, what is before that (or all) concealed; whole 2.5 ms steps."""
    cdef int got = -1
    samples -= samples % STEP
    if samples <= 0:
        return 0
    if next != NULL and next_n > 0:
        got = decode(state, next, next_n, pcm, samples, 1)
    if got < 0:
        got = decode(state, NULL, 0, pcm, samples, 0)
    return got if got > 0 else 0


cdef int opus_out(void *state, const int16_t *pcm, int n, uint8_t *data, int room) noexcept nogil:
    """Octets of a packet; 0 where DTX has nothing to send (RFC 7587 3.1.3); -1 error."""
    cdef int32_t size = encode(state, pcm, n, data, room)
    return -1 if size < 0 else 0 if size <= 2 else size


cdef void resolve():
    global decoder_size, encoder_size, decoder_init, encoder_init, decode, encode, control
    found, _ = foreign.find("opus")
    if found:
        decoder_size = <size_t_of><uintptr_t>found["opus_decoder_get_size"]
        encoder_size = <size_t_of><uintptr_t>found["opus_encoder_get_size"]
        decoder_init = <decoder_init_t><uintptr_t>found["opus_decoder_init"]
        encoder_init = <encoder_init_t><uintptr_t>found["opus_encoder_init"]
        encode = <encode_t><uintptr_t>found["opus_encode"]
        control = <control_t><uintptr_t>found["opus_encoder_ctl"]
        decode = <decode_t><uintptr_t>found["opus_decode"]


resolve()
