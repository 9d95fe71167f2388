# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Voice activity of 10 ms steps. Cheap first: a step below the noise floor's gate costs a filter and a sum.

Steps above the gate go to the WebRTC VAD (two-mixture likelihood test) and, where it agrees, are searched for a pitch
in the residual of a short linear prediction, so that neither coloured noise nor clicks count as voice.
"""

from libc.math cimport sqrtf
from libc.string cimport memcpy, memmove, memset
from libc.stdint cimport uintptr_t

from native import foreign

cdef enum:
    ORDER = 8               # of the linear prediction
    LONGEST = 140           # samples: 57 Hz
    SHORTEST = 20           # samples: 400 Hz
    WINDOW = 40             # steps of the floor's minimum search: 400 ms

cdef float GATE = 4.0               # 6 dB over the floor
cdef float QUIET = 220.0            # mean square: -66.7 dBFS, below which nothing is speech
cdef float PERIODIC = 0.40

cdef vad_create_t create
cdef vad_init_t init
cdef vad_mode_t set_mode
cdef vad_process_t process
cdef vad_free_t release


cdef void *vad_open(int mode) noexcept nogil:
    """A WebRTC VAD instance, or NULL where there is none."""
    cdef void *webrtc = NULL
    if create == NULL or create(&webrtc) != 0:
        return NULL
    if init(webrtc) != 0 or set_mode(webrtc, mode) != 0:
        release(webrtc)
        return NULL
    return webrtc


cdef void vad_close(void *webrtc) noexcept nogil:
    if webrtc != NULL:
        release(webrtc)


cdef void vad_reset(Vad *v, void *webrtc) noexcept nogil:
    memset(v, 0, sizeof(Vad))
    v.webrtc = webrtc
    v.floor = QUIET
    v.least = 1e12
    v.smooth = QUIET


cdef void high_pass(Vad *v, const int16_t *pcm, float *out) noexcept nogil:
    """Second-order Butterworth at 200 Hz: keeps hum and rumble out of the level."""
    cdef float x1 = v.high[0], x2 = v.high[1], y1 = v.high[2], y2 = v.high[3], x, y
    cdef int k
    for k in range(STEP):
        x = pcm[k]
        y = <float>0.8948577 * (x - 2 * x1 + x2) + <float>1.7786318 * y1 - <float>0.8007991 * y2
        x2 = x1
        x1 = x
        y2 = y1
        y1 = y
        out[k] = y
    v.high[0] = x1
    v.high[1] = x2
    v.high[2] = y1
    v.high[3] = y2


cdef void track_floor(Vad *v) noexcept nogil:
    """Minimum of the smoothed level over 400 ms windows; falls at once, rises with each window."""
    v.smooth += <float>0.25 * (v.level - v.smooth)
    if v.smooth < v.least:
        v.least = v.smooth
    if v.least < v.floor:
        v.floor = v.least if v.least > QUIET / 4 else QUIET / 4
    v.window += 1
    if v.window >= WINDOW:
        v.floor += <float>0.7 * (v.least - v.floor)
        v.least = 1e12
        v.window = 0


cdef void predict(const float *x, int n, float *a) noexcept nogil:
    """Linear prediction coefficients a[1..ORDER] by Levinson-Durbin on the autocorrelation (a[0] is 1)."""
    cdef float r[ORDER + 1]
    cdef float before[ORDER + 1]
    cdef float error, k, total
    cdef int i, j
    for j in range(ORDER + 1):
        total = 0
        for i in range(j, n):
            total += x[i] * x[i - j]
        r[j] = total
    memset(a, 0, (ORDER + 1) * sizeof(float))
    a[0] = 1
    error = r[0] * <float>1.001 + 1
    for i in range(1, ORDER + 1):
        total = r[i]
        for j in range(1, i):
            total += a[j] * r[i - j]
        k = -total / error
        memcpy(before, a, sizeof(before))
        for j in range(1, i):
            a[j] += k * before[i - j]
        a[i] = k
        error *= 1 - k * k


cdef float periodicity(const float *x, int n) noexcept nogil:
    """Largest normalized autocorrelation (0..1) of the prediction residual between 57 and 400 Hz; `n` <= 320."""
    cdef float a[ORDER + 1]
    cdef float e[VIEW]
    cdef float total, head, tail, best = 0
    cdef int i, j, lag, span
    predict(x, n, a)
    for i in range(ORDER):
        e[i] = 0
    for i in range(ORDER, n):
        total = x[i]
        for j in range(1, ORDER + 1):
            total += a[j] * x[i - j]
        e[i] = total
    # A little smoothing keeps the pitch pulses and loses the noise between 2 and 4 kHz.
    for i in range(n - 1, 1, -1):
        e[i] = e[i] + 2 * e[i - 1] + e[i - 2]
    for lag in range(SHORTEST, LONGEST + 1):
        span = n - lag
        total = 0
        head = 1
        tail = 1
        for i in range(span):
            total += e[i] * e[i + lag]
            head += e[i] * e[i]
            tail += e[i + lag] * e[i + lag]
        if total > 0:
            total = total / sqrtf(head * tail)
            if total > best:
                best = total
    return best


cdef bint vad_step(Vad *v, const int16_t *pcm) noexcept nogil:
    """One step of 80 samples. True when it is voice."""
    cdef float total = 0
    cdef int k
    memmove(v.view, v.view + STEP, (VIEW - STEP) * sizeof(float))
    high_pass(v, pcm, v.view + VIEW - STEP)
    for k in range(VIEW - STEP, VIEW):
        total += v.view[k] * v.view[k]
    v.level = total / STEP
    v.period = 0
    v.steps += 1
    track_floor(v)
    if v.level < QUIET or v.level < GATE * v.floor:
        return False
    if v.webrtc != NULL and process(v.webrtc, 8000, pcm, STEP) != 1:
        return False
    v.period = periodicity(v.view, VIEW)
    return v.period > PERIODIC


cdef void resolve():
    global create, init, set_mode, process, release
    found, _ = foreign.find()
    if found:
        create = <vad_create_t><uintptr_t>found["WebRtcVad_Create"]
        init = <vad_init_t><uintptr_t>found["WebRtcVad_Init"]
        set_mode = <vad_mode_t><uintptr_t>found["WebRtcVad_set_mode"]
        process = <vad_process_t><uintptr_t>found["WebRtcVad_Process"]
        release = <vad_free_t><uintptr_t>found["WebRtcVad_Free"]


resolve()
