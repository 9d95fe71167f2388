# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Frames of the playout buffer of which something is missing: concealed, comfort noise, silence, and audio again after it."""

from libc.stdint cimport int16_t, int64_t
from libc.string cimport memset

from native.comfort cimport noise_make
from native.conceal cimport PAST, blend, conceal_begin, conceal_join, conceal_make
from native.held cimport held_drop, held_read, held_write
from native.jitter cimport OUT_AUDIO, OUT_MADE_UP, OUT_NOISE, OUT_SILENCE, Jitter, advance, noisy

cdef enum:
    OVERLAP = 40            # 2.5 ms at 16 kHz

cdef int64_t NEVER = 1 << 62


cdef void patch_blank(Jitter *j) noexcept nogil:
    """Nothing was heard before `play`."""
    cdef int16_t nothing[PAST]
    memset(nothing, 0, sizeof(nothing))
    held_write(&j.held, j.play - j.past, nothing, j.past)


cdef bint ready(Jitter *j, int64_t t) noexcept nogil:
    """Whether the talk spurt that waits begins now; then `play` is there."""
    cdef int64_t most = 2 * j.rate // 5, oldest
    if j.held.runs and j.running:
        oldest = t - j.delay.base - most
        if j.held.run[0].a < oldest:
            j.dropped += held_drop(&j.held, oldest)
    if j.held.runs == 0 or j.running and t < j.held.run[0].a + j.delay.base + j.delay.target:
        return False
    j.play = j.held.run[0].a
    j.hold = 0
    j.silent = False
    j.pace = j.step = j.wish = 0
    patch_blank(j)
    return True


cdef void hush(Jitter *j, int16_t *out, int n, bint quiet) noexcept nogil:
    """Nothing is being said."""
    if noisy(j) and not quiet:
        noise_make(&j.noise, out, n)
        j.source = OUT_NOISE
    else:
        memset(out, 0, n * sizeof(int16_t))
        if quiet or j.source == OUT_NOISE:
            j.source = OUT_SILENCE


cdef void make_up(Jitter *j, int16_t *out, int n, bint quiet) noexcept nogil:
    """n samples in place of lost ones; in the ring they are the history of what follows."""
    cdef int16_t past[PAST]
    cdef int most
    if quiet or noisy(j):
        j.silent = True
        hush(j, out, n, quiet)
        return
    if j.source != OUT_MADE_UP:
        held_read(&j.held, j.play - j.past, past, j.past)
        conceal_begin(&j.conceal, j.rate, past)
        j.source = OUT_MADE_UP
    most = 6 * (j.rate // 100) - j.conceal.lost
    conceal_make(&j.conceal, out, n)
    held_write(&j.held, j.play + j.hold, out, n)
    j.concealed += n if n < most else most
    j.silent = n >= most


cdef void resume(Jitter *j, int16_t *pcm, int n) noexcept nogil:
    """Audio again: its beginning is blended into what was heard before it; briefly where that was silence or noise."""
    cdef int16_t old[OVERLAP]
    cdef int overlap = j.rate // 400 if j.rate // 400 < n else n, k
    cdef float part = 1.0 / (overlap + 1)
    if j.source == OUT_MADE_UP and j.conceal.lost < 6 * (j.rate // 100):
        conceal_join(&j.conceal, pcm, n)
    elif j.source != OUT_SILENCE:
        memset(old, 0, sizeof(old))
        if j.source == OUT_NOISE:
            noise_make(&j.noise, old, overlap)
        for k in range(overlap):
            pcm[k] = blend(old[k], pcm[k], (k + 1) * part)
    j.source = OUT_AUDIO


cdef void patch_take(Jitter *j, int16_t *out, bint quiet, int64_t t) noexcept nogil:
    """A frame of which something is missing, or after something was."""
    cdef int at = 0, n
    cdef int64_t gap
    while at < j.frame:
        n = j.frame - at
        if j.silent and not ready(j, t):
            hush(j, out + at, n, quiet)
            j.hold += n
            break
        gap = j.held.run[0].a - j.play if j.held.runs else NEVER
        if gap > j.hold:
            n = n if n < gap - j.hold else <int>(gap - j.hold)
            make_up(j, out + at, n, quiet)
            j.hold += n
        else:
            j.play += gap
            j.hold = 0
            n = n if n < j.held.run[0].b - j.play else <int>(j.held.run[0].b - j.play)
            held_read(&j.held, j.play, out + at, n)
            if j.source != OUT_AUDIO:
                resume(j, out + at, n)
                held_write(&j.held, j.play, out + at, n)
            advance(j, n)
            j.played += n
        at += n
    j.noise_frames += j.source == OUT_NOISE
