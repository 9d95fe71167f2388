"""Speech or not, in steps of 10 ms at 8 kHz: level over an adaptive noise floor, WebRTC VAD, periodicity."""

from libc.stdint cimport int16_t, int32_t

cdef enum:
    STEP = 80               # samples a step
    VIEW = 320              # samples the periodicity is looked for in (40 ms)
    SEEN = 480              # high-passed samples at hand (60 ms)
    LINED = 1440            # ... with room for those that follow

cdef enum:
    NO_SPEECH = 0
    UNVOICED = 1            # like a consonant
    VOICED = 2

ctypedef int (*vad_create_t)(void **instance) noexcept nogil
ctypedef int (*vad_init_t)(void *instance) noexcept nogil
ctypedef int (*vad_mode_t)(void *instance, int mode) noexcept nogil
ctypedef int (*vad_process_t)(void *instance, int rate, const int16_t *pcm, size_t n) noexcept nogil
ctypedef void (*vad_free_t)(void *instance) noexcept nogil

cdef struct Vad:
    void *webrtc            # NULL: the fallback, level and periodicity alone
    float high[4]           # state of the high-pass filter
    float floor             # noise floor, mean square
    float ambient           # level that most steps stay below, mean square
    float least             # smallest smoothed level of this window
    float smooth
    int window              # steps since the window began
    float level             # of the newest step, mean square after the high-pass filter
    float period            # 0..1, how periodic the last 40 ms are (0 where nobody asked)
    int hushed              # newest steps that are not in `view`: silence
    int end                 # of the samples in `view`
    float view[LINED]       # high-passed samples, newest last

cdef void *vad_open(int mode) noexcept nogil
cdef void vad_close(void *webrtc) noexcept nogil
cdef void vad_reset(Vad *v, void *webrtc) noexcept nogil
cdef bint vad_hear(Vad *v, const int16_t *pcm) noexcept nogil


cdef inline float *vad_newest(Vad *v) noexcept nogil:
    """The newest step, high-passed."""
    return v.view + v.end - STEP


cdef void vad_pass(Vad *v, bint speaking) noexcept nogil
cdef int vad_judge(Vad *v, bint speaking) noexcept nogil
cdef float periodicity(const float *x, int n) noexcept nogil
