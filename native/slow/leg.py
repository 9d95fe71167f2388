"""One leg: a socket, what comes in by it, what goes out by it. All of it runs on the engine's thread."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from native import codec as kernel
from native.slow import events as told
from native.slow.arrivals import Arrivals
from native.slow.codecs import CODECS, DEFAULT, Codec, Coder
from native.slow.events import Events, Ring
from native.slow.hearing import END, Ears
from native.slow.inband import InbandKeys
from native.slow.keys import DIGITS, KeysOut
from native.slow.latch import Address, Latch
from native.slow.playout import Playout, Turn
from native.slow.rates import Pcm, Stream, saturate
from native.slow.reports import Reports, Sent, ntp
from native.slow.room import Inbox, Room
from native.slow.security import Secrets
from native.slow.silence import Silence
from native.twins import quality
from native.twins.gain import AutoGain
from native.twins.rtp import KeyReader, Source, nearest, parse_rtp

if TYPE_CHECKING:
    from native.slow.loop import Loop

BURST = 32
COMFORT_NOISE = 13
SILENT_NS = 5_000_000_000
KEY_NS = 100_000_000
PREROLL = 20
ECHO_GAIN = 10 ** (-1 / 20)
UP_SAMPLES, DOWN_SAMPLES, TAP_PAIRS = 131072, 65536, 131072


@dataclass
class Sender:
    """The way out."""

    seq: int
    stamp: int
    ssrc: int
    known: bool = False
    send: bool = False
    receive: bool = False
    payload: int = 0
    key_payload: int = -1
    codec: Codec = CODECS["PCMU"]
    fresh: bool = True
    packets: int = 0
    octets: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Remote:
    """What was agreed with the far end."""

    address: Address
    payload: int
    key_payload: int
    send: bool
    receive: bool
    codecs: dict[int, Codec]
    noise_payload: int
    rtcp_port: int | None


@dataclass
class Tap:
    on: bool = False
    masked: bool = False
    rate: int = 8000
    ring: Ring = field(default_factory=lambda: Ring(TAP_PAIRS, (2,)))
    streams: tuple[Stream, Stream] = (Stream(8000, 8000), Stream(8000, 8000))


class Leg:
    def __init__(
        self,
        loop: Loop,
        slot: int,
        handle: int,
        rtp: socket.socket,
        rtcp: socket.socket,
        start: tuple[int, int, int],
    ) -> None:
        self.loop, self.slot, self.handle, self.socket, self.rtcp = loop, slot, handle, rtp, rtcp
        self.agreed: Remote | None = None
        self.events: Events = loop.events
        self.open = True
        self.out = Sender(*start)
        self.codecs = {p: CODECS[name] for p, name in DEFAULT.items() if name in CODECS}
        self.latch, self.source, self.key, self.key_at = Latch(), Source(), KeyReader(), 0
        self.secrets: Secrets | None = None
        self.keys, self.playout, self.ears = KeysOut(), Playout(), Ears(loop.vad_mode)
        self.reports, self.rtcp_garbage = Reports(start[2]), 0
        self.inband, self.gain, self.gains, self.silence = InbandKeys(), AutoGain(), False, Silence()
        self.hears_keys: bool | None = None
        self.inbox = Inbox()
        self.room: Room | None = None
        self.echoes = self.listening = self.flowing = self.up_full = self.lost = False
        self.up, self.down, self.tap = Ring(UP_SAMPLES), Ring(DOWN_SAMPLES), Tap()
        self.heard_at = self.octets_in = self.discarded = 0
        self.past: deque[Pcm] = deque(maxlen=PREROLL)
        self.at_rate(8000)
        self.coder: Coder = self.out.codec.make()

    def at_rate(self, rate: int) -> None:
        """Everything that depends on the rate of the leg, as new."""
        self.rate, self.arrivals = rate, Arrivals(rate)
        self.to_ears, self.to_up, self.played = Stream(rate, 8000), Stream(rate, 16000), Stream(rate, 8000)
        self.from_down, self.to_keys = Stream(8000, rate), Stream(rate, 8000)
        self.past.extend([np.zeros(rate // 50, np.int16)] * PREROLL)
        self.tap_at(self.tap.rate)

    def tap_at(self, rate: int) -> None:
        self.tap.rate, self.tap.streams = rate, (Stream(self.rate, rate), Stream(self.rate, rate))

    def remote(self, r: Remote, now: int) -> None:
        if not self.out.known:
            self.heard_at = now
        self.latch.signal(r.address)
        o, codec = self.out, r.codecs[r.payload]
        o.known, o.fresh = True, o.fresh or (r.send and not o.send)
        o.payload, o.key_payload, o.send, o.receive = r.payload, r.key_payload, r.send, r.receive
        self.codecs = r.codecs
        if codec is not o.codec:
            o.codec, self.coder = codec, codec.make()
        if codec.rate != self.rate:
            self.at_rate(codec.rate)

    def secure(self, secrets: Secrets) -> None:
        self.secrets = secrets

    def join(self, room: Room, heard_by: frozenset[int] | None) -> None:
        """Becomes a member, or changes who hears it."""
        self.room = room
        room.heard_by[self.handle] = heard_by

    def leave(self) -> None:
        if self.room is not None:
            self.room.heard_by.pop(self.handle, None)
            self.room = None

    def play(self, turn: Turn, append: bool, now: int) -> None:
        if not append:
            self.stop(now)
            self.rearm(now)
        if not self.playout.add(turn):
            self.events.post(told.PROMPT_DONE, self.handle, now, turn.token, 1)

    def resume(self, now: int) -> None:
        self.playout.muted = False
        self.rearm(now)

    def tap_on(self, on: bool, rate: int) -> None:
        self.tap.on = on
        self.tap_at(rate)

    # --- in -------------------------------------------------------------------------------------------------------

    def receive(self, now: int) -> None:
        """What waits in the socket."""
        for _ in range(BURST):
            try:
                octets, source = self.socket.recvfrom(2048)
            except OSError:
                break
            mixed = self.agreed is not None and self.agreed.rtcp_port == 0
            if mixed and len(octets) > 1 and 192 <= octets[1] <= 223:
                self.report_in(octets, source[:2], now)
            else:
                self.packet(octets, source[:2], now)

    def receive_reports(self, now: int) -> None:
        for _ in range(BURST):
            try:
                octets, source = self.rtcp.recvfrom(2048)
            except OSError:
                break
            self.report_in(octets, source[:2], now)

    def report_in(self, octets: bytes, source: Address, now: int) -> None:
        if self.secrets is not None:
            octets = self.secrets.open(octets, control=True) or b""
        if self.latch.to is None or source[0] != self.latch.to[0]:
            return
        self.rtcp_garbage += not self.reports.read(octets, self.out.ssrc, now, ntp(time.time_ns()))

    def report_out(self, now: int) -> None:
        """The report that is due, to where the far end wants it."""
        behind = -1 if self.agreed is None else self.agreed.rtcp_port
        if behind == -1 or self.latch.to is None or not self.reports.due(now):
            return
        o = self.out
        sent = Sent(o.ssrc, o.stamp, o.packets, o.octets)
        octets = self.reports.write(sent, self.source, now, ntp(time.time_ns()))
        ip, port = self.latch.to
        with contextlib.suppress(OSError):
            sock = self.rtcp if behind != 0 else self.socket
            octets = self.secrets.seal(octets, control=True) if self.secrets else octets
            sock.sendto(octets, (ip, port + 1 if behind is None else behind or port))

    def idle(self, now: int) -> None:
        if self.ears.idle(now) == END:
            self.speech(END, now)
        if self.out.receive and self.out.known and not self.lost and now - self.heard_at > SILENT_NS:
            self.lost = True
            self.events.post(told.RTP_LOST, self.handle, now)

    def garbage(self) -> None:
        self.loop.garbage += 1
        self.discarded += 1

    def packet(self, octets: bytes, source: Address, now: int) -> None:
        head = parse_rtp(octets)
        if head is not None and self.secrets is not None:
            octets = self.secrets.open(octets) or b""
            head = parse_rtp(octets)
            if head is None:
                self.discarded += 1
                return
        if head is None:
            self.garbage()
            return
        payload, marker, seq, stamp, ssrc, at, size = head
        known = payload in self.codecs or payload in (self.out.key_payload, COMFORT_NOISE)
        if not self.out.receive or not known or not self.is_ours(source, ssrc, seq, now):
            self.discarded += 1
            return
        if self.lost:
            self.lost = False
            self.events.post(told.RTP_BACK, self.handle, now, (now - self.heard_at) // 1_000_000)
        self.heard_at = now
        self.octets_in += size
        if self.source.ssrc not in (None, ssrc):
            self.arrivals.reset()
            self.key = KeyReader()
        self.take(payload, marker, seq, stamp, ssrc, octets[at : at + size], now)

    def is_ours(self, source: Address, ssrc: int, seq: int, now: int) -> bool:
        ours, moved = self.latch.packet(source, ssrc, seq, now - self.heard_at)
        if moved:
            number = struct.unpack("!I", socket.inet_aton(source[0]))[0] if "." in source[0] else 0
            self.events.post(told.RTP_LATCHED, self.handle, now, number, source[1])
        return ours

    def take(self, payload: int, marker: bool, seq: int, stamp: int, ssrc: int, data: bytes, now: int) -> None:
        """A packet of the far end, by its payload type."""
        codec = self.codecs.get(payload)
        clock = codec.clock if codec else self.arrivals.clock or self.out.codec.clock
        timing = self.source.jitter, self.source.transit
        order = self.source.packet(seq, stamp, ssrc, now * clock // 1_000_000_000)
        if order == 2:
            return
        number, extended = nearest(seq, self.source.highest, 16), nearest(stamp, self.source.stamp, 32)
        if payload == self.out.key_payload:
            # Every packet of a key carries the time it began: no measure of jitter.
            self.source.jitter, self.source.transit = timing
            self.take_key(stamp, data, now)
        elif codec is None:
            self.arrivals.noise(number, extended, clock, data, now)
        else:
            made = self.arrivals.put(codec, number, extended, marker, data, now)
            if not made and not codec.ordered:
                self.garbage()
            if order == 0:
                self.hear(made, now)

    def take_key(self, stamp: int, data: bytes, now: int) -> None:
        event = self.key.packet(stamp, data)
        if event == -2:
            self.garbage()
            return
        self.key_at = now
        if event >= 0:
            self.pressed(DIGITS[event], now)

    def pressed(self, digit: str, now: int) -> None:
        self.events.post(told.KEY, self.handle, now, ord(digit), int(self.tap.masked))
        self.playout.stop_by_key()
        self.tell_played(now, stopped=True)

    def hear(self, made: list[Pcm], now: int) -> None:
        for pcm in made:
            heard = self.ears.hear(self.to_ears(pcm), now)
            if heard:
                self.speech(heard, now)

    def speech(self, heard: int, now: int) -> None:
        ears, turn = self.ears, self.playout.now
        if heard == END:
            self.events.post(told.SPEECH_ENDED, self.handle, now, ears.voiced_steps * 10)
            return
        mutes = turn is not None and not self.playout.muted and turn.manner.barge_in
        self.playout.muted = self.playout.muted or mutes
        took_us = (now - ears.first_at) // 1000
        self.events.post(told.SPEECH_STARTED, self.handle, ears.first_at, int(mutes), took_us)
        if turn is not None and mutes:
            self.events.post(told.PROMPT_MUTED, self.handle, now, turn.token)
        self.overheard()

    # --- up -------------------------------------------------------------------------------------------------------

    def listen(self, on: bool) -> None:
        """Arms the gate or closes it; speech in progress opens it at once."""
        self.listening, self.flowing, self.up_full = on, False, False
        self.up.drop()
        if self.ears.speaking:
            self.overheard()

    def overheard(self) -> None:
        """The gate opens; what came before goes first."""
        if self.listening and not self.flowing:
            self.flowing, self.to_up = True, Stream(self.rate, 16000)
            for frame in self.past:
                self.push_up(frame)

    def push_up(self, frame: Pcm) -> None:
        fits = self.up.put(self.to_up(frame))
        self.full(self.up, fits, told.FULL_UP)

    def full(self, ring: Ring, fits: bool, which: int) -> None:
        """A ring is told to be full once, until something fits again."""
        if not fits and not ring.full:
            self.loop.rings_full += 1
            self.events.post(told.RING_FULL, self.handle, self.heard_at, which)
        ring.full = not fits

    def record(self, heard: Pcm, said: Pcm) -> None:
        both = np.stack([stream(pcm) for stream, pcm in zip(self.tap.streams, (heard, said), strict=True)], 1)
        fits = self.tap.ring.put(both * (not self.tap.masked))
        self.full(self.tap.ring, fits, told.FULL_TAP)

    # --- out ------------------------------------------------------------------------------------------------------

    def rearm(self, now: int) -> None:
        """A prompt starts or goes on: speech that is under way must be detected anew to mute it."""
        if self.ears.speaking:
            self.ears.rest()
            self.events.post(told.SPEECH_ENDED, self.handle, now, self.ears.voiced_steps * 10)

    def stop(self, now: int) -> None:
        """Whatever plays ends now."""
        self.playout.clear()
        self.tell_played(now, stopped=True)

    def tell_played(self, now: int, stopped: bool) -> None:
        p = self.playout
        for token in p.begun:
            self.events.post(told.PROMPT_STARTED, self.handle, now, token)
        for token in p.ended:
            self.events.post(told.PROMPT_DONE, self.handle, now, token, int(stopped))
        p.begun, p.ended = [], []

    def sends(self) -> bool:
        return self.out.known and self.out.send

    def fill(self, heard: Pcm) -> Pcm:
        """What this leg says now: a prompt (in place of the room, or over it), else an echo, else the room, else live
        audio, else silence."""
        n = self.rate // 50
        others = self.inbox.take(n)
        turn = self.playout.now
        prompt = self.playout.take(self.rate) if self.sends() else None
        if prompt is not None and not (turn is not None and turn.manner.over):
            return prompt
        if self.echoes:
            others = saturate(np.round(heard * ECHO_GAIN))
        elif prompt is None and turn is None and (self.room is None or len(self.room.heard_by) == 1):
            live = self.down.take(160)
            if len(live):
                others = saturate(others.astype(np.int64) + self.from_down(np.pad(live, (0, 160 - len(live)))))
        return others if prompt is None else saturate(others.astype(np.int64) + prompt)

    def tick(self, now: int) -> None:
        """20 ms: a frame from the jitter buffer, a packet out, and what follows from both."""
        quiet = self.key.known and not self.key.ended and now - self.key_at < KEY_NS
        heard, late = self.arrivals.take(quiet, now)
        self.hear(late, now)
        self.hear_keys(heard, now)
        amplified = self.gain.hear(heard, self.ears.speaking)
        heard = amplified if self.gains else heard
        self.past.append(heard)
        if self.flowing:
            self.push_up(heard)
        if self.room is not None:
            for listener in (self.loop.legs[h] for h in self.room.listeners(self.handle)):
                listener.inbox.put(self.handle, heard, self.rate, listener.rate)
        said = self.say(self.fill(heard), now)
        self.ears.played(self.played(said))
        if self.tap.on:
            self.record(heard, said)
        self.tell_played(now, stopped=False)
        self.report_out(now)

    def hear_keys(self, heard: Pcm, now: int) -> None:
        """Keys in the sound, where the far end does not send them as events."""
        if self.out.key_payload < 0 and self.out.known if self.hears_keys is None else self.hears_keys:
            for digit in self.inband.hear(self.to_keys(heard)):
                self.pressed(digit, now)

    def say(self, pcm: Pcm, now: int) -> Pcm:
        """Sends one frame, or a key's packet in its place; gives what the far end hears."""
        o, step = self.out, self.out.codec.clock // 50
        silence = np.zeros(self.rate // 50, np.int16)
        said = silence
        if self.sends():
            key = self.keys.packet(o.stamp, step) if o.key_payload >= 0 else None
            tone = self.keys.tone(self.rate) if o.key_payload < 0 else None
            if key is not None:
                self.send(o.key_payload, key.marker, key.stamp, key.payload)
                o.fresh = True
            else:
                said = self.send_audio(pcm if tone is None else saturate(np.round(tone)))
        o.stamp = (o.stamp + step) % 2**32
        return said

    def send_audio(self, pcm: Pcm) -> Pcm:
        """One frame as audio, or as the silence it is; gives what the far end hears."""
        noise = self.agreed.noise_payload if self.agreed else -1
        level = self.silence.hear(pcm) if noise >= 0 else None
        if level is not None:
            if level:
                self.send(noise, False, self.out.stamp, level)
            self.out.fresh = True
            return pcm
        data = self.coder.encode(pcm)
        self.send(self.out.payload, self.out.fresh, self.out.stamp, data)
        self.out.fresh = False
        back = None if self.out.codec.ordered else self.coder.decode(data)
        return pcm if back is None else back

    def send(self, payload: int, marker: bool, stamp: int, data: bytes) -> None:
        o = self.out
        packet = struct.pack("!BBHII", 0x80, 0x80 * marker | payload, o.seq, stamp, o.ssrc) + data
        try:
            self.socket.sendto(self.secrets.seal(packet) if self.secrets else packet, self.latch.to or ("", 0))
        except OSError:
            o.failed += 1
        o.packets += 1
        o.octets += len(data)
        o.seq = (o.seq + 1) & 0xFFFF

    def mos(self) -> float:
        """What a listener here would give, 1.0 to 4.5: the codec, the share lost and late, the way and the buffer."""
        expected = max(1, self.source.highest - self.source.first + 1)
        loss = 100 * min(1.0, (self.source.lost + self.arrivals.jitter.late) / expected)
        delay = (self.reports.remote.rtt_ms or 0.0) / 2 + self.arrivals.jitter.delay_ms + 20
        return float(quality.mos(kernel.NAMES[self.out.codec.name], loss, 1.0, delay))

    def stats(self) -> dict[str, Any]:
        o, source, jitter, said = self.out, self.source, self.arrivals.jitter, self.reports.remote
        return {
            "packets_sent": o.packets,
            "octets_sent": o.octets,
            "send_failed": o.failed,
            "packets_received": source.received,
            "octets_received": self.octets_in,
            "lost": source.lost,
            "duplicate": source.duplicate,
            "late": jitter.late,
            "discarded": self.discarded,
            "concealed_samples": jitter.concealed,
            "jitter_ms": source.jitter * 1000 / (self.arrivals.clock or 8000),
            "remote": self.latch.to,
            "latched": self.latch.done is not None,
            "muted_frames": self.playout.muted_frames,
            "voiced_frames": self.ears.voiced_total // 2,
            "up_refused": self.up.refused // 320,
            "tap_refused": self.tap.ring.refused // 160,
            "down_refused": self.down.refused,
            "ssrc": o.ssrc,
            "rate": self.rate,
            "codec": o.codec.name,
            "rtt_ms": said.rtt_ms,
            "remote_lost": said.lost,
            "remote_fraction_lost": said.fraction,
            "remote_jitter_ms": said.jitter * 1000 / o.codec.clock,
            "mos": self.mos(),
            "delay_ms": jitter.delay_ms,
            "target_ms": jitter.target_ms,
            "stretched": jitter.stretched,
            "dropped": jitter.dropped,
            "noise_frames": jitter.noise_frames,
            "level_dbm0": self.gain.level_dbm0,
            "srtp_replayed": self.secrets.replayed if self.secrets else 0,
            "srtp_forged": self.secrets.forged if self.secrets else 0,
        }
