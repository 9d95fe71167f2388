# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The engine's kernels on numpy arrays, one thin function each. Twins in numpy: native/reference.py."""

import numpy as np

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native cimport g711, resample
from native.ears cimport Ears, ears_hear, ears_open, ears_played
from native.vad cimport vad_close, vad_open


cpdef g711_encode(const int16_t[::1] pcm, int payload=0):
    """int16 samples -> uint8 codes; payload 0 mu-law, 8 A-law (ITU-T G.711)."""
    out = np.empty(pcm.shape[0], np.uint8)
    cdef uint8_t[::1] view = out
    if pcm.shape[0]:
        g711.g711_encode(payload, &pcm[0], &view[0], <int>pcm.shape[0])
    return out


cpdef g711_decode(const uint8_t[::1] codes, int payload=0):
    """uint8 codes -> int16 samples; payload 0 mu-law, 8 A-law (ITU-T G.711)."""
    out = np.empty(codes.shape[0], np.int16)
    cdef int16_t[::1] view = out
    if codes.shape[0]:
        g711.g711_decode(payload, &codes[0], &view[0], <int>codes.shape[0])
    return out


cpdef upsample(const int16_t[::1] pcm):
    """int16 at 8 kHz -> twice as many at 16 kHz, 31 samples (at 16 kHz) later."""
    out = np.empty(2 * pcm.shape[0], np.int16)
    cdef int16_t[::1] view = out
    cdef resample.Doubler d
    cdef int at = 0, n
    memset(&d, 0, sizeof(d))
    while at < pcm.shape[0]:
        n = min(resample.MOST, <int>pcm.shape[0] - at)
        resample.double_rate(&d, &pcm[at], &view[2 * at], n)
        at += n
    return out


cpdef downsample(const int16_t[::1] pcm):
    """int16 at 16 kHz (an even number) -> half as many at 8 kHz, 16 samples (at 8 kHz) later."""
    out = np.empty(pcm.shape[0] // 2, np.int16)
    cdef int16_t[::1] view = out
    cdef resample.Halver h
    cdef int at = 0, n, total = <int>(pcm.shape[0] // 2 * 2)
    memset(&h, 0, sizeof(h))
    while at < total:
        n = min(2 * resample.MOST, total - at)
        resample.halve_rate(&h, &pcm[at], &view[at // 2], n)
        at += n
    return out


cpdef detect(const int16_t[::1] heard, const int16_t[::1] played, int vad_mode=3, trace=None):
    """The engine's speech detector offline: int16 8 kHz heard from and played to one leg, 20 ms frames in step.

    Gives int64 rows (kind, sample after which it was known, sample of the first voiced step); kind 1 start, 2 end.
    `trace`: float32 (steps, 6), filled with level, floor, period, locked, quality, score of each frame.
    """
    cdef Ears *e = <Ears *>calloc(1, sizeof(Ears))
    cdef void *webrtc = vad_open(vad_mode)
    cdef int64_t at = 0, n = min(heard.shape[0], played.shape[0]) // 160 * 160
    cdef int kind
    cdef float[:, ::1] rows = trace
    found = []
    try:
        ears_open(e, webrtc)
        while at < n:
            ears_played(e, &played[at], 160)
            kind = ears_hear(e, at, &heard[at], 160, at)
            if kind:
                found.append((kind, at + 160, e.first_at))
            if trace is not None:
                rows[at // 160, 0] = e.vad.level
                rows[at // 160, 1] = e.vad.floor
                rows[at // 160, 2] = e.vad.period
                rows[at // 160, 3] = e.echo.lag if e.echo.locked else -1
                rows[at // 160, 4] = e.echo.quality
                rows[at // 160, 5] = e.score if not e.speaking else 100
                if rows.shape[1] > 6:
                    rows[at // 160, 6] = e.echo.share
                    rows[at // 160, 7] = e.echo.plain
                    e.echo.share = -1
            at += 160
        facts = {"denied": e.denied, "searches": e.echo.searches, "locks": e.echo.locks, "voiced_steps": e.voiced_total}
    finally:
        vad_close(webrtc)
        free(e)
    return np.array(found, np.int64).reshape(-1, 3), facts
