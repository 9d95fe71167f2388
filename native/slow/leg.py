"""One leg: a socket, what comes in by it, what goes out by it. All of it runs on the engine's thread."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import numpy as np

from native.slow import events as told
from native.slow.arrivals import Arrivals
from native.slow.codecs import CODECS, DEFAULT
from native.slow.control import BURST, Control
from native.slow.events import Ring
from native.slow.hearing import END, Ears
from native.slow.inband import InbandKeys
from native.slow.keys import DIGITS
from native.slow.latch import Address, Latch
from native.slow.outlets import Gate, Tap
from native.slow.playout import Playout, Turn
from native.slow.rates import Pcm, Stream, saturate
from native.slow.room import Inbox, Room
from native.slow.security import Secrets
from native.slow.sender import Remote, Sender
from native.twins.gain import AutoGain
from native.twins.rtp import KeyReader, Source, nearest, parse_rtp

if TYPE_CHECKING:
    from native.slow.loop import Loop

COMFORT_NOISE = 13
SILENT_NS = 5_000_000_000
KEY_NS = 100_000_000
ECHO_GAIN = 10 ** (-1 / 20)
DOWN_SAMPLES = 65536


class Leg:
    def __init__(
        self,
        loop: Loop,
        slot: int,
        handle: int,
        sockets: tuple[socket.socket, socket.socket],
        start: tuple[int, int, int],
    ) -> None:
        """`sockets`: of RTP and RTCP; `start`: sequence number, timestamp and SSRC."""
        self.loop, self.slot, self.handle, self.open = loop, slot, handle, True
        self.socket, self.agreed = sockets[0], False
        self.codecs = {payload: CODECS[name] for payload, name in DEFAULT.items()}
        self.latch, self.source, self.key, self.key_at = Latch(), Source(), KeyReader(), 0
        self.sender = Sender(sockets[0], self.latch, *start)
        self.control = Control(sockets[1], self.sender)
        self.rate, self.arrivals = 8000, Arrivals(8000)
        self.gate, self.tap, self.down = Gate(8000), Tap(8000), Ring(DOWN_SAMPLES)
        self.playout, self.ears, self.inband, self.gain = Playout(), Ears(loop.vad_mode), InbandKeys(), AutoGain()
        self.inbox = Inbox()
        self.room: Room | None = None
        self.hears_keys: bool | None = None
        self.gains = self.echoes = self.lost = False
        self.heard_at = self.octets_in = self.discarded = 0
        self.at_rate(8000)

    # --- commands -------------------------------------------------------------------------------------------------

    def at_rate(self, rate: int) -> None:
        """Everything that depends on the rate of the leg, as new."""
        self.rate, self.arrivals = rate, Arrivals(rate)
        self.to_ears, self.to_keys = Stream(rate, 8000), Stream(rate, 8000)
        self.played, self.from_down = Stream(rate, 8000), Stream(8000, rate)
        self.gate.at_rate(rate)
        self.tap.at_rate(rate, self.tap.rate)

    def remote(self, r: Remote, now: int) -> None:
        if self.sender.agreed is None or (r.receive and not self.sender.agreed.receive):
            self.heard_at = now
        self.latch.signal(r.address)
        self.sender.agree(r)
        self.codecs = r.codecs
        if self.sender.codec.rate != self.rate:
            self.at_rate(self.sender.codec.rate)

    def secure(self, secrets: Secrets) -> None:
        self.sender.secrets = secrets

    def join(self, room: Room, heard_by: frozenset[int] | None) -> None:
        """Becomes a member, or changes who hears it."""
        if self.room is not room:
            self.leave()
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
            self.post(told.PROMPT_DONE, now, turn.token, 1)

    def resume(self, now: int) -> None:
        self.playout.muted = False
        self.rearm(now)

    def rearm(self, now: int) -> None:
        """A prompt starts or goes on: speech that is under way must be detected anew to mute it."""
        if self.ears.speaking:
            self.ears.rest()
            self.post(told.SPEECH_ENDED, now, self.ears.voiced_steps * 10)

    def stop(self, now: int) -> None:
        """Whatever plays ends now."""
        self.playout.clear()
        self.tell_played(now, stopped=True)

    def listen(self, on: bool) -> None:
        """Arms the gate or closes it; speech in progress opens it at once."""
        self.gate.listen(on)
        if self.ears.speaking:
            self.gate.open()

    def record(self, on: bool, rate: int) -> None:
        self.tap.on = on
        self.tap.at_rate(self.rate, rate)

    # --- what is told ---------------------------------------------------------------------------------------------

    def post(self, kind: int, at: int, a: int = 0, b: int = 0) -> None:
        self.loop.events.post(kind, self.handle, at, a, b)

    def full(self, ring: Ring, fits: bool, which: int) -> None:
        """A ring is told to be full once, until something fits again."""
        if not fits and not ring.full:
            self.loop.rings_full += 1
            self.post(told.RING_FULL, self.heard_at, which)
        ring.full = not fits

    def tell_played(self, now: int, stopped: bool) -> None:
        p = self.playout
        for token in p.begun:
            self.post(told.PROMPT_STARTED, now, token)
        for token in p.ended:
            self.post(told.PROMPT_DONE, now, token, int(stopped))
        p.begun, p.ended = [], []

    def garbage(self) -> None:
        self.loop.garbage += 1
        self.discarded += 1

    # --- in -------------------------------------------------------------------------------------------------------

    def receive(self, now: int) -> None:
        """What waits in the socket."""
        for _ in range(BURST):
            try:
                octets, source = self.socket.recvfrom(2048)
            except OSError:
                break
            if self.control.mixed and len(octets) > 1 and 192 <= octets[1] <= 223:
                self.control.take(octets, source[:2], now)
            else:
                self.packet(octets, source[:2], now)

    def idle(self, now: int) -> None:
        """What follows from nothing having come."""
        if self.ears.idle(now) == END:
            self.speech(END, now)
        agreed = self.sender.agreed
        if agreed is not None and agreed.receive and not self.lost and now - self.heard_at > SILENT_NS:
            self.lost = True
            self.post(told.RTP_LOST, now)

    def packet(self, octets: bytes, source: Address, now: int) -> None:
        head, secrets, agreed = parse_rtp(octets), self.sender.secrets, self.sender.agreed
        if head is None:
            self.garbage()
            return
        if secrets is not None:
            octets = secrets.open(octets) or b""
            head = parse_rtp(octets)
        wanted = head is not None and (head[0] in self.codecs or head[0] in (self.sender.key_payload, COMFORT_NOISE))
        if head is None or not wanted or agreed is None or not agreed.receive:
            self.discarded += 1
            return
        payload, marker, seq, stamp, ssrc, at, size = head
        if not self.is_ours(source, ssrc, seq, now):
            self.discarded += 1
            return
        if self.lost:
            self.lost = False
            self.post(told.RTP_BACK, now, (now - self.heard_at) // 1_000_000)
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
            self.post(told.RTP_LATCHED, now, number, source[1])
        return ours

    def take(self, payload: int, marker: bool, seq: int, stamp: int, ssrc: int, data: bytes, now: int) -> None:
        """A packet of the far end, by its payload type."""
        codec, source = self.codecs.get(payload), self.source
        clock = codec.clock if codec else self.arrivals.clock or self.sender.codec.clock
        timing = source.jitter, source.transit
        order = source.packet(seq, stamp, ssrc, now * clock // 1_000_000_000)
        if order == 2:
            return
        number, extended = nearest(seq, source.highest, 16), nearest(stamp, source.stamp, 32)
        if payload == self.sender.key_payload:
            # Every packet of a key carries the time it began: no measure of jitter.
            source.jitter, source.transit = timing
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
        self.post(told.KEY, now, ord(digit), int(self.tap.masked))
        self.playout.stop_by_key()
        self.tell_played(now, stopped=True)

    def hear(self, made: list[Pcm], now: int) -> None:
        for pcm in made:
            heard = self.ears.hear(self.to_ears(pcm), now)
            if heard:
                self.speech(heard, now)

    def hear_keys(self, heard: Pcm, now: int) -> None:
        """Keys in the sound, where the far end does not send them as events."""
        wanted = self.sender.agreed is not None and self.sender.key_payload < 0
        if wanted if self.hears_keys is None else self.hears_keys:
            for digit in self.inband.hear(self.to_keys(heard)):
                self.pressed(digit, now)

    def speech(self, heard: int, now: int) -> None:
        ears, turn = self.ears, self.playout.now
        if heard == END:
            self.post(told.SPEECH_ENDED, now, ears.voiced_steps * 10)
            return
        mutes = turn is not None and not self.playout.muted and turn.manner.barge_in
        self.playout.muted = self.playout.muted or mutes
        self.post(told.SPEECH_STARTED, ears.first_at, int(mutes), (now - ears.first_at) // 1000)
        if turn is not None and mutes:
            self.post(told.PROMPT_MUTED, now, turn.token)
        self.full(self.gate.ring, self.gate.open(), told.FULL_UP)

    # --- out ------------------------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """20 ms: a frame from the jitter buffer, a packet out, and what follows from both."""
        quiet = self.key.known and not self.key.ended and now - self.key_at < KEY_NS
        heard, late = self.arrivals.take(quiet, now)
        self.hear(late, now)
        self.hear_keys(heard, now)
        amplified = self.gain.hear(heard, self.ears.stands_out)
        heard = amplified if self.gains else heard
        self.full(self.gate.ring, self.gate.hear(heard), told.FULL_UP)
        for listener in [] if self.room is None else self.room.listeners(self.handle):
            other = self.loop.legs[listener]
            other.inbox.put(self.handle, heard, self.rate, other.rate)
        said = self.sender.say(self.fill(heard))
        self.ears.played(self.played(said))
        self.full(self.tap.ring, self.tap.record(heard, said), told.FULL_TAP)
        self.tell_played(now, stopped=False)
        self.control.tick(self.source, now)

    def fill(self, heard: Pcm) -> Pcm:
        """What this leg says now: a prompt (in place of the room, or over it), else an echo, else the room, else live
        audio, else silence."""
        others, turn = self.inbox.take(self.rate // 50), self.playout.now
        prompt = self.playout.take(self.rate) if self.sender.sends else None
        if prompt is not None and not (turn is not None and turn.manner.over):
            return prompt
        if self.echoes:
            others = saturate(np.round(heard * ECHO_GAIN))
        elif turn is None and (self.room is None or len(self.room.heard_by) == 1):
            others = saturate(others.astype(np.int64) + self.live())
        return others if prompt is None else saturate(others.astype(np.int64) + prompt)

    def live(self) -> Pcm:
        """The next 20 ms of what Python writes."""
        pcm = self.down.take(160)
        return self.from_down(np.pad(pcm, (0, 160 - len(pcm))))
