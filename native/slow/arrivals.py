"""The way in: packets of any codec become samples at the leg's rate, in the jitter buffer and at the ears."""

from __future__ import annotations

from dataclasses import dataclass

from native.slow.codecs import Codec, Coder
from native.slow.rates import Pcm, Stream
from native.twins.jitter import JitterBuffer


@dataclass(frozen=True)
class Arrived:
    """An encoded packet with its extended sequence number and its timestamp in samples at the leg's rate."""

    seq: int
    stamp: int
    codec: Codec
    marker: bool
    data: bytes


class Arrivals:
    """Packets of a codec with state wait here for those before them, until the jitter buffer runs dry."""

    KEPT = 16

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.jitter = JitterBuffer(rate)
        self.noise_frames = 0
        self.reset()

    def reset(self) -> None:
        """Another stream begins; counters stay."""
        self.jitter.reset()
        self.coders: dict[str, Coder] = {}
        self.streams: dict[int, Stream] = {}
        self.clock = self.anchor = self.origin = self.newest = self.last_seq = 0
        self.length = self.rate // 50
        self.waiting: dict[int, Arrived] = {}
        self.next_seq: int | None = None

    def stamp_of(self, clock: int, stamp: int, seq: int) -> int:
        """An extended RTP timestamp in samples at the leg's rate. Where the clock changes in mid-stream (RFC 7160) the
        new packet is put where its sequence number says."""
        by_number = self.newest + (seq - self.last_seq) * self.length
        if self.clock == 0:
            self.clock, self.anchor, self.origin = clock, stamp, stamp * self.rate // clock
        elif clock != self.clock and seq < self.last_seq:
            return by_number
        elif clock != self.clock:
            self.clock, self.anchor, self.origin = clock, stamp, by_number
        made = self.origin + (stamp - self.anchor) * self.rate // clock
        if seq > self.last_seq:
            self.newest, self.last_seq = made, seq
        return made

    def decoded(self, codec: Codec, data: bytes) -> Pcm | None:
        if codec.name not in self.coders:
            self.coders[codec.name] = codec.make()
        return self.at_rate(self.coders[codec.name].decode(data), codec)

    def at_rate(self, pcm: Pcm | None, codec: Codec) -> Pcm | None:
        if pcm is None or len(pcm) == 0:
            return None
        if codec.rate not in self.streams:
            self.streams[codec.rate] = Stream(codec.rate, self.rate)
        return self.streams[codec.rate](pcm)

    def put(self, codec: Codec, seq: int, stamp: int, marker: bool, data: bytes, now: int) -> list[Pcm]:
        """Takes a packet in; gives the samples that became known by it, in order. None of them: it can't be read."""
        packet = Arrived(seq, self.stamp_of(codec.clock, stamp, seq), codec, marker, data)
        if not codec.ordered:
            pcm = self.decoded(codec, data)
            if pcm is not None:
                self.length = len(pcm)
                self.jitter.put(packet.stamp, pcm, marker, now)
            return [] if pcm is None else [pcm]
        if self.next_seq is None or seq - self.next_seq >= self.KEPT:
            self.next_seq = seq
        if seq >= self.next_seq:
            self.waiting[seq] = packet
        return self.decode_waiting(now)

    def decode_waiting(self, now: int, force: bool = False) -> list[Pcm]:
        """Decodes what is next in order. `force`: what is missing before the first that waits is made up."""
        made: list[Pcm] = []
        if force and self.waiting:
            first = self.waiting[min(self.waiting)]
            for gap in range(first.seq - (self.next_seq or first.seq), 0, -1):
                coder = self.coders.get(first.codec.name)
                pcm = coder.missing(self.length * first.codec.rate // self.rate) if coder else None
                found = self.at_rate(pcm, first.codec)
                if found is not None:
                    self.jitter.put(first.stamp - gap * self.length, found, False, now)
            self.next_seq = first.seq
        while self.next_seq in self.waiting:
            packet = self.waiting.pop(self.next_seq)
            self.next_seq = packet.seq + 1
            pcm = self.decoded(packet.codec, packet.data)
            if pcm is not None:
                self.length = len(pcm)
                self.jitter.put(packet.stamp, pcm, packet.marker, now)
                made.append(pcm)
        return made

    def noise(self, seq: int, stamp: int, clock: int, payload: bytes, now: int) -> None:
        self.jitter.noise(self.stamp_of(clock, stamp, seq), payload, now)

    def take(self, quiet: bool, now: int) -> tuple[Pcm, list[Pcm]]:
        """20 ms for the leg, and samples that were decoded because the buffer ran dry."""
        late = self.decode_waiting(now, force=True) if self.waiting and self.jitter.short else []
        return self.jitter.take(quiet, now), late
