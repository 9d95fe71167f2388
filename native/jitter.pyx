# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Jitter buffer: 40 ms, more after late packets, less again when two seconds show that it is not needed."""

from libc.string cimport memcpy, memset

cdef enum:
    WINDOW = 100            # ticks: 2 s
    STRAYS = 3              # packets in a row outside the buffer that make it start again


cdef void jitter_reset(Jitter *j) noexcept nogil:
    """Forgets the stream; the counters stay."""
    j.running = False
    j.stray = 0
    j.fade = 3
    memset(j.last, 0, sizeof(j.last))
    memset(j.have, 0, sizeof(j.have))


cdef void begin(Jitter *j, int64_t stamp) noexcept nogil:
    jitter_reset(j)
    j.running = True
    j.play = stamp - TARGET
    j.least = SPAN
    j.window = 0


cdef void deepen(Jitter *j, int64_t short_by) noexcept nogil:
    """Plays later by whole frames, so that a packet `short_by` samples late is still heard."""
    cdef int64_t frames = (short_by + FRAME - 1) // FRAME
    cdef int64_t k
    j.play -= frames * FRAME
    for k in range(frames * FRAME):
        j.have[(j.play + k) & (SPAN - 1)] = 0


cdef bint jitter_put(Jitter *j, int64_t stamp, const int16_t *pcm, int n) noexcept nogil:
    """One packet's samples. False when it came too late to be heard (counted)."""
    cdef int64_t slack, at
    cdef int k
    if not j.running:
        begin(j, stamp)
    slack = stamp - j.play
    if slack + n > SPAN - FRAME or slack < -DEEPEST:
        j.stray += 1
        if j.stray < STRAYS:
            j.late += 1
            return False
        begin(j, stamp)
        slack = TARGET
    j.stray = 0
    if slack < j.least:
        j.least = slack
    if slack < 0:
        j.late += 1
        if slack < TARGET - DEEPEST:
            return False
        deepen(j, -slack)
        j.least = 0
    for k in range(n):
        at = (stamp + k) & (SPAN - 1)
        j.pcm[at] = pcm[k]
        j.have[at] = 1
    return True


cdef void shorten(Jitter *j) noexcept nogil:
    """Drops one frame at the end of a window in which every packet came a frame or more too early."""
    cdef int k
    j.window += 1
    if j.window < WINDOW:
        return
    if j.least < SPAN and j.least >= TARGET + FRAME + FRAME // 2:
        for k in range(FRAME):
            j.have[(j.play + k) & (SPAN - 1)] = 0
        j.play += FRAME
    j.least = SPAN
    j.window = 0


cdef void jitter_take(Jitter *j, int16_t *out, bint quiet) noexcept nogil:
    """The next 160 samples. What is missing repeats the last frame, fading out in 60 ms; `quiet` makes it silence."""
    cdef int k, missing = 0
    cdef int64_t at
    cdef int gain
    if not j.running:
        memset(out, 0, FRAME * sizeof(int16_t))
        return
    shorten(j)
    gain = 3 - j.fade if not quiet and j.fade < 3 else 0
    for k in range(FRAME):
        at = (j.play + k) & (SPAN - 1)
        if j.have[at]:
            j.have[at] = 0
            out[k] = j.pcm[at]
        else:
            out[k] = <int16_t>(j.last[k] * gain // 3)
            missing += 1
    j.play += FRAME
    if missing == 0:
        j.fade = 0
        memcpy(j.last, out, sizeof(j.last))
    else:
        j.fade = j.fade + 1 if j.fade < 3 else 3
        j.concealed += missing if gain else 0
