# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Codecs by number: a table of rows, and the state of one direction of one stream."""

import numpy as np

from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native import foreign

from native.g711 cimport PCMA, PCMU, g711_decode, g711_encode
from native.g722 cimport g722_decode, g722_encode, g722_reset
from native.opus cimport (
    opus_decoder_reset, opus_encoder_reset, opus_in, opus_lost, opus_out, opus_size, opus_tune,
)

cdef enum:
    UNUSED = 0
    DECODES = 1
    ENCODES = 2

cdef int STATIC[16]         # RFC 3551 table 4, by payload type; L16 of types 10 and 11 is 44.1 kHz and not here


# --- rows ---------------------------------------------------------------------------------------------------------


cdef int in_mu(Coder *c, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil:
    if n > room:
        return -1
    g711_decode(PCMU, data, pcm, n)
    return n


cdef int out_mu(Coder *c, const int16_t *pcm, int n, uint8_t *out, int room) noexcept nogil:
    if n > room:
        return -1
    g711_encode(PCMU, pcm, out, n)
    return n


cdef int in_a(Coder *c, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil:
    if n > room:
        return -1
    g711_decode(PCMA, data, pcm, n)
    return n


cdef int out_a(Coder *c, const int16_t *pcm, int n, uint8_t *out, int room) noexcept nogil:
    if n > room:
        return -1
    g711_encode(PCMA, pcm, out, n)
    return n


cdef int in_l16(Coder *c, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil:
    """RFC 3551 4.5.11: network byte order."""
    cdef int k
    if n & 1 or n // 2 > room:
        return -1
    for k in range(n // 2):
        pcm[k] = <int16_t>(data[2 * k] << 8 | data[2 * k + 1])
    return n // 2


cdef int out_l16(Coder *c, const int16_t *pcm, int n, uint8_t *out, int room) noexcept nogil:
    cdef int k
    if 2 * n > room:
        return -1
    for k in range(n):
        out[2 * k] = <uint8_t>(pcm[k] >> 8)
        out[2 * k + 1] = <uint8_t>(pcm[k] & 0xFF)
    return 2 * n


cdef int in_g722(Coder *c, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil:
    return -1 if 2 * n > room else g722_decode(&c.g722, data, n, pcm)


cdef int out_g722(Coder *c, const int16_t *pcm, int n, uint8_t *out, int room) noexcept nogil:
    return -1 if n & 1 or n // 2 > room else g722_encode(&c.g722, pcm, n, out)


cdef int in_opus(Coder *c, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil:
    if c.role != DECODES:
        if opus_decoder_reset(c.opus) < 0:
            return -1
        c.role = DECODES
    return opus_in(c.opus, data, n, pcm, room)


cdef int out_opus(Coder *c, const int16_t *pcm, int n, uint8_t *out, int room) noexcept nogil:
    if c.role != ENCODES:
        if opus_encoder_reset(c.opus, &c.tuning) < 0:
            return -1
        c.role = ENCODES
    return opus_out(c.opus, pcm, n, out, room)


cdef int64_t codec_samples(int codec, int64_t stamp) noexcept nogil:
    """Extended RTP timestamp in samples at the codec's PCM rate."""
    return stamp * (CODECS[codec].rate // 1000) // (CODECS[codec].clock // 1000)


cdef int64_t codec_ticks(int codec, int64_t samples) noexcept nogil:
    """The way back: what the RTP timestamp advances by."""
    return samples * (CODECS[codec].clock // 1000) // (CODECS[codec].rate // 1000)


cdef int codec_static(int payload) noexcept nogil:
    """The codec of a static payload type; CODEC_NONE where there is none here."""
    return STATIC[payload] if 0 <= payload < 16 else CODEC_NONE


# --- one direction ------------------------------------------------------------------------------------------------


cdef int coder_open(Coder *c) noexcept nogil:
    """Memory for whatever codec comes (32 to 44 KB where there is libopus); done by the thread that commands.

    A Coder of zeros that was never opened serves every codec but Opus. 0, or -1 out of memory.
    """
    memset(c, 0, sizeof(Coder))
    c.tuning = Tuning(24000, 5, 10, False)      # docs/adr/008: quality against cost, and FEC worth its bits
    if opus_size() == 0:
        return 0
    c.opus = calloc(1, opus_size())
    return -1 if c.opus == NULL else 0


cdef int coder_memory(Coder *c) noexcept nogil:
    """Memory for Opus in a coder that another thread may be using for another codec; once. 0, or -1 out of memory."""
    cdef void *memory
    if c.opus != NULL or opus_size() == 0:
        return 0
    memory = calloc(1, opus_size())
    if memory == NULL:
        return -1
    c.tuning = Tuning(24000, 5, 10, False)
    c.opus = memory
    return 0


cdef void coder_close(Coder *c) noexcept nogil:
    free(c.opus)
    c.opus = NULL


cdef void coder_reset(Coder *c, int codec) noexcept nogil:
    """As new for `codec`, in either direction."""
    c.codec = codec
    c.role = UNUSED
    if codec == CODEC_G722:
        g722_reset(&c.g722)


cdef void coder_tune(Coder *c, int bitrate, int complexity, int loss, bint dtx) noexcept nogil:
    """The Opus encoder from its next frame on. `loss`: per cent of packets the peer says it misses."""
    c.tuning = Tuning(bitrate, complexity, loss, dtx)
    if c.codec == CODEC_OPUS and c.role == ENCODES:
        opus_tune(c.opus, &c.tuning)


cdef inline const Codec *row(Coder *c, int codec) noexcept nogil:
    if CODECS[codec].stateful and c.codec != codec:
        coder_reset(c, codec)
    return &CODECS[codec]


cdef int codec_decode(Coder *c, int codec, const uint8_t *data, int n, int16_t *pcm, int room) noexcept nogil:
    """Samples at the codec's PCM rate; -1 garbage, or more than `room` holds."""
    if n <= 0 or codec <= CODEC_NONE or codec >= CODECS_KNOWN:
        return -1
    return row(c, codec).decode(c, data, n, pcm, room)


cdef int codec_missing(Coder *c, int codec, const uint8_t *next, int next_n, int samples, int16_t *pcm) noexcept nogil:
    """A lost packet of `samples`, where the codec can make it up: Opus from `next`'s in-band FEC or by its concealment."""
    if codec != CODEC_OPUS or c.codec != codec or c.role != DECODES:
        return 0
    return opus_lost(c.opus, next, next_n, pcm, samples)


cdef int codec_encode(Coder *c, int codec, const int16_t *pcm, int n, uint8_t *out, int room) noexcept nogil:
    """Octets of `n` samples at the codec's PCM rate; 0 nothing to send (DTX), -1 not this many samples, or no room."""
    if n <= 0 or codec <= CODEC_NONE or codec >= CODECS_KNOWN:
        return -1
    return row(c, codec).encode(c, pcm, n, out, room)


cdef void fill_table() noexcept nogil:
    CODECS[CODEC_NONE] = Codec("", 8000, 8000, False, NULL, NULL)
    CODECS[CODEC_PCMU] = Codec("PCMU", 8000, 8000, False, in_mu, out_mu)
    CODECS[CODEC_PCMA] = Codec("PCMA", 8000, 8000, False, in_a, out_a)
    CODECS[CODEC_G722] = Codec("G722", 8000, 16000, True, in_g722, out_g722)
    CODECS[CODEC_L16_8] = Codec("L16", 8000, 8000, False, in_l16, out_l16)
    CODECS[CODEC_L16_16] = Codec("L16", 16000, 16000, False, in_l16, out_l16)
    CODECS[CODEC_OPUS] = Codec("opus", 48000, 16000, True, in_opus, out_opus)
    memset(STATIC, 0, sizeof(STATIC))
    STATIC[0] = CODEC_PCMU
    STATIC[8] = CODEC_PCMA
    STATIC[9] = CODEC_G722


fill_table()

# --- for Python ---------------------------------------------------------------------------------------------------

NAMES = {
    "PCMU": CODEC_PCMU, "PCMA": CODEC_PCMA, "G722": CODEC_G722,
    "L16/8000": CODEC_L16_8, "L16/16000": CODEC_L16_16, "opus": CODEC_OPUS,
}
"""Number by name, as `Engine.set_remote` takes it; L16 comes at two rates."""

STATIC_PAYLOADS = {payload: name for payload in range(16) for name in NAMES if codec_static(payload) == NAMES[name]}
"""Name by static payload type (RFC 3551 table 4)."""


def available() -> dict[str, str]:
    """By codec name: "" where it can be used, else one sentence that says why not and what to do."""
    return {name: foreign.find("opus")[1] if name == "opus" else "" for name in NAMES}


cdef class _Direction:
    """`name` is one of NAMES. Raises ValueError for another, RuntimeError where its library is missing."""

    cdef Coder coder
    cdef int codec

    def __cinit__(self, *_, **__):
        if coder_open(&self.coder):
            raise MemoryError

    def __init__(self, str name):
        if name not in NAMES:
            raise ValueError(f"codec {name!r}: expected one of {', '.join(NAMES)}")
        if available()[name]:
            raise RuntimeError(available()[name])
        self.codec = NAMES[name]

    def __dealloc__(self):
        coder_close(&self.coder)

    @property
    def rate(self) -> int:
        """Hz of PCM: 8000 or 16000."""
        return CODECS[self.codec].rate

    @property
    def clock(self) -> int:
        """Hz of RTP timestamps."""
        return CODECS[self.codec].clock

    def samples(self, int64_t stamp) -> int:
        """An extended RTP timestamp (not negative) in samples at `rate`."""
        return codec_samples(self.codec, stamp)

    def ticks(self, int64_t samples) -> int:
        """What the RTP timestamp advances by in `samples` at `rate`."""
        return codec_ticks(self.codec, samples)

    def reset(self) -> None:
        """As new: another stream begins."""
        coder_reset(&self.coder, self.codec)


cdef class Decoder(_Direction):
    """One stream's decoder: octets in, int16 at `rate` out."""

    def decode(self, const uint8_t[::1] data not None):
        """Samples of one packet of at most 120 ms, shape (n,). Raises ValueError where it is garbage."""
        out = np.empty(CODEC_ROOM, np.int16)
        cdef int16_t[::1] pcm = out
        cdef int n = <int>data.shape[0]
        cdef int got = codec_decode(&self.coder, self.codec, &data[0] if n else NULL, n, &pcm[0], CODEC_ROOM)
        if got < 0:
            raise ValueError(f"{n} octets are no {CODECS[self.codec].name.decode()} packet of at most 120 ms")
        return out[:got]

    def missing(self, int samples, const uint8_t[::1] next=b""):
        """A lost stretch made up, int16 of shape (n,): empty where the codec has no means."""
        if not 0 <= samples <= CODEC_ROOM:
            raise ValueError(f"{samples} samples: expected 0 to {CODEC_ROOM}")
        out = np.empty(CODEC_ROOM, np.int16)
        cdef int16_t[::1] pcm = out
        cdef int n = <int>next.shape[0]
        return out[: codec_missing(&self.coder, self.codec, &next[0] if n else NULL, n, samples, &pcm[0])]


cdef class Encoder(_Direction):
    """One stream's encoder: int16 at `rate` in, octets out. The keywords are for Opus."""

    def __init__(self, str name, *, int bitrate=24000, int complexity=5, int loss=10, bint dtx=False):
        super().__init__(name)
        self.tune(bitrate=bitrate, complexity=complexity, loss=loss, dtx=dtx)

    def tune(self, *, int bitrate=24000, int complexity=5, int loss=10, bint dtx=False) -> None:
        """`bitrate` in bit/s, `complexity` 0..10, `loss` in per cent of packets, `dtx`: silence is not sent."""
        coder_tune(&self.coder, bitrate, complexity, loss, dtx)

    def encode(self, const int16_t[::1] pcm not None) -> bytes:
        """One packet's octets; b"" where there is nothing to send. Raises ValueError for a length the codec can't take."""
        cdef int n = <int>pcm.shape[0]
        out = np.empty(max(2 * n, 1500), np.uint8)
        cdef uint8_t[::1] octets = out
        cdef int got = codec_encode(&self.coder, self.codec, &pcm[0] if n else NULL, n, &octets[0], <int>out.size)
        if got < 0:
            raise ValueError(f"{n} samples are no {CODECS[self.codec].name.decode()} packet")
        return out[:got].tobytes()
