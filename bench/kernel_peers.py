"""What each kernel is measured beside: audioop, numpy, soxr, spandsp, webrtcvad, pylibsrtp; each with its version."""

from __future__ import annotations

import importlib
import importlib.metadata
import struct
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from native import codec, dtmf, gain, jitter, kernels, mix, resample, srtp
from native.twins import g711 as twin
from tests.native import spandsp

Call = Callable[[], object]

PEERS = ("audioop", "numpy", "soxr", "spandsp", "webrtcvad", "pylibsrtp")
CTYPES = "spandsp"
KEYS = {name: size for name, size in (("AES_CM_128_HMAC_SHA1_80", 30), ("AEAD_AES_128_GCM", 28))}


@dataclass
class Peer:
    """`whole` does all of the sound in one call, so that hardly any of the time is the call; `frame` one frame."""

    whole: Call | None = None
    frame: Call | None = None
    frames: int = 0
    """What `whole` does, where it is not all of the sound."""


@dataclass
class Row:
    """One kernel: what the engine's own is called in `native.timing`, its Python face on one frame, its peers."""

    kernel: str
    rate: int = 8000
    frame: Call | None = None
    peers: dict[str, Peer] = field(default_factory=dict)


def module(name: str) -> ModuleType | None:
    """A peer that is installed, else None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except ImportError:
        return None


def versions() -> dict[str, str]:
    """Each peer's version, or how to get it."""
    found = {name: f"not installed: pip install {name}" for name in ("soxr", "pylibsrtp")}
    found["webrtcvad"] = "not installed: pip install webrtcvad-wheels"
    for name, package in (("soxr", "soxr"), ("webrtcvad", "webrtcvad-wheels"), ("pylibsrtp", "pylibsrtp")):
        if module(name):
            found[name] = importlib.metadata.version(package)
    found["numpy"] = np.__version__
    python = sys.version.split()[0]
    found["audioop"] = f"Python {python}" if module("audioop") else f"Python {python} has none: 3.12 is the last"
    found["spandsp"] = spandsp.version() if spandsp.library() else "not installed: apt-get install libspandsp2"
    return found


def g711_rows(pcm: np.ndarray) -> list[Row]:
    """Four: mu-law and A-law, both ways."""
    audioop: Any = module("audioop")
    rows, index = [], pcm.view(np.uint16)
    for law, payload, short, levels in (("mu-law", 0, "ulaw", twin.mu_levels()), ("A-law", 8, "alaw", twin.a_levels())):
        codes, table = kernels.g711_encode(pcm, payload), levels.astype(np.int16)
        encode = Row(f"G.711 {law} encode", frame=lambda p=payload: kernels.g711_encode(pcm[:160], p))
        decode = Row(f"G.711 {law} decode", frame=lambda p=payload, c=codes: kernels.g711_decode(c[:160], p))
        # numpy's fastest: a table of all 65,536 samples, a table of all 256 codes
        inverse = kernels.g711_encode(np.arange(65536).astype(np.uint16).view(np.int16), payload)
        encode.peers["numpy"] = Peer(lambda t=inverse: t[index], lambda t=inverse: t[index[:160]])
        decode.peers["numpy"] = Peer(lambda t=table, c=codes: t[c], lambda t=table, c=codes: t[c[:160]])
        if audioop:
            to, back = getattr(audioop, f"lin2{short}"), getattr(audioop, f"{short}2lin")
            whole, coded, one, one_coded = pcm.tobytes(), codes.tobytes(), pcm[:160].tobytes(), codes[:160].tobytes()
            encode.peers["audioop"] = Peer(lambda f=to, x=whole: f(x, 2), lambda f=to, x=one: f(x, 2))
            decode.peers["audioop"] = Peer(lambda f=back, x=coded: f(x, 2), lambda f=back, x=one_coded: f(x, 2))
        rows += [encode, decode]
    return rows


def g722_rows(wide: np.ndarray) -> list[Row]:
    """Both ways, beside spandsp's."""
    coder, decoder = codec.Encoder("G722"), codec.Decoder("G722")
    coded = np.frombuffer(b"".join(codec.Encoder("G722").encode(f) for f in wide.reshape(-1, 320)), np.uint8).copy()
    encode = Row("G.722 encode", 16000, lambda: coder.encode(wide[:320]))
    decode = Row("G.722 decode", 16000, lambda: decoder.decode(coded[:160]))
    lib = spandsp.library()
    if lib:
        out = np.empty(len(wide), np.int16)
        into, back = lib.g722_encode_init(None, 64000, 0), lib.g722_decode_init(None, 64000, 0)

        def run(function: Any, state: int, given: np.ndarray, n: int) -> Call:
            return lambda: function(state, out.ctypes.data, given.ctypes.data, n)

        encode.peers[CTYPES] = Peer(run(lib.g722_encode, into, wide, len(wide)), run(lib.g722_encode, into, wide, 320))
        decode.peers[CTYPES] = Peer(
            run(lib.g722_decode, back, coded, len(coded)), run(lib.g722_decode, back, coded, 160)
        )
    return [encode, decode]


def resample_rows(rates: dict[int, np.ndarray]) -> list[Row]:
    """Between 8, 16 and 48 kHz, beside soxr HQ (streaming and one shot) and audioop's linear interpolation."""
    soxr: Any = module("soxr")
    audioop: Any = module("audioop")
    rows = []
    for given, wanted in ((8000, 16000), (16000, 8000), (16000, 48000), (48000, 16000)):
        pcm = rates[given]
        stream = resample.Stream(given, wanted)
        frame = np.ascontiguousarray(pcm[: given // 50])
        row = Row(f"{given // 1000} -> {wanted // 1000} kHz", given, lambda s=stream, f=frame: s(f))
        if soxr:
            chunks = soxr.ResampleStream(given, wanted, 1, dtype="int16", quality="HQ")
            row.peers["soxr"] = Peer(
                lambda x=pcm, a=given, b=wanted: soxr.resample(x, a, b, quality="HQ"),
                lambda s=chunks, f=frame: s.resample_chunk(f),
            )
        if audioop:
            whole, one = pcm.tobytes(), frame.tobytes()
            row.peers["audioop"] = Peer(
                lambda x=whole, a=given, b=wanted: audioop.ratecv(x, 2, 1, a, b, None),
                lambda x=one, a=given, b=wanted: audioop.ratecv(x, 2, 1, a, b, None),
            )
        rows.append(row)
    return rows


def mix_row(pcm: np.ndarray) -> Row:
    """Two frames into one."""
    audioop: Any = module("audioop")
    pair = np.ascontiguousarray(np.stack([pcm[:160], pcm[160:320]]))
    other = pcm[::-1].copy()

    def clipped(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.clip(a.astype(np.int32) + b, -32768, 32767).astype(np.int16)

    row = Row("mix of two", frame=lambda: mix.mix(pair))
    row.peers["numpy"] = Peer(lambda: clipped(pcm, other), lambda: clipped(pair[0], pair[1]))
    if audioop:
        a, b = pcm.tobytes(), other.tobytes()
        row.peers["audioop"] = Peer(lambda: audioop.add(a, b, 2), lambda: audioop.add(a[:320], b[:320], 2))
    return row


def key_rows(pcm: np.ndarray) -> list[Row]:
    """Keys in band: heard in speech, and made."""
    ours, maker = dtmf.Detector(), dtmf.Generator()
    heard = Row("DTMF detector", frame=lambda: ours.hear(pcm[:160]))
    made = Row("DTMF generator", frame=lambda: maker.make("5", 160))
    lib = spandsp.library()
    if lib:
        found, out = lib.dtmf_rx_init(None, None, None), np.empty(len(pcm), np.int16)
        sender = lib.dtmf_tx_init(None, None, None)

        def key(n: int) -> None:
            lib.dtmf_tx_put(sender, b"5" * 9, 9)
            lib.dtmf_tx(sender, out.ctypes.data, n)

        heard.peers[CTYPES] = Peer(
            lambda: lib.dtmf_rx(found, pcm.ctypes.data, len(pcm)), lambda: lib.dtmf_rx(found, pcm.ctypes.data, 160)
        )
        made.peers[CTYPES] = Peer(lambda: key(45 * 160), lambda: key(160), 45)  # nine keys and their pauses
    return [heard, made]


def level_rows(pcm: np.ndarray) -> list[Row]:
    """Automatic gain, and how loud a frame is."""
    audioop: Any = module("audioop")
    auto, meter = gain.AutoGain(), gain.AutoGain()
    level = Row("level meter", frame=lambda: meter.listen(pcm[:160], True))
    level.peers["numpy"] = Peer(
        lambda: np.sqrt((pcm.astype(np.float32) ** 2).mean()),
        lambda: np.sqrt((pcm[:160].astype(np.float32) ** 2).mean()),
    )
    if audioop:
        whole, one = pcm.tobytes(), pcm[:160].tobytes()
        level.peers["audioop"] = Peer(lambda: audioop.rms(whole, 2), lambda: audioop.rms(one, 2))
    return [Row("automatic gain", frame=lambda: auto.hear(pcm[:160], True)), level]


def buffer_row(pcm: np.ndarray) -> Row:
    """A packet in, a frame out."""
    buffer, at = jitter.JitterBuffer(8000), [0]

    def step() -> None:
        buffer.put(at[0] * 160, pcm[:160], False, at[0] * 20_000_000)
        buffer.take(False, at[0] * 20_000_000)
        at[0] += 1

    return Row("jitter buffer", frame=step)


def speech_row(pcm: np.ndarray) -> Row:
    """Whether somebody speaks; the WebRTC VAD by itself has neither an echo guard nor starts and ends."""
    webrtcvad: Any = module("webrtcvad")
    row = Row("speech detector")
    if webrtcvad:
        vad, frames = webrtcvad.Vad(3), [f.tobytes() for f in pcm[:8000].reshape(-1, 160)]
        row.peers["webrtcvad"] = Peer(lambda: [vad.is_speech(f, 8000) for f in frames], frames=len(frames))
    return row


def srtp_rows() -> list[Row]:
    """A packet sealed and opened again, beside pylibsrtp's own Python face (same libsrtp)."""
    library: Any = module("pylibsrtp")
    rows = []
    for label, profile in (("AES-CM", "AES_CM_128_HMAC_SHA1_80"), ("AES-GCM", "AEAD_AES_128_GCM")):
        row = Row(f"SRTP {label} seal + open")
        if not srtp.why_not(profile):
            key = bytes(range(KEYS[profile]))
            row.frame = round_trip(srtp.SrtpPair(profile, key, key).protect, srtp.SrtpPair(profile, key, key).unprotect)
            if library:
                kind = {"AES-CM": "SRTP_PROFILE_AES128_CM_SHA1_80", "AES-GCM": "SRTP_PROFILE_AEAD_AES_128_GCM"}[label]
                policies = [
                    library.Policy(key=key, ssrc_type=t, srtp_profile=getattr(library.Policy, kind))
                    for t in (library.Policy.SSRC_ANY_OUTBOUND, library.Policy.SSRC_ANY_INBOUND)
                ]
                out, back = (library.Session(policy=policy) for policy in policies)
                row.peers["pylibsrtp"] = Peer(None, round_trip(out.protect, back.unprotect))
        rows.append(row)
    return rows


def round_trip(seal: Callable[[bytes], bytes], unseal: Callable[[bytes], bytes]) -> Call:
    """Packets in sequence, one a call."""
    number = [0]

    def step() -> None:
        n = number[0] = number[0] + 1
        unseal(seal(struct.pack("!BBHII", 0x80, 0, n & 0xFFFF, n * 160 & 0xFFFFFFFF, 7) + bytes(160)))

    return step


def rows(rates: dict[int, np.ndarray]) -> list[Row]:
    """Every kernel that has a Python face or a peer. `rates`: the same whole seconds of sound at 8, 16 and 48 kHz."""
    pcm = rates[8000]
    opus = [] if codec.available().get("opus") else [Row("Opus encode", 16000), Row("Opus decode", 16000)]
    return [
        *g711_rows(pcm),
        *g722_rows(rates[16000]),
        *opus,
        *resample_rows(rates),
        mix_row(pcm),
        Row("mix less one's own"),
        *key_rows(pcm),
        *level_rows(pcm),
        buffer_row(pcm),
        speech_row(pcm),
        *srtp_rows(),
    ]
