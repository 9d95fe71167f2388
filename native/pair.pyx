# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Least squares of two tones, exact where a Fourier sum of 20 ms is not: frequency, level, and what is neither."""

from libc.math cimport M_PI, cosf, sinf
from libc.string cimport memcpy, memset

cdef enum:
    UNKNOWNS = 8            # of each tone: cosine, sine, and both times a ramp

cdef float CLEAN = 0.03     # a rest smaller than this is not looked at any closer


cdef bint solve(float (*a)[UNKNOWNS + 1]) noexcept nogil:
    """Gaussian elimination of a symmetric positive system, right side in the last column; the answer replaces it."""
    cdef int i, j, k
    cdef float factor
    for i in range(UNKNOWNS):
        if a[i][i] < <float>1e-6:
            return False
        for j in range(i + 1, UNKNOWNS):
            factor = a[j][i] / a[i][i]
            for k in range(i, UNKNOWNS + 1):
                a[j][k] -= factor * a[i][k]
    for i in range(UNKNOWNS - 1, -1, -1):
        for k in range(i + 1, UNKNOWNS):
            a[i][UNKNOWNS] -= a[i][k] * a[k][UNKNOWNS]
        a[i][UNKNOWNS] /= a[i][i]
    return True


cdef void lay_out(float *column, float turn) noexcept nogil:
    """Cosine, sine, and both times a ramp from -1 to 1, of a tone that turns by `turn` each sample."""
    cdef int i
    cdef float ramp
    for i in range(WINDOW):
        ramp = (i - <float>79.5) / 80
        column[i] = cosf(turn * (i - <float>79.5))
        column[WINDOW + i] = sinf(turn * (i - <float>79.5))
        column[2 * WINDOW + i] = ramp * column[i]
        column[3 * WINDOW + i] = ramp * column[WINDOW + i]


cdef inline float dot(const float *a, const float *b) noexcept nogil:
    """Over one window."""
    cdef float total = 0
    cdef int i
    for i in range(WINDOW):
        total += a[i] * b[i]
    return total


cdef float flatness(const float *x) noexcept nogil:
    """What a linear prediction of order 8 leaves of a window's power: near 1 for white noise, near 0 for tones."""
    cdef float r[9]
    cdef float a[9]
    cdef float before[9]
    cdef float error, k, total
    cdef int i, j
    for j in range(9):
        total = 0
        for i in range(j, WINDOW):
            total += x[i] * x[i - j]
        r[j] = total
    error = r[0] + 1
    memset(a, 0, sizeof(a))
    for i in range(1, 9):
        total = r[i]
        for j in range(1, i):
            total += a[j] * r[i - j]
        k = -total / error
        memcpy(before, a, sizeof(a))
        for j in range(1, i):
            a[j] += k * before[i - j]
        a[i] = k
        error *= 1 - k * k
    return error / (r[0] + 1)


cdef bint pair_fit(const float *x, float row_hertz, float col_hertz, Pair *p) noexcept nogil:
    """Fits tones near two frequencies, each with its frequency's error and its level's slope, to a window.

    With z the tone's amplitude and w what its ramp got, w / z is the slope (real) and the error (imaginary). False
    where the two can't be told apart.
    """
    cdef float columns[UNKNOWNS * WINDOW]
    cdef float a[UNKNOWNS][UNKNOWNS + 1]
    cdef float left[WINDOW]
    cdef float total, size
    cdef int i, j
    lay_out(columns, row_hertz * <float>(2 * M_PI / 8000))
    lay_out(columns + 4 * WINDOW, col_hertz * <float>(2 * M_PI / 8000))
    for i in range(UNKNOWNS):
        for j in range(i, UNKNOWNS):
            a[i][j] = a[j][i] = dot(columns + i * WINDOW, columns + j * WINDOW)
        a[i][UNKNOWNS] = dot(columns + i * WINDOW, x)
    total = dot(x, x) + 1
    if not solve(a):
        return False
    for i in range(WINDOW):
        left[i] = x[i]
    for j in range(UNKNOWNS):
        size = a[j][UNKNOWNS]
        for i in range(WINDOW):
            left[i] -= size * columns[j * WINDOW + i]
    p.row = tone_of(a, 0, &p.row_off, &p.row_slope)
    p.col = tone_of(a, 4, &p.col_off, &p.col_slope)
    p.rest = dot(left, left) / total
    p.flat = 1 if p.rest < CLEAN else flatness(left)
    return True


cdef float tone_of(float (*a)[UNKNOWNS + 1], int i, float *off, float *slope) noexcept nogil:
    """A tone's mean square, and its error in Hz and slope over half a window."""
    cdef float x = a[i][UNKNOWNS], y = -a[i + 1][UNKNOWNS], u = a[i + 2][UNKNOWNS], v = -a[i + 3][UNKNOWNS]
    cdef float size = x * x + y * y + <float>1e-9
    slope[0] = (u * x + v * y) / size
    off[0] = (v * x - u * y) / size * <float>(8000 / (2 * M_PI * 80))
    return size / 2
