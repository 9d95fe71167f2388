# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernels timed from C, so that no call from Python is in the figure: nanoseconds of this thread's CPU time each."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from native.clib cimport CLOCK_THREAD_CPUTIME_ID, clock_ns
from native.dtmf cimport Dtmf, DtmfOut, dtmf_hear, dtmf_make, dtmf_make_open, dtmf_open
from native.ears cimport Ears, ears_hear, ears_open, ears_played
from native.g711 cimport g711_decode, g711_encode
from native.gain cimport Gain, gain_hear, gain_open
from native.mix cimport mix_add, mix_less, mix_out
from native.resample cimport (
    Doubler, Halver, Thirder, Tripler, double_rate, halve_rate, third_rate, triple_rate,
)
from native.vad cimport vad_close, vad_open

cdef enum:
    LONGEST = 960           # samples of a frame at 48 kHz

cdef struct Work:                   # what a frame is made from, and every kernel's state
    const int16_t *pcm
    const int16_t *played
    int frames
    int16_t out[LONGEST]
    int16_t frame[LONGEST]
    int32_t sum[LONGEST]
    uint8_t octets[LONGEST]
    Doubler doubler
    Halver halver
    Tripler tripler
    Thirder thirder
    Dtmf dtmf
    DtmfOut keys
    Gain gain
    Ears ears

ctypedef void (*job_t)(Work *w, const int16_t *pcm, int64_t number) noexcept nogil

cdef void encode_u(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    g711_encode(0, pcm, w.octets, 160)

cdef void encode_a(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    g711_encode(8, pcm, w.octets, 160)

cdef void decode_u(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    g711_decode(0, <const uint8_t *>pcm, w.out, 160)

cdef void decode_a(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    g711_decode(8, <const uint8_t *>pcm, w.out, 160)

cdef void doubled(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    double_rate(&w.doubler, pcm, w.out, 160)

cdef void halved(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    halve_rate(&w.halver, pcm, w.out, 320)

cdef void tripled(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    triple_rate(&w.tripler, pcm, w.out, 320)

cdef void thirded(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    third_rate(&w.thirder, pcm, w.out, 960)

cdef void mixed(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    mix_add(w.sum, pcm, 160)

cdef void narrowed(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    mix_out(w.sum, w.out, 160)

cdef void lessened(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    mix_less(w.sum, pcm, w.out, 160)

cdef void keyed(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    dtmf_hear(&w.dtmf, pcm, 160)

cdef void key_made(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    dtmf_make(&w.keys, 53, w.out, 160)

cdef void levelled(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    memcpy(w.frame, pcm, 320)
    gain_hear(&w.gain, w.frame, 160, True)

cdef void heard(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    ears_hear(&w.ears, number * 160, pcm, 160, number * 20000000)

cdef void heard_over(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    """The caller is heard while a prompt is played."""
    ears_played(&w.ears, w.played + (number % w.frames) * 160, 160)
    ears_hear(&w.ears, number * 160, pcm, 160, number * 20000000)

cdef void nothing(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    pass

cdef struct Job:
    job_t run
    int samples             # of a frame

cdef Job job_of(str name) except *:
    cdef Job job
    if name == "nothing":
        job = Job(nothing, 160)
    elif name == "G.711 mu-law encode":
        job = Job(encode_u, 160)
    elif name == "G.711 A-law encode":
        job = Job(encode_a, 160)
    elif name == "G.711 mu-law decode":
        job = Job(decode_u, 160)
    elif name == "G.711 A-law decode":
        job = Job(decode_a, 160)
    elif name == "8 -> 16 kHz":
        job = Job(doubled, 160)
    elif name == "16 -> 8 kHz":
        job = Job(halved, 320)
    elif name == "16 -> 48 kHz":
        job = Job(tripled, 320)
    elif name == "48 -> 16 kHz":
        job = Job(thirded, 960)
    elif name == "mix: add a frame":
        job = Job(mixed, 160)
    elif name == "mix: saturate":
        job = Job(narrowed, 160)
    elif name == "mix: all but one":
        job = Job(lessened, 160)
    elif name == "DTMF detector":
        job = Job(keyed, 160)
    elif name == "DTMF generator":
        job = Job(key_made, 160)
    elif name == "automatic gain":
        job = Job(levelled, 160)
    elif name == "speech detector":
        job = Job(heard, 160)
    elif name == "speech detector, prompt playing":
        job = Job(heard_over, 160)
    else:
        raise KeyError(name)
    return job


def time_kernel(str name, const int16_t[::1] pcm, int repeat, const int16_t[::1] played=None):
    """CPU nanoseconds of one 20 ms frame by the kernel `name`, over `pcm` (at least one frame) `repeat` times round.

    `played`: what a prompt says meanwhile, as long as `pcm`. Raises KeyError for a kernel that is not timed here.
    """
    cdef Job job = job_of(name)
    cdef Work *w = <Work *>calloc(1, sizeof(Work))
    cdef void *webrtc = vad_open(3)
    cdef int64_t begin, end, number = 0
    cdef int k, round_, frames = <int>(pcm.shape[0] // job.samples)
    cdef const int16_t *at = &pcm[0]
    if w == NULL:
        raise MemoryError
    try:
        w.pcm = at
        w.played = &played[0] if played is not None else at
        w.frames = frames
        dtmf_open(&w.dtmf)
        dtmf_make_open(&w.keys)
        gain_open(&w.gain)
        ears_open(&w.ears, webrtc)
        with nogil:
            begin = clock_ns(CLOCK_THREAD_CPUTIME_ID)
            for round_ in range(repeat):
                for k in range(frames):
                    job.run(w, at + k * job.samples, number)
                    number += 1
            end = clock_ns(CLOCK_THREAD_CPUTIME_ID)
    finally:
        vad_close(webrtc)
        free(w)
    return (end - begin) / <double>number
