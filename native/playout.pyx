# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Prompt playout: items follow each other without a gap; one token is one `play`, begun once and ended once."""

from libc.string cimport memcpy, memset

from native.clib cimport RELEASE, store32


cdef void let_go(Prompt *p) noexcept nogil:
    p.users -= 1
    if p.doomed and p.users == 0:
        store32(&p.gone, 1, RELEASE)


cdef void prompt_doom(Prompt *p) noexcept nogil:
    """The prompt is freed as soon as nobody plays it."""
    p.doomed = 1
    if p.users == 0:
        store32(&p.gone, 1, RELEASE)


cdef bint playout_add(Playout *p, Prompt *prompts, int32_t prompt, int32_t flags, int64_t token) noexcept nogil:
    """Appends one item. False when the list is full."""
    cdef int k, done = p.first
    if p.count == LISTED and done:
        for k in range(done, p.count):
            p.items[k - done] = p.items[k]
        p.count -= done
        p.current -= done
        p.first = 0
    if p.count == LISTED:
        return False
    p.items[p.count].prompt = prompt
    p.items[p.count].flags = flags
    p.items[p.count].token = token
    p.count += 1
    prompts[prompt].users += 1
    return True


cdef void drop_before(Playout *p, Prompt *prompts, int until) noexcept nogil:
    """Items before `until` are over."""
    cdef int k
    for k in range(p.first, until):
        let_go(&prompts[p.items[k].prompt])
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


cdef bint playout_take(Playout *p, Prompt *prompts, int16_t *out, int n) noexcept nogil:
    """Fills `n` samples from the list, silence after its end. False when there is nothing to play (or it is muted)."""
    cdef int filled = 0, part
    cdef Item *item
    cdef Prompt *prompt
    if p.count == 0:
        return False
    if p.muted:
        p.muted_frames += 1
        return False
    while filled < n and p.count:
        item = &p.items[p.current]
        prompt = &prompts[item.prompt]
        if not p.announced:
            if p.n_begun == 4:
                break
            p.announced = True
            p.begun[p.n_begun] = item.token
            p.n_begun += 1
        part = prompt.samples - p.at
        if part > n - filled:
            part = n - filled
        memcpy(out + filled, prompt.pcm + p.at, part * sizeof(int16_t))
        filled += part
        p.at += part
        if p.at < prompt.samples:
            continue
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
