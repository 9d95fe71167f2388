"""Two tones in a window of 20 ms at 8 kHz, by least squares."""

cdef enum:
    WINDOW = 160            # samples

cdef struct Pair:           # two tones as fitted
    float row               # mean squares
    float col
    float row_off           # Hz
    float col_off
    float row_slope         # of the level, over half a window
    float col_slope
    float rest              # share of the power that is neither
    float flat              # 0..1, how much like noise that is

cdef bint pair_fit(const float *x, float row_hertz, float col_hertz, Pair *p) noexcept nogil
