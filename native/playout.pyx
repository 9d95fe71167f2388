# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Prompt playout: items follow each other without a gap; one token is one `play`, begun once and ended once."""

from libc.string cimport memcpy, memset

from native.clib cimport ACQUIRE, RELEASE, add32, load32, store32
from native.resample cimport double_rate, halve_rate


cdef void prompt_take(Prompt *p, int32_t n) noexcept nogil:
    """The commanding thread, before a command that names the prompt `n` times leaves: it can't go meanwhile."""
    add32(&p.users, n)


cdef void prompt_let_go(Prompt *p) noexcept nogil:
    if add32(&p.users, -1) == 0 and load32(&p.doomed, ACQUIRE):
        store32(&p.gone, 1, RELEASE)


cdef void prompt_doom(Prompt *p) noexcept nogil:
    """The commanding thread: the prompt is given up as soon as nobody plays it."""
    add32(&p.doomed, 1)
    if load32(&p.users, ACQUIRE) == 0:
        store32(&p.gone, 1, RELEASE)


cdef bint playout_add(Playout *p, Prompt *prompts, int32_t prompt, int32_t flags, int64_t token) noexcept nogil:
    """Appends one item, which was taken for it. False when the list is full; then it was let go."""
    cdef int k, done = p.first
    if p.count == LISTED and done:
        for k in range(done, p.count):
            p.items[k - done] = p.items[k]
        p.count -= done
        p.current -= done
        p.first = 0
    if p.count == LISTED:
        prompt_let_go(&prompts[prompt])
        return False
    p.items[p.count].prompt = prompt
    p.items[p.count].flags = flags
    p.items[p.count].token = token
    p.count += 1
    return True


cdef void drop_before(Playout *p, Prompt *prompts, int until) noexcept nogil:
    """Items before `until` are over."""
    cdef int k
    for k in range(p.first, until):
        prompt_let_go(&prompts[p.items[k].prompt])
    p.first = p.current = until
    p.at = 0
    p.announced = False
    if p.first == p.count:
        p.first = p.current = p.count = 0


cdef void end_token(Playout *p, Prompt *prompts) noexcept nogil:
    """The token that plays ends; `ended` names it."""
    cdef int k = p.first
    while not p.items[k].flags & PLAY_LAST and k + 1 < p.count:
        k += 1
    if p.n_ended < LISTED:
        p.ended[p.n_ended] = p.items[k].token
        p.n_ended += 1
    drop_before(p, prompts, k + 1)


cdef void playout_clear(Playout *p, Prompt *prompts) noexcept nogil:
    """Every token ends."""
    while p.count:
        end_token(p, prompts)
    p.muted = False


cdef void playout_skip(Playout *p, Prompt *prompts, int32_t flag) noexcept nogil:
    """Tokens at the head of the list that carry `flag` end."""
    while p.count and p.items[p.current].flags & flag:
        end_token(p, prompts)
    if p.count == 0:
        p.muted = False


cdef bint playout_over(const Playout *p) noexcept nogil:
    """Whether what plays is mixed over the rest."""
    return p.count > 0 and p.items[p.current].flags & PLAY_OVER


cdef int piece(Playout *p, const Prompt *prompt, int16_t *out, int n, bint wide) noexcept nogil:
    """Up to `n` samples of the prompt at the leg's rate; gives how many (none: its end)."""
    cdef int32_t left = prompt.samples - p.at
    cdef int32_t part
    if wide == prompt.wide:
        part = left if left < n else n
        memcpy(out, prompt.pcm + p.at, part * sizeof(int16_t))
        p.at += part
        return part
    if wide:
        part = left if left < n // 2 else n // 2
        double_rate(&p.doubler, prompt.pcm + p.at, out, part)
        p.at += part
        return 2 * part
    part = left // 2 if left // 2 < n else n
    halve_rate(&p.halver, prompt.pcm + p.at, out, 2 * part)
    p.at += 2 * part
    return part


cdef bint announce(Playout *p, const Item *item) noexcept nogil:
    """The first piece of a token is about to be heard. False when this frame has begun enough."""
    if p.announced:
        return True
    if p.n_begun == 4:
        return False
    p.announced = True
    p.begun[p.n_begun] = item.token
    p.n_begun += 1
    if p.at == 0:
        memset(&p.doubler, 0, sizeof(Doubler))
        memset(&p.halver, 0, sizeof(Halver))
    return True


cdef bint playout_take(Playout *p, Prompt *prompts, int16_t *out, int n, bint wide) noexcept nogil:
    """Fills `n` samples (16 kHz where `wide`) from the list, silence after its end. False when there is nothing to play
    (or it is muted)."""
    cdef int filled = 0, part
    cdef Item *item
    if p.count == 0:
        return False
    if p.muted:
        p.muted_frames += 1
        return False
    while filled < n and p.count:
        item = &p.items[p.current]
        if not announce(p, item):
            break
        part = piece(p, &prompts[item.prompt], out + filled, n - filled, wide)
        filled += part
        if filled < n or p.at >= prompts[item.prompt].samples:
            p.at = 0
            p.current += 1
            if not item.flags & PLAY_LAST:
                continue
            if item.flags & PLAY_LOOP and p.current == p.count and filled:
                p.current = p.first
            else:
                end_token(p, prompts)
    memset(out + filled, 0, (n - filled) * sizeof(int16_t))
    return True
