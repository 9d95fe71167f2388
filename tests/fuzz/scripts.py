"""The fuzzer's inputs, read for the Python faces of native/ as target.pyx reads them for its C."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import numpy as np

TICK = 20_000_000
OWN = 0x11111111
ROOM = 1920
CODECS = ("", "PCMU", "PCMA", "G722", "L16/8000", "L16/16000", "opus", "")
PROFILES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM")


class Script:
    """An input being read; nothing but noughts come after its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __bool__(self) -> bool:
        return bool(self.data)

    def number(self) -> int:
        first, self.data = self.data[:1], self.data[1:]
        return first[0] if first else 0

    def wide(self) -> int:
        value = self.number() << 8 | self.number()
        return value - 65536 if value & 0x8000 else value

    def chunk(self) -> bytes:
        n = self.number()
        if n == 255:
            n = (self.number() << 8 | self.number()) % 1600
        octets, self.data = self.data[:n], self.data[n:]
        return octets


def rtp(data: bytes) -> None:
    from native import kernels

    script = Script(data)
    source, keys, arrival = kernels.Source(), kernels.KeyReader(), 0
    while script:
        octets = script.chunk()
        found = kernels.parse_rtp(octets)
        if found is not None:
            _, _, seq, stamp, ssrc, at, size = found
            assert 12 <= at <= at + size <= len(octets)
            source.packet(seq, stamp, ssrc, arrival)
            assert source.lost >= 0
            assert -2 <= keys.packet(stamp, octets[at : at + size]) <= 15
        arrival += 160


def jitter(data: bytes) -> None:
    from native.jitter import JitterBuffer

    script = Script(data)
    rate = 16000 if script.number() & 1 else 8000
    buffer = JitterBuffer(rate)
    stamp, now = 160000, 0
    while script:
        op = script.number()
        if op & 3 == 0:
            n, loud = 1 + (op >> 2) * 30, script.number()
            pcm = ((np.arange(n) & 31) * loud * 4 - loud * 64).astype(np.int16)
            stamp += script.wide()
            buffer.put(stamp, pcm, op & 4 != 0, now)
        elif op & 3 == 1:
            for _ in range(1 + (op >> 4)):
                now += TICK
                assert buffer.take(op & 4 != 0, now).shape == (rate // 50,)
        elif op & 3 == 2:
            buffer.noise(stamp, script.chunk() or bytes(1), now)
        elif op & 4:
            buffer.reset()
        elif op & 8:
            stamp += script.wide() << 16
        else:
            now += script.number() * 1_000_000
        assert 0 <= buffer.short <= rate // 50


def rtcp(data: bytes) -> None:
    from native.rtcp import RtcpState

    script = Script(data)
    state = RtcpState(1)
    sent = {"ssrc": OWN, "stamp": 0, "stamp_at": 0, "clock": 8000, "packets": 1, "octets": 160}
    source = {"ssrc": 0, "first": 65536, "highest": 0, "received": 0, "duplicate": 0, "jitter": 0.0}
    now = TICK
    while script:
        op = script.number()
        now += (op >> 2) * TICK
        if op & 3 == 3:
            source["highest"] = 65536 + (script.wide() & 0xFFFF)
            source["received"] += script.number()
            source["duplicate"] += op & 4
            sent["packets"] += 1
            packet = state.write(sent, source, now, now, bool(op & 8))
            assert packet
            assert len(packet) % 4 == 0
            assert state.read(packet, OWN + 1, now, now)
        else:
            state.read(script.chunk(), OWN, now, now << 8)


def intake(data: bytes) -> None:
    from native.codec import available
    from native.intake import IntakeQueue

    script = Script(data)
    queue = IntakeQueue()
    seq = 1000
    absent = {name for name, why in available().items() if why}
    while script:
        op = script.number()
        if op & 3 < 2:
            step = script.number()
            seq += step - 256 if step & 0x80 else step
            stamp = seq * 320 + script.wide()
            octets = script.chunk()
            if CODECS[op >> 2 & 7] not in absent:
                queue.put(seq, stamp, CODECS[op >> 2 & 7], octets, op & 0x20 != 0)
        elif op & 3 == 2:
            found = queue.next(op & 4 != 0)
            assert found is None or 0 < len(found[2]) <= ROOM
        elif op & 4:
            queue.reset()
        else:
            seq += script.wide()


def srtp(data: bytes) -> None:
    from native.srtp import SrtpPair, why_not

    script = Script(data)
    profile = PROFILES[script.number() % 3]
    if why_not(profile):
        return
    key = bytes([7]) * (28 if profile.startswith("AEAD") else 30)
    pair = SrtpPair(profile, key, key)
    while script:
        op = script.number()
        octets = script.chunk()
        control = bool(op & 1)
        if op & 2:
            sealed = pair.protect_rtcp(octets) if control else pair.protect(octets)
            octets = octets if sealed is None else bytes(sealed)
            if op & 4:
                at = script.number() % len(octets) if octets else 0
                bent = bytearray(octets)
                if bent:
                    bent[at] ^= 1 << (op >> 5)
                octets = bytes(bent)
        opened = pair.unprotect_rtcp(octets) if control else pair.unprotect(octets)
        assert not isinstance(opened, bytes) or len(opened) <= len(octets)


def codec(data: bytes) -> None:
    from native.codec import Decoder, available

    script = Script(data)
    names = [name for name, why in available().items() if not why]
    decoders = {name: Decoder(name) for name in names}
    while script:
        op = script.number()
        octets = script.chunk()
        decoder = decoders.get(CODECS[op & 7])
        if decoder is None:
            continue
        if op & 8:
            assert len(decoder.missing((op >> 4) * 120, octets)) <= ROOM
        else:
            with contextlib.suppress(ValueError):
                assert 0 < len(decoder.decode(octets)) <= ROOM


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "rtp": rtp,
    "jitter": jitter,
    "rtcp": rtcp,
    "intake": intake,
    "srtp": srtp,
    "codec": codec,
}
