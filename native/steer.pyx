# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Keeps the delay of the playout buffer where it shall be, while audio plays."""

from libc.stdint cimport int16_t, int64_t

from native.conceal cimport blend, peak
from native.held cimport held_read, held_write
from native.jitter cimport WIDE, Jitter, advance
from native.stretch cimport stretch_find, stretch_make

cdef enum:
    LOUD = 300              # no sample of silence is larger
    SURE = 10               # ticks that a wish must last
    PATIENT = 500           # ticks for which silence is waited for where the delay may stay too long
    HASTY = 50              # and where it is too short by less than half a frame
    REACH = 240             # the most that is taken out or put in at once: 15 ms at 16 kHz

cdef float LIKE = 0.9       # likeness that a pitch period must have
cdef float LESS = 0.05      # and how much less at every try, where it is urgent


cdef bint stretch(Jitter *j, int16_t *out, int step, int most, bint speech, bint must) noexcept nogil:
    """Takes out (step 1) or puts in (-1) a pitch period of at most `most` samples; only out of silence unless `speech`.
    False where there is none just now. `must`: less and less likeness is asked for."""
    cdef int16_t line[REACH + WIDE + REACH]
    cdef int16_t *x = line + REACH
    cdef int lag = most, ahead = 0
    cdef float likeness
    if step > 0:
        ahead = <int>(j.held.run[0].b - j.play - j.frame) if j.held.run[0].b - j.play - j.frame < most else most
        most = lag = ahead
    if most < j.rate // 400:
        return False
    held_read(&j.held, j.play - REACH, line, REACH + j.frame + ahead)
    if peak(x, j.frame + ahead) >= LOUD:
        if not speech:
            return False
        j.pace = 4
        lag = stretch_find(x, j.rate, step, most, &likeness)
        if likeness < LIKE - j.eager:
            j.eager += LESS if must else 0
            j.pace = 2 if must else 5
            return False
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


cdef bint act(Jitter *j, int16_t *out, int64_t spare, int within) noexcept nogil:
    """Stretches as `spare` and `within` ask for: at once where audio is being lost or long overdue, else in silence."""
    cdef int most = 3 * j.rate // 200
    cdef bint long = spare > j.frame + j.frame // 16, short = spare < -j.frame // 16
    cdef int step = -1 if short else 1 if long or within >= j.frame // 4 else 0
    cdef bint now = spare < -j.frame // 2 or spare > 3 * j.frame
    j.wish = 0 if step != j.step else j.wish + 1
    j.step = step
    if j.pace > 0:
        j.pace -= 1
        return False
    if step == 0 or j.wish < SURE and not now and not short:
        return False
    now = now or j.wish >= (HASTY if short else PATIENT)
    if step > 0 and not long:
        most = within if within < most else most
    return stretch(j, out, step, most, now, short or long)


cdef bint steer_take(Jitter *j, int16_t *out, int64_t t) noexcept nogil:
    """Keeps the delay where it shall be; True where the frame was made on the way.

    `spare`: how much later packets could come. The first sample of one is needed at the tick whose frame holds it, so
    what lies `within` the frame before it is delay that serves nothing; it goes where that is easy.
    """
    cdef int64_t delay = t - j.delay.base - j.play, spare
    cdef int within = <int>(j.newest - j.play) % j.grid
    within = within if within >= 0 else within + j.grid
    spare = delay - j.delay.target - (j.frame - j.grid) - within
    j.delay_ms = <int>(delay * 1000 // j.rate)
    if delay > 9 * j.rate // 20 and leap(j, out, delay - j.delay.target - j.frame):
        return True
    return act(j, out, spare, within)
