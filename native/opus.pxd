"""Opus (RFC 6716) by pointers into libopus: 16 kHz mono both ways. Without the library every function fails."""

from libc.stdint cimport int16_t, int32_t, uint8_t

cdef struct Tuning:
    int32_t bitrate         # bits a second
    int32_t complexity      # 0..10
    int32_t loss            # per cent of packets expected to be lost: sets how much in-band FEC is worth
    bint dtx                # silence is not sent

cdef size_t opus_size() noexcept nogil
cdef int opus_decoder_reset(void *state) noexcept nogil
cdef int opus_encoder_reset(void *state, const Tuning *tuning) noexcept nogil
cdef int opus_tune(void *state, const Tuning *tuning) noexcept nogil
cdef int opus_in(void *state, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil
cdef int opus_lost(void *state, const uint8_t *next, int next_n, int16_t *pcm, int samples) noexcept nogil
cdef int opus_out(void *state, const int16_t *pcm, int n, uint8_t *data, int room) noexcept nogil
