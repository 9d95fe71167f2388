"""ITU-T G.722 at 64 kbit/s: two sub-bands of adaptive differential PCM. 16 kHz PCM, one octet for two samples."""

from libc.stdint cimport int16_t, int32_t, uint8_t

cdef struct Band:
    # Names as in the standard's section 6.2; index 0 of `d`, `b` is the newest.
    int16_t d[8]            # quantized differences D(1)..D(6); the rest stays 0
    int16_t b[8]            # zero predictor B(1)..B(6); the rest stays 0
    int32_t a1, a2          # pole predictor
    int32_t r1, r2          # reconstructed signal
    int32_t p1, p2          # partially reconstructed signal
    int32_t s, sz           # predictor output, zero section's output
    int32_t nb, det         # log scale factor, scale factor

cdef struct G722:
    Band low, high
    int16_t even[12]        # the QMF's delay lines, newest last
    int16_t odd[12]

cdef void g722_reset(G722 *g) noexcept nogil
cdef int g722_decode(G722 *g, const uint8_t *code, int n, int16_t *pcm) noexcept nogil
cdef int g722_encode(G722 *g, const int16_t *pcm, int n, uint8_t *code) noexcept nogil
