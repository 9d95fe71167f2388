# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Echo guard for barge-in.

What was played is kept for half a second. When the caller seems to speak, the last 60 ms heard are correlated with
what was played at every delay up to 450 ms: audio that is explained by one delay is the prompt's own echo and
interrupts nothing. The delay found so starts a short NLMS filter (Haykin, Adaptive Filter Theory, chapter 6, on
pre-emphasized signals) around it; from then on speech is looked for in what the filter leaves, so that a caller softer
than the echo is still heard. Silent legs and legs without a prompt cost nothing of this.
"""

from libc.string cimport memcpy, memmove, memset

from native.filters cimport adapt, dot, high_pass, slide

cdef float EMPHASIS = 0.9
cdef float SAME = 0.30              # share of the power one delay must explain for an echo, before the filter has converged
cdef float SAME_LOUD = 0.50         # ... where it is louder than echoes are
cdef float SAME_PLAIN = 0.70         # ... without pre-emphasis
cdef float SAME_LEFT = 0.20          # of what the filter leaves, by delays near its own: it fits badly
cdef float SAME_REST = 0.40          # of what remains, by a second delay: the path changes, or reflects
cdef float CEILING = 0.5            # -3 dB: the loudest echo that is likely, by the loudest step that can return now
cdef float SAME_LOCKED = 0.85       # ... at the delay of a filter that has, where it leaves too much
cdef float SAME_ECHOLESS = 0.80     # where the line has shown that it gives nothing back
cdef float NOTHING_BACK = 0.001     # -30 dB
cdef int CLEAR_STEPS = 120          # longer than the longest echo and a pause together
cdef float CONVERGED = 0.10
cdef float LEFT_OVER = 0.15         # share of the heard power that must be left for a caller
cdef float STEP_SIZE = 0.5
cdef float NOISE = 20
cdef int LOUD = 64                  # peak of a played frame that can cause an echo


cdef void echo_reset(Echo *e) noexcept nogil:
    cdef int64_t end = e.end
    memset(e, 0, sizeof(Echo))
    e.end = end
    e.stale = True
    e.loud_until = -1
    e.quality = 1


cdef int peak_of(const int16_t *pcm, int n) noexcept nogil:
    """Largest magnitude."""
    cdef int16_t least = 0, most = 0, x
    cdef int k
    for k in range(n):
        x = pcm[k]
        least = x if x < least else least
        most = x if x > most else most
    return most if most > -<int>least else -<int>least


cdef void weigh(Echo *e, const int16_t *pcm, int64_t at) noexcept nogil:
    """One step's power into the ring of those played."""
    cdef float power = 0
    cdef int k, place = (at // BLOCK) & (PLAYED - 1)
    for k in range(BLOCK):
        power += <float>pcm[k] * <float>pcm[k]
    e.total_sent -= e.power_sent[place]
    e.power_sent[place] = <int64_t>(power / BLOCK)
    e.total_sent += e.power_sent[place]


cdef void echo_played(Echo *e, const int16_t *pcm, int n) noexcept nogil:
    """What just went out (after coding), up to 480 samples. It is kept as it is until somebody needs it filtered."""
    cdef int k, peak = peak_of(pcm, n)
    if peak <= LOUD and e.end > e.loud_until:
        e.end += n
        e.stale = True
        return
    if e.stale:
        e.stale = False
        memset(e.sent, 0, KEEP * sizeof(int16_t))
        memset(e.power_sent, 0, sizeof(e.power_sent))
        e.total_sent = 0
        e.done = -1
        e.filled = KEEP
    if e.filled + n > ROOM:
        k = e.filled - KEEP
        memmove(e.sent, e.sent + k, KEEP * sizeof(int16_t))
        if e.done > k:
            memmove(e.ref, e.ref + k, (e.done - k) * sizeof(float))
            memmove(e.white, e.white + k, (e.done - k) * sizeof(float))
        e.done = e.done - k if e.done > k else -1
        e.begin = e.begin - k if e.begin > k else 0
        e.filled = KEEP
    memcpy(e.sent + e.filled, pcm, n * sizeof(int16_t))
    for k in range(n // BLOCK):
        weigh(e, pcm + k * BLOCK, e.end + k * BLOCK)
    e.filled += n
    e.end += n
    if peak > LOUD:
        e.loud_until = e.end + REACH + RECENT


cdef void filter_played(Echo *e) noexcept nogil:
    """Brings `ref`, `white` and `power_played` up to what was played last."""
    cdef int k, n
    cdef int64_t at
    if e.done < e.filled - KEEP:
        e.begin = e.done = e.filled - KEEP
        memset(e.high, 0, sizeof(e.high))
        memset(e.power_played, 0, sizeof(e.power_played))
        e.before = 0
    n = e.filled - e.done
    if n == 0:
        return
    high_pass(e.high, e.sent + e.done, e.ref + e.done, n)
    for k in range(e.done, e.filled):
        e.white[k] = e.ref[k] - EMPHASIS * (e.ref[k - 1] if k > e.done else e.before)
    e.before = e.ref[e.filled - 1]
    at = e.end - n
    for k in range(n // BLOCK):
        e.power_played[((at // BLOCK) + k) & (PLAYED - 1)] = dot(e.ref + e.done + k * BLOCK, e.ref + e.done + k * BLOCK, BLOCK) / BLOCK
    e.done = e.filled


cdef bint echo_possible(Echo *e, int64_t at) noexcept nogil:
    """Whether audio heard at `at` (samples on the played timeline) can hold an echo."""
    return not e.stale and at < e.loud_until


cdef inline int place(Echo *e, int64_t at) noexcept nogil:
    """Where sample `at` stands in the buffers; negative when it is not there."""
    cdef int64_t k = at - e.end + e.filled
    return <int>k if k >= e.begin and k < e.filled else -1


cdef void filter_step(Echo *e, int start, const float *heard, float *left) noexcept nogil:
    """left = heard less the estimated echo; `start`: place of the played sample under the last tap of the first sample."""
    cdef float echo[BLOCK]
    cdef int k
    slide(e.taps, TAPS, e.ref + start, echo, BLOCK)
    for k in range(BLOCK):
        left[k] = heard[k] - echo[k]


cdef void adapt_step(Echo *e, int start, const float *heard, float before, float size) noexcept nogil:
    """One pass of normalized LMS over the step, in pre-emphasis; `before`: the heard sample before the step;
    `size`: 0..1, less where the echo is hardly above the noise."""
    cdef float wanted[BLOCK]
    cdef float power[BLOCK]
    cdef const float *x = e.white + start
    cdef int k
    power[0] = dot(x, x, TAPS)
    for k in range(1, BLOCK):
        power[k] = power[k - 1] + x[k + TAPS - 1] * x[k + TAPS - 1] - x[k - 1] * x[k - 1]
    for k in range(BLOCK):
        wanted[k] = heard[k] - EMPHASIS * (heard[k - 1] if k else before)
        power[k] = size / ((power[k] if power[k] > 0 else 0) + 20000)
    adapt(e.taps, TAPS, x, wanted, power, BLOCK)


cdef void shift(float *window, const float *step) noexcept nogil:
    memmove(window, window + BLOCK, (RECENT - BLOCK) * sizeof(float))
    memcpy(window + RECENT - BLOCK, step, BLOCK * sizeof(float))


cdef void watch_line(Echo *e, float heard) noexcept nogil:
    """A line that stays silent for 1.2 s of a loud prompt has no echo: chance likeness then denies nobody."""
    cdef float played = <float>(e.total_sent // PLAYED)
    if e.echoless:
        return
    if played > 10000 and heard < NOTHING_BACK * played:
        e.clear += 1
        if e.clear >= CLEAR_STEPS:
            e.echoless = True
            e.locked = False
    elif heard >= NOTHING_BACK * played:
        e.clear = 0


cdef void echo_skip(Echo *e, bint possible, float power) noexcept nogil:
    """A step heard that nothing is looked for in: too quiet (`power`: its mean square), or no echo is `possible`."""
    if e.missing < RECENT // BLOCK:
        e.missing += 1
    if possible:
        watch_line(e, power)
        if e.hold:
            e.hold -= 1


cdef void echo_catch_up(Echo *e, const float *newest) noexcept nogil:
    """Puts skipped steps into `heard` and `left`; they stand, high-passed, before the `newest` one."""
    cdef const float *step
    cdef float power
    cdef int k
    for k in range(min(e.missing, RECENT // BLOCK - 1), 0, -1):
        step = newest - k * BLOCK
        power = dot(step, step, BLOCK) / BLOCK
        remember(e, step, step, power, power)
    e.missing = 0


cdef void remember(Echo *e, const float *heard, const float *left, float before, float after) noexcept nogil:
    """One step more in `heard` and `left`, and their mean squares."""
    cdef int k
    shift(e.heard, heard)
    shift(e.left, left)
    for k in range(5):
        e.power_heard[k] = e.power_heard[k + 1]
        e.power_left[k] = e.power_left[k + 1]
    e.power_heard[5] = before
    e.power_left[5] = after


cdef float echo_cancel(Echo *e, int64_t at, float *step, bint loud, float floor) noexcept nogil:
    """Takes the echo out of one heard step, in place, where its delay is known. Gives the mean square that is left."""
    cdef float left[BLOCK]
    cdef float before, after, expected, change
    cdef int start, k
    before = dot(step, step, BLOCK) / BLOCK
    watch_line(e, before)
    memcpy(left, step, sizeof(left))
    after = before
    if e.locked and loud:
        filter_played(e)
        start = place(e, at - e.lag - (TAPS - 1 - AHEAD))
        if start >= 1 and place(e, at - e.lag + AHEAD + BLOCK) >= 0:
            filter_step(e, start, step, left)
            after = dot(left, left, BLOCK) / BLOCK
            expected = 0
            for k in range(BLOCK):
                change = step[k] - left[k]
                expected += change * change
            expected /= BLOCK
            if e.steps > 20 and e.quality < CONVERGED and after > (<float>0.1 + 4 * e.quality) * expected:
                e.hold = 6                          # somebody else speaks: nothing to learn from
            if e.hold == 0:
                for k in range(1 if e.quality < CONVERGED else 2):
                    adapt_step(e, start, step, e.heard[RECENT - 1], STEP_SIZE * before / (before + NOISE * floor))
                e.steps += 1
                if expected > 1000:
                    change = after / (before + 1)
                    e.quality += (<float>0.05 if change > e.quality else <float>0.1) * (change - e.quality)
            if after > before:
                after = before
                memcpy(left, step, sizeof(left))
    if e.hold:
        e.hold -= 1
    remember(e, step, left, before, after)
    memcpy(step, left, sizeof(left))
    return after


cdef int lay_out(Echo *e, int64_t at, float *window, float (*phases)[2312], int *first) noexcept nogil:
    """Every second sample of what was heard last, pre-emphasized, and both phases of what was played. Gives their length."""
    cdef int half = RECENT // 2, last, k, n
    first[0] = <int>(at - RECENT - REACH - e.end + e.filled)
    last = first[0] + REACH + RECENT
    if first[0] < e.begin:
        first[0] = e.begin + ((first[0] - e.begin) & 1)
    if last > e.filled:
        last = e.filled
    n = (last - first[0]) // 2
    for k in range(half):
        window[k] = e.heard[2 * k] - (EMPHASIS * e.heard[2 * k - 1] if k else 0)
    for k in range(n):
        phases[0][k] = e.white[first[0] + 2 * k]
        phases[1][k] = e.white[first[0] + 2 * k + 1]
    return n


cdef float best_match(const float *window, float (*phases)[2312], int n, int *which_best, int *at_best, float *gain) noexcept nogil:
    """The piece of what was played that explains most of the window, and the share (0..1) of its power it explains."""
    cdef float totals[2312]
    cdef float own = 1, power, total, share, best = 0
    cdef int half = RECENT // 2, which, i
    cdef float *line
    own += dot(window, window, half)
    for which in range(2):
        line = phases[which]
        power = dot(line, line, half)
        slide(window, half, line, totals, n - half)
        for i in range(n - half):
            total = totals[i]
            if total > 0:
                share = total * total / (own * (power + 1000))
                if share > best:
                    best = share
                    which_best[0] = which
                    at_best[0] = i
                    gain[0] = total / (power + 1000)
            power += line[i + half] * line[i + half] - line[i] * line[i]
    return best


cdef float echo_search(Echo *e, int64_t at, int64_t *lag, float *gain, float *rest) noexcept nogil:
    """The delay that explains most of the last 60 ms heard, and the share (0..1) of their power it explains.

    `at`: position of the sample after the newest heard one; `rest`: where not NULL, the share of the
    remainder that a second delay explains.
    """
    cdef float window[240]          # RECENT / 2
    cdef float phases[2][2312]      # (KEEP + 16) / 2
    cdef int first = 0, which = 0, place_best = 0, k, n
    cdef float share, other = 0
    e.searches += 1
    filter_played(e)
    n = lay_out(e, at, window, phases, &first)
    if n <= RECENT // 2:
        return 0
    share = best_match(window, phases, n, &which, &place_best, gain)
    lag[0] = at - RECENT - (e.end - e.filled + first + 2 * place_best + which)
    if rest != NULL:
        for k in range(RECENT // 2):
            window[k] -= gain[0] * phases[which][place_best + k]
        rest[0] = best_match(window, phases, n, &which, &place_best, &other)
    return share


cdef float plain_share(Echo *e, int64_t at, int64_t lag) noexcept nogil:
    """The share one delay explains without pre-emphasis: what counts where noise hides the upper band."""
    cdef int start = place(e, at - RECENT - lag)
    cdef float total
    if start < 0 or start + RECENT > e.filled:
        return 0
    total = dot(e.heard, e.ref + start, RECENT)
    if total <= 0:
        return 0
    return total * total / ((dot(e.heard, e.heard, RECENT) + 1) * (dot(e.ref + start, e.ref + start, RECENT) + 1000))


cdef float misfit(Echo *e, int64_t at) noexcept nogil:
    """The most of what the filter left that a delay under its taps explains: much where it fits badly, little of a caller."""
    cdef float window[RECENT]
    cdef float own = 1, power, total, share, best = 0
    cdef int k, tap, start
    cdef const float *line
    for k in range(RECENT):
        window[k] = e.left[k] - (EMPHASIS * e.left[k - 1] if k else 0)
    own += dot(window, window, RECENT)
    for tap in range(-AHEAD, TAPS - AHEAD):
        start = place(e, at - RECENT - e.lag - tap)
        if start < 0 or start + RECENT > e.filled:
            continue
        line = e.white + start
        total = dot(window, line, RECENT)
        power = dot(line, line, RECENT) + 1000
        share = total * total / (own * power)
        if share > best:
            best = share
    e.rest = best
    return best


cdef void lock(Echo *e, int64_t lag, float gain, bint useful) noexcept nogil:
    """The filter starts as one tap at the delay found; a useful one that stood there already is kept."""
    if e.locked and useful and lag - e.lag < AHEAD and e.lag - lag < AHEAD:
        return
    e.locked = True
    e.locks += 1
    e.lag = lag
    e.quality = 1
    e.steps = 0
    e.hold = 0
    memset(e.taps, 0, sizeof(e.taps))
    e.taps[TAPS - 1 - AHEAD] = gain


cdef bint echo_explains(Echo *e, int64_t at) noexcept nogil:
    """Second opinion before a prompt is interrupted. True when what was heard last is an echo (and locks on it)."""
    cdef int64_t lag = 0
    cdef float gain = 0, share, rest = 0, heard = 1, left = 0
    cdef bint converged = e.locked and e.steps > 20 and e.quality < CONVERGED
    cdef float loudest = 0
    cdef int k
    filter_played(e)
    for k in range(PLAYED):
        if e.power_played[k] > loudest:
            loudest = e.power_played[k]
    for k in range(6):
        heard += e.power_heard[k]
        left += e.power_left[k]
    if converged and left < (LEFT_OVER if LEFT_OVER > 4 * e.quality else 4 * e.quality) * heard:
        return True
    share = echo_search(e, at, &lag, &gain, &rest)
    e.share = share
    e.plain = plain_share(e, at, lag)
    e.rest = rest
    if e.echoless and not e.locked:
        if share < SAME_ECHOLESS and e.plain < SAME_LOCKED:
            return False
    elif converged and lag - e.lag < AHEAD and e.lag - lag < AHEAD:
        if share < SAME_LOCKED and e.plain < SAME_LOCKED and rest < SAME_REST and misfit(e, at) < SAME_LEFT:
            return False
    elif share < (SAME if heard < 6 * CEILING * loudest else SAME_LOUD) and e.plain < SAME_PLAIN and rest < SAME_REST:
        return False
    e.echoless = False
    e.clear = 0
    lock(e, lag, gain, left < <float>0.5 * heard)
    if left > e.quality * heard:        # the filter was believed better than it is: it learns again
        e.quality = left / heard
    e.hold = 0
    return True
