"""The list of prompts a leg plays."""

from libc.stdint cimport int16_t, int32_t, int64_t

from native.resample cimport Doubler, Halver

cdef enum:
    LISTED = 64             # items a leg may have waiting
    PLAY_LOOP = 1
    PLAY_BARGE = 2
    PLAY_KEYS = 4
    PLAY_LAST = 8           # the last item of its token
    PLAY_OVER = 16          # mixed over what the leg hears anyway

cdef struct Prompt:
    const int16_t *pcm      # shared with its owner, who keeps it until `gone`
    int32_t samples
    int32_t wide            # 16 kHz, else 8
    int32_t users           # list items and commands that name it (atomic)
    int32_t doomed          # free_prompt was asked for (atomic)
    int32_t gone            # nobody will read the memory any more (atomic)

cdef struct Item:
    int32_t prompt
    int32_t flags
    int64_t token

cdef struct Playout:
    int count
    int current
    int first               # where the current token began
    int32_t at              # samples of the current item already played
    bint announced
    bint muted
    int n_begun
    int n_ended
    int64_t muted_frames
    Item items[LISTED]
    int64_t begun[4]        # tokens that began / ended within the last frame, for the caller of take
    int64_t ended[LISTED]
    Doubler doubler         # for a prompt whose rate is not the leg's
    Halver halver

cdef bint playout_add(Playout *p, Prompt *prompts, int32_t prompt, int32_t flags, int64_t token) noexcept nogil
cdef void playout_clear(Playout *p, Prompt *prompts) noexcept nogil
cdef void playout_skip(Playout *p, Prompt *prompts, int32_t flag) noexcept nogil
cdef bint playout_over(const Playout *p) noexcept nogil
cdef bint playout_take(Playout *p, Prompt *prompts, int16_t *out, int n, bint wide) noexcept nogil
cdef void prompt_take(Prompt *p, int32_t n) noexcept nogil
cdef void prompt_let_go(Prompt *p) noexcept nogil
cdef void prompt_doom(Prompt *p) noexcept nogil
