# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Voice activity of 10 ms steps. Cheap first: a silent step costs a sum of squares, one below the gate a filter too.

Steps above the gate go to the WebRTC VAD (two-mixture likelihood test) and, where it agrees, are searched for a pitch
in the residual of a short linear prediction, so that neither coloured noise nor clicks count as voice.
"""

from libc.math cimport sqrtf
from libc.string cimport memcpy, memmove, memset
from libc.stdint cimport uintptr_t

from native import foreign

from native.filters cimport high_pass

cdef enum:
    ORDER = 8               # of the linear prediction
    LONGEST = 110           # samples: 73 Hz
    SHORTEST = 20           # samples: 400 Hz
    WINDOW = 40             # steps of the floor's minimum search: 400 ms

cdef float GATE = 4.0               # 6 dB over the floor
cdef float QUIET = 220.0            # mean square: -66.7 dBFS, below which nothing is speech
cdef float LEAST = 1e-3             # keeps silence from decaying into denormal numbers, which are slow
cdef float CLEAR = 20.0             # 13 dB over the floor: a consonant
cdef float ABOVE_AMBIENT = 4.0      # 6 dB
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
    v.ambient = QUIET / 4
    v.least = 1e12
    v.smooth = QUIET
    v.end = SEEN


cdef inline float clip(float x) noexcept nogil:
    return 32767 if x > 32767 else -32768 if x < -32768 else x


cdef float mean_square(const float *x) noexcept nogil:
    cdef float total = 0
    cdef int k
    for k in range(STEP):
        total += x[k] * x[k]
    return total / STEP


cdef void track_floor(Vad *v) noexcept nogil:
    """Minimum of the smoothed level over 400 ms windows; falls at once, rises with each window."""
    v.smooth += <float>0.25 * (v.level + LEAST - v.smooth)
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
    """Largest normalized autocorrelation (0..1) of the prediction residual between 73 and 400 Hz; `n` <= 320."""
    cdef float a[ORDER + 1]
    cdef float e[VIEW]
    cdef float total, head, tail, best = 0
    cdef int i, j, lag
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
    head = tail = 1
    for i in range(n):
        head += e[i] * e[i]
    tail = head
    for lag in range(LONGEST + 1):
        if lag >= SHORTEST:
            total = 0
            for i in range(n - lag):
                total += e[i] * e[i + lag]
            if total > 0:
                total /= sqrtf(head * tail)
                if total > best:
                    best = total
        head -= e[n - 1 - lag] * e[n - 1 - lag]
        tail -= e[lag] * e[lag]
    return best


cdef void track_ambient(Vad *v, bint speaking) noexcept nogil:
    """Level that seven steps in ten stay below: rises 31 dB a second (3 while the caller speaks), falls 13."""
    if v.level > v.ambient:
        v.ambient *= <float>1.007 if speaking else <float>1.074
    elif v.ambient > QUIET / 4:
        v.ambient *= <float>0.97


cdef void make_room(Vad *v, int steps) noexcept nogil:
    """Room for `steps` at the end of the view, the rest of SEEN before them."""
    cdef int kept = SEEN - steps * STEP
    if v.end + steps * STEP > LINED:
        memmove(v.view, v.view + v.end - kept, kept * sizeof(float))
        v.end = kept
    v.end += steps * STEP


cdef void end_silence(Vad *v) noexcept nogil:
    """Puts the silent steps into the view; they are taken for zeros."""
    cdef int steps = min(v.hushed, SEEN // STEP - 1)
    make_room(v, steps)
    memset(v.view + v.end - steps * STEP, 0, steps * STEP * sizeof(float))
    memset(v.high, 0, sizeof(v.high))
    v.hushed = 0


cdef float raw_level(const int16_t *pcm) noexcept nogil:
    """Mean square of a step about its mean, before any filter."""
    cdef float power = 0, mean = 0
    cdef int k
    for k in range(STEP):
        power += <float>pcm[k] * <float>pcm[k]
        mean += pcm[k]
    return (power - mean * mean / STEP) / STEP


cdef bint vad_hear(Vad *v, const int16_t *pcm) noexcept nogil:
    """Takes 80 samples in. False when they are too quiet for speech."""
    v.period = 0
    v.level = raw_level(pcm)
    if v.level <= QUIET / 16:            # nothing follows so low a level, filtered or not
        v.hushed += 1
        return False
    if v.hushed:
        end_silence(v)
    make_room(v, 1)
    high_pass(v.high, pcm, vad_newest(v), STEP)
    v.level = mean_square(vad_newest(v))
    return v.level >= QUIET and v.level >= GATE * v.floor


cdef void vad_pass(Vad *v, bint speaking) noexcept nogil:
    """The newest step is no speech: what is known of the line's noise follows it."""
    track_floor(v)
    track_ambient(v, speaking)


cdef int vad_judge(Vad *v, bint speaking) noexcept nogil:
    """What the newest loud step (which may have been cleaned in place) is: NO_SPEECH, UNVOICED or VOICED.

    While the caller speaks anyway nobody needs to know about voicing, and it is not looked for.
    """
    cdef int16_t pcm[STEP]
    cdef int k
    cdef bint stands_out
    v.level = mean_square(vad_newest(v))
    stands_out = speaking or v.level > ABOVE_AMBIENT * v.ambient
    track_floor(v)
    track_ambient(v, speaking)
    if v.level < QUIET or v.level < GATE * v.floor or not stands_out:
        return NO_SPEECH
    if v.webrtc != NULL:
        for k in range(STEP):
            pcm[k] = <int16_t>clip(vad_newest(v)[k])
        if process(v.webrtc, 8000, pcm, STEP) != 1:
            return NO_SPEECH
    if speaking:
        return UNVOICED
    v.period = periodicity(v.view + v.end - VIEW, VIEW)
    if v.period > PERIODIC:
        return VOICED
    return UNVOICED if v.level > CLEAR * v.floor else NO_SPEECH


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
