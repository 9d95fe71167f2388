"""The way out of a leg: audio, keys and comfort noise as packets of one stream."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

import numpy as np

from native.slow.codecs import CODECS, Codec
from native.slow.keys import KeysOut
from native.slow.latch import Address, Latch
from native.slow.rates import Pcm, saturate
from native.slow.security import Secrets
from native.slow.silence import Silence


@dataclass(frozen=True)
class Remote:
    """What was agreed with the far end. Payload types are -1 for none; `rtcp_port`: None the port behind that of RTP, 0
    the same, -1 no RTCP."""

    address: Address
    payload: int
    key_payload: int
    send: bool
    receive: bool
    codecs: dict[int, Codec]
    noise_payload: int
    rtcp_port: int | None


class Sender:
    """`fresh`: the next packet of audio begins a talk spurt."""

    def __init__(self, sock: socket.socket, latch: Latch, seq: int, stamp: int, ssrc: int) -> None:
        self.socket, self.latch = sock, latch
        self.seq, self.stamp, self.ssrc = seq, stamp, ssrc
        self.agreed: Remote | None = None
        self.secrets: Secrets | None = None
        self.codec = CODECS["PCMU"]
        self.coder = self.codec.make()
        self.keys, self.silence = KeysOut(), Silence()
        self.fresh = True
        self.packets = self.octets = self.failed = 0

    def agree(self, r: Remote) -> None:
        self.fresh = self.fresh or (r.send and not self.sends)
        codec = r.codecs[r.payload]
        if codec is not self.codec:
            self.codec, self.coder = codec, codec.make()
        self.agreed = r

    @property
    def sends(self) -> bool:
        return self.agreed is not None and self.agreed.send

    @property
    def key_payload(self) -> int:
        return -1 if self.agreed is None else self.agreed.key_payload

    def say(self, pcm: Pcm) -> Pcm:
        """Sends one frame, or a key's packet in its place; gives what the far end hears."""
        said, step = np.zeros_like(pcm), self.codec.clock // 50
        if self.agreed is not None and self.agreed.send:
            key = self.keys.packet(self.stamp, step) if self.agreed.key_payload >= 0 else None
            tone = self.keys.tone(self.codec.rate) if self.agreed.key_payload < 0 else None
            if key is not None:
                self.packet(self.agreed.key_payload, key.marker, key.stamp, key.payload)
                self.fresh = True
            else:
                said = self.audio(pcm if tone is None else saturate(np.round(tone)), self.agreed)
        self.stamp = (self.stamp + step) % 2**32
        return said

    def audio(self, pcm: Pcm, agreed: Remote) -> Pcm:
        """One frame as audio, or as the silence it is."""
        level = self.silence.hear(pcm) if agreed.noise_payload >= 0 else None
        if level is not None:
            if level:
                self.packet(agreed.noise_payload, False, self.stamp, level)
            self.fresh = True
            return pcm
        data = self.coder.encode(pcm)
        self.packet(agreed.payload, self.fresh, self.stamp, data)
        self.fresh = False
        back = None if self.codec.ordered else self.coder.decode(data)
        return pcm if back is None else back

    def packet(self, payload: int, marker: bool, stamp: int, data: bytes) -> None:
        octets = struct.pack("!BBHII", 0x80, 0x80 * marker | payload, self.seq, stamp, self.ssrc) + data
        try:
            self.socket.sendto(self.secrets.seal(octets) if self.secrets else octets, self.latch.to or ("", 0))
        except OSError:
            self.failed += 1
        self.packets += 1
        self.octets += len(data)
        self.seq = (self.seq + 1) & 0xFFFF
