"""The list of prompts a leg plays."""

from libc.stdint cimport int16_t, int32_t, int64_t

cdef enum:
    LISTED = 64             # items a leg may have waiting
    PLAY_LOOP = 1
    PLAY_BARGE = 2
    PLAY_KEYS = 4
    PLAY_LAST = 8           # the last item of its token

cdef struct Prompt:
    int16_t *pcm            # 8 kHz; owned by the thread that talks to the engine
    int32_t samples
    int32_t users           # list items that name it; the engine's
    int32_t doomed          # free_prompt was asked for
    int32_t gone            # set by the engine when the memory may be taken back (atomic)

cdef struct Item:
    int32_t prompt
    int32_t flags
    int64_t token

cdef struct Playout:
    Item items[LISTED]
    int count
    int current
    int first               # where the current token began
    int32_t at              # samples of the current item already played
    bint announced
    bint muted
    int64_t muted_frames
    int64_t begun[4]        # tokens that began / ended within the last frame, for the caller of take
    int n_begun
    int64_t ended[LISTED]
    int n_ended

cdef bint playout_add(Playout *p, Prompt *prompts, int32_t prompt, int32_t flags, int64_t token) noexcept nogil
cdef void playout_clear(Playout *p, Prompt *prompts) noexcept nogil
cdef void playout_skip(Playout *p, Prompt *prompts, int32_t flag) noexcept nogil
cdef bint playout_take(Playout *p, Prompt *prompts, int16_t *out, int n) noexcept nogil
cdef void prompt_doom(Prompt *p) noexcept nogil
