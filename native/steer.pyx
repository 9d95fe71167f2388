# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Keeps the delay of the playout buffer where it shall be, while audio plays."""

from libc.stdint cimport int16_t, int64_t

from native.conceal cimport blend, peak
from native.held cimport held_read, held_write
from native.jitter cimport WIDE, Jitter, advance
from native.stretch cimport stretch_find, stretch_make

cdef enum:
    LOUD = 300              # no sample of silence is larger
    PATIENCE = 10           # ticks that a delay must be too long before it is shortened
    REACH = 240             # the most that is taken out or put in at once: 15 ms at 16 kHz

cdef float LIKE = 0.9       # likeness that a pitch period must have
cdef float LESS = 0.05      # and how much less at every try, where it is urgent


cdef bint stretch(Jitter *j, int16_t *out, int step, int most, bint urgent) noexcept nogil:
    """Takes out (step 1) or puts in (-1) a pitch period of at most `most` samples. False where there is none just now."""
    cdef int16_t line[REACH + WIDE + REACH]
    cdef int16_t *x = line + REACH
    cdef int lag, least = j.rate // 400, ahead = 0
    cdef float likeness
    if step > 0:
        ahead = <int>(j.held.run[0].b - j.play - j.frame) if j.held.run[0].b - j.play - j.frame < most else most
        most = ahead
    if most < least:
        return False
    held_read(&j.held, j.play - REACH, line, REACH + j.frame + ahead)
    lag = stretch_find(x, j.rate, step, most, &likeness)
    j.pace = 2 if urgent else 5
    if peak(x, j.frame + ahead) < LOUD:
        lag = most
    elif likeness < LIKE - (j.eager if urgent else 0):
        if urgent:
            j.eager += LESS
        return False
    else:
        j.pace = 4
    j.eager = 0
    stretch_make(x, j.rate, step * lag, out, j.frame)
    advance(j, j.frame + step * lag)
    held_write(&j.held, j.play - j.frame, out, j.frame)
    j.played += j.frame if step > 0 else j.frame - lag
    j.removed += lag if step > 0 else 0
    j.inserted += lag if step < 0 else 0
    j.stretched += lag
    return True


cdef bint leap(Jitter *j, int16_t *out, int64_t n) noexcept nogil:
    """Leaves n samples out at once: the delay is far too long."""
    cdef int16_t old[WIDE]
    cdef int overlap = j.rate // 200, k
    cdef float part = 1.0 / (overlap + 1)
    if j.held.run[0].b < j.play + n + j.frame:
        return False
    held_read(&j.held, j.play, old, j.frame)
    advance(j, n)
    held_read(&j.held, j.play, out, j.frame)
    for k in range(overlap):
        out[k] = blend(old[k], out[k], (k + 1) * part)
    advance(j, j.frame)
    held_write(&j.held, j.play - j.frame, out, j.frame)
    j.dropped += n
    j.played += j.frame
    return True


cdef bint steer_take(Jitter *j, int16_t *out, int64_t t) noexcept nogil:
    """Keeps the delay where it shall be; True where the frame was made on the way.

    `spare`: how much later packets could come. The first sample of one is needed at the tick whose frame holds it, so
    what lies `within` the frame before it is delay that serves nothing; it goes where that is easy.
    """
    cdef int64_t delay = t - j.delay.base - j.play, spare
    cdef int most = 3 * j.rate // 200
    cdef bint long
    cdef int within = <int>(j.newest - j.play) % j.grid
    within = within if within >= 0 else within + j.grid
    spare = delay - j.delay.target - (j.frame - j.grid) - within
    j.delay_ms = <int>(delay * 1000 // j.rate)
    if delay > 9 * j.rate // 20 and leap(j, out, delay - j.delay.target - j.frame):
        return True
    long = spare > j.frame + j.frame // 16
    if not long and within < j.frame // 4:
        j.wish = 0
    elif j.wish < PATIENCE:
        j.wish += 1
    if j.pace > 0:
        j.pace -= 1
        return False
    if spare < -j.frame // 16:
        return stretch(j, out, -1, most, True)
    if j.wish >= PATIENCE or spare > 3 * j.frame:
        return stretch(j, out, 1, most if long or within > most else within, long)
    return False
