# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernels timed from C, so that no call from Python is in the figure: nanoseconds of this thread's CPU time each."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from native.clib cimport CLOCK_THREAD_CPUTIME_ID, clock_ns
from native.codec cimport (
    CODEC_G722, CODEC_OPUS, Coder, codec_decode, codec_encode, coder_close, coder_open, coder_reset,
)
from native.dtmf cimport Dtmf, DtmfOut, dtmf_hear, dtmf_make, dtmf_make_open, dtmf_open
from native.ears cimport Ears, ears_hear, ears_open, ears_played
from native.g711 cimport PCMA, PCMU, g711_decode, g711_encode
from native.gain cimport Gain, gain_hear, gain_level, gain_open
from native.jitter cimport Jitter, jitter_open, jitter_put, jitter_take
from native.mix cimport mix_add, mix_less, mix_out
from native.resample cimport (
    Doubler, Halver, Thirder, Tripler, double_rate, halve_rate, third_rate, triple_rate,
)
from native.rtp cimport RTP_HEADER, rtp_header
from native.srtp cimport SRTP_ROOM, Srtp, srtp_create, srtp_destroy, srtp_open, srtp_profile, srtp_seal
from native.vad cimport vad_close, vad_open

cdef enum:
    LONGEST = 1920          # samples a codec may give
    CODED = 512             # most octets of a coded frame
    PACKET = 1024
    TICK = 20_000_000       # ns

cdef struct Work:           # what a frame is made from, and every kernel's state
    const int16_t *played
    int frames
    int codec
    uint8_t *coded          # every frame as the codec sends it, CODED octets each
    int *size
    int16_t out[LONGEST]
    int16_t frame[LONGEST]
    int32_t sum[LONGEST]
    uint8_t octets[PACKET]
    Doubler doubler
    Halver halver
    Tripler tripler
    Thirder thirder
    Dtmf dtmf
    DtmfOut keys
    Gain gain
    Ears ears
    Jitter jitter
    Coder coder
    Srtp srtp

ctypedef void (*job_t)(Work *w, const int16_t *pcm, int64_t number) noexcept nogil

cdef struct Job:
    job_t run
    int samples             # of a frame: 20 ms
    int codec
    const char *profile     # of SRTP; NULL: none


cdef void nothing(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    pass


cdef void encode_u(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    g711_encode(PCMU, pcm, w.octets, 160)


cdef void encode_a(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    g711_encode(PCMA, pcm, w.octets, 160)


cdef void decode_u(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    g711_decode(PCMU, <const uint8_t *>pcm, w.out, 160)


cdef void decode_a(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    g711_decode(PCMA, <const uint8_t *>pcm, w.out, 160)


cdef void encode(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    codec_encode(&w.coder, w.codec, pcm, 320, w.octets, CODED)


cdef void decode(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    cdef int k = number % w.frames
    codec_decode(&w.coder, w.codec, w.coded + k * CODED, w.size[k], w.out, LONGEST)


cdef void doubled(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    double_rate(&w.doubler, pcm, w.out, 160)


cdef void halved(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    halve_rate(&w.halver, pcm, w.out, 320)


cdef void tripled(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    triple_rate(&w.tripler, pcm, w.out, 320)


cdef void thirded(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    third_rate(&w.thirder, pcm, w.out, 960)


cdef void mixed(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    """Two frames into one: what a mix of two costs."""
    memset(w.sum, 0, 160 * sizeof(int32_t))
    mix_add(w.sum, pcm, 160)
    mix_add(w.sum, w.played, 160)
    mix_out(w.sum, w.out, 160)


cdef void lessened(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    mix_less(w.sum, pcm, w.out, 160)


cdef void keyed(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    dtmf_hear(&w.dtmf, pcm, 160)


cdef void key_made(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    dtmf_make(&w.keys, 53, w.out, 160)


cdef void levelled(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    memcpy(w.frame, pcm, 160 * sizeof(int16_t))
    gain_hear(&w.gain, w.frame, 160, True)


cdef void measured(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    gain_level(&w.gain, pcm, 160, True)


cdef void buffered(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    jitter_put(&w.jitter, number * 160, pcm, 160, number == 0, number * TICK)
    jitter_take(&w.jitter, w.out, False, number * TICK)


cdef void heard(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    ears_played(&w.ears, w.frame, 160)
    ears_hear(&w.ears, number * 160, pcm, 160, number * TICK)


cdef void heard_over(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    """The caller is heard while a prompt is played."""
    ears_played(&w.ears, w.played + (number % w.frames) * 160, 160)
    ears_hear(&w.ears, number * 160, pcm, 160, number * TICK)


cdef void path(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    """What every 20 ms of a G.711 stream take: in, heard, out again."""
    cdef int16_t wide[320]
    cdef int k = number % w.frames
    g711_decode(PCMU, w.coded + k * CODED, w.out, 160)
    jitter_put(&w.jitter, number * 160, w.out, 160, number == 0, number * TICK)
    ears_hear(&w.ears, number * 160, w.out, 160, number * TICK)
    jitter_take(&w.jitter, w.out, False, number * TICK)
    double_rate(&w.doubler, w.out, wide, 160)
    memset(w.sum, 0, 160 * sizeof(int32_t))
    mix_add(w.sum, w.out, 160)
    mix_out(w.sum, w.out, 160)
    g711_encode(PCMU, w.out, w.octets, 160)
    ears_played(&w.ears, w.frame, 160)


cdef void sealed(Work *w, const int16_t *pcm, int64_t number) noexcept nogil:
    """Out and in again: the packet is authentic and new."""
    cdef int n
    rtp_header(w.octets, 0, False, <int>(number & 0xFFFF), <unsigned int>(number * 160), 1)
    memcpy(w.octets + RTP_HEADER, pcm, 160)
    n = srtp_seal(&w.srtp, w.octets, RTP_HEADER + 160, False)
    srtp_open(&w.srtp, w.octets, n, False)


cdef Job[32] JOBS
cdef dict NAMES = {}


cdef void add(str name, job_t run, int samples=160, int codec=0, const char *profile=NULL) except *:
    cdef int k = len(NAMES)
    JOBS[k] = Job(run, samples, codec, profile)
    NAMES[name] = k


add("nothing", nothing)
add("G.711 mu-law encode", encode_u)
add("G.711 mu-law decode", decode_u)
add("G.711 A-law encode", encode_a)
add("G.711 A-law decode", decode_a)
add("G.722 encode", encode, 320, CODEC_G722)
add("G.722 decode", decode, 320, CODEC_G722)
add("Opus encode", encode, 320, CODEC_OPUS)
add("Opus decode", decode, 320, CODEC_OPUS)
add("8 -> 16 kHz", doubled)
add("16 -> 8 kHz", halved, 320)
add("16 -> 48 kHz", tripled, 320)
add("48 -> 16 kHz", thirded, 960)
add("mix of two", mixed)
add("mix less one's own", lessened)
add("DTMF detector", keyed)
add("DTMF generator", key_made)
add("automatic gain", levelled)
add("level meter", measured)
add("jitter buffer", buffered)
add("speech detector", heard)
add("speech detector, prompt playing", heard_over)
add("the whole path", path)
add("SRTP AES-CM seal + open", sealed, 160, 0, b"AES_CM_128_HMAC_SHA1_80")
add("SRTP AES-GCM seal + open", sealed, 160, 0, b"AEAD_AES_128_GCM")


def kernels():
    """Names of what `time_kernel` times."""
    return list(NAMES)


cdef void prepare(Work *w, Job *job, const int16_t *pcm) except *:
    """Every kernel as new, and each frame coded."""
    cdef uint8_t keys[30]
    cdef int k, size = 30
    dtmf_open(&w.dtmf)
    dtmf_make_open(&w.keys)
    gain_open(&w.gain)
    jitter_open(&w.jitter, 8000)
    w.codec = job.codec
    for k in range(w.frames):
        if job.codec:
            w.size[k] = codec_encode(&w.coder, job.codec, pcm + k * job.samples, job.samples, w.coded + k * CODED, CODED)
        else:
            g711_encode(PCMU, pcm + k * job.samples, w.coded + k * CODED, 160)
    coder_reset(&w.coder, job.codec)
    if job.profile:
        name = (<bytes>job.profile).decode()
        size = 28 if "GCM" in name else 30
        for k in range(30):
            keys[k] = k
        if srtp_create(&w.srtp, srtp_profile(name), keys, size, keys, size):
            raise RuntimeError(f"{name} is not there")


def time_kernel(str name, const int16_t[::1] pcm, int repeat, const int16_t[::1] played=None):
    """CPU nanoseconds of one 20 ms frame by the kernel `name`, over `pcm` (at least one frame) `repeat` times round.

    `played`: what a prompt says meanwhile, at 8 kHz and as long as `pcm`. Raises KeyError for a kernel that is not
    timed here, ValueError without a whole frame, RuntimeError where its library is missing.
    """
    cdef Job job = JOBS[NAMES[name]]
    cdef int frames = <int>(pcm.shape[0] // job.samples), k, round_
    cdef int64_t begin, end, number = 0
    cdef const int16_t *at
    cdef Work *w
    cdef void *webrtc
    if frames == 0 or repeat < 1 or (played is not None and played.shape[0] < frames * 160):
        raise ValueError("at least one whole frame is needed, and as much played")
    at = &pcm[0]
    webrtc = vad_open(3)
    w = <Work *>calloc(1, sizeof(Work))
    try:
        if w == NULL:
            raise MemoryError
        w.played = &played[0] if played is not None else at
        w.frames = frames
        w.coded = <uint8_t *>calloc(frames, CODED)
        w.size = <int *>calloc(frames, sizeof(int))
        if w.coded == NULL or w.size == NULL:
            raise MemoryError
        if coder_open(&w.coder) and job.codec == CODEC_OPUS:
            raise RuntimeError("libopus is not there")
        ears_open(&w.ears, webrtc)
        coder_reset(&w.coder, job.codec)
        prepare(w, &job, at)
        with nogil:
            begin = clock_ns(CLOCK_THREAD_CPUTIME_ID)
            for round_ in range(repeat):
                for k in range(frames):
                    job.run(w, at + k * job.samples, number)
                    number += 1
            end = clock_ns(CLOCK_THREAD_CPUTIME_ID)
    finally:
        vad_close(webrtc)
        if w != NULL:
            coder_close(&w.coder)
            srtp_destroy(&w.srtp)
            free(w.coded)
            free(w.size)
            free(w)
    return (end - begin) / <double>number
