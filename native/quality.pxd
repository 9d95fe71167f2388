"""Speech quality as a caller would score it: the E-model (ITU-T G.107)."""

from libc.stdint cimport int64_t

cdef float quality_burst(int64_t expected, int64_t lost, int64_t runs) noexcept nogil
cdef float quality_r(int codec, float loss_percent, float burst, float delay_ms) noexcept nogil
cdef float quality_mos(int codec, float loss_percent, float burst, float delay_ms) noexcept nogil
