"""Generator of keys in band (ITU-T Q.23), 8 kHz."""

from libc.stdint cimport int16_t

cdef const char *KEYS       # by index: four of each row of the keypad

cdef struct DtmfOut:
    int digit
    double low_re           # the two oscillators
    double low_im
    double high_re
    double high_im
    int swell               # 0..SWELL: how far the key has faded in

cdef void dtmf_make_open(DtmfOut *o) noexcept nogil
cdef void dtmf_make(DtmfOut *o, int digit, int16_t *pcm, int n) noexcept nogil
