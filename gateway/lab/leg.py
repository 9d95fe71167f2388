"""A caller's RTP leg in plain Python: speaks, presses keys, and notes when each voiced frame left and arrived.

One `Pacer` thread serves any number of legs at 20 ms. Arrival times are the kernel's, so that a busy Python does not
show in what is measured. Times are CLOCK_MONOTONIC seconds.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from gateway.core.audio import FRAME_MS, WIRE_RATE
from gateway.core.errors import MediaError
from gateway.lab.sounds import VOICED_DBFS
from gateway.lab.wire import FRAME, PCMU, Packet, Sound, Track, decode, encode, key_event, level, pack

TICK = FRAME_MS / 1000
SO_TIMESTAMPNS = 35
"""Linux: the kernel says when each datagram came in (socket(7)); Python has no name for it."""
KEY_FRAMES = 5
"""100 ms a key, then three end packets (RFC 4733 section 2.5.1.4) and 100 ms of pause."""
KEY_PAUSE = 5
RECENT_S = 0.06
"""Sound counts as still coming in for three packets."""
BOTH_TALK_S = 0.5
VOICED_POWER = 32768.0**2 * 10 ** (VOICED_DBFS / 10)


@dataclass
class Said:
    """One thing the caller said or pressed.

    `started` is when its first voiced packet left, `ended` when its last voiced sample had been spoken (a packet leaves
    when its 20 ms are over) or its last key went down, `done` when all of it was sent.
    """

    what: str
    started: float | None = None
    ended: float | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One packet to send: G.711 octets, or a key event (`digit`, samples held so far, whether it is over)."""

    said: Said
    payload: bytes = b""
    quiet: int = FRAME
    digit: str = ""
    held: int = 0
    over: bool = False
    last: bool = False


@dataclass
class Leg:
    """One RTP stream each way from a free even port on `ip`."""

    ip: str = "127.0.0.1"
    track: Track = field(default_factory=Track)
    voiced: list[float] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    sent: int = 0
    unsent: int = 0

    def __post_init__(self) -> None:
        self.socket = even_socket(self.ip)
        self.port: int = self.socket.getsockname()[1]
        self.queue: deque[Outgoing] = deque()
        self.remote: tuple[str, int] | None = None
        self.payload, self.key_payload = PCMU, 101
        self.silence = encode(np.zeros(FRAME, np.int16))
        self.ssrc = random.getrandbits(32)
        self.sequence, self.timestamp = random.getrandbits(16), random.getrandbits(32)
        self.event_timestamp = 0
        self.arrived: float | None = None

    def attach(self, ip: str, port: int, payload: int = PCMU, key_payload: int = 101) -> None:
        """Where to send from now on, and with which payload types; silence goes out at once."""
        self.payload, self.key_payload = payload, key_payload
        self.silence = encode(np.zeros(FRAME, np.int16), payload)
        self.remote = (ip, port)

    def say(self, sound: Sound, what: str = "speech") -> Said:
        """Queue `sound` behind what is still being said."""
        said = Said(what)
        count = -(-len(sound) // FRAME)
        for at in range(count):
            part = np.zeros(FRAME, np.int16)
            part[: len(sound) - at * FRAME] = sound[at * FRAME : (at + 1) * FRAME]
            spoken = np.flatnonzero(np.abs(part) > 300) if level(part) >= VOICED_DBFS else np.zeros(0, np.intp)
            quiet = FRAME - 1 - int(spoken[-1]) if len(spoken) else FRAME
            self.queue.append(Outgoing(said, encode(part, self.payload), quiet, last=at == count - 1))
        said.done = not count
        self.said.append(said)
        return said

    def press(self, digits: str) -> Said:
        """Queue RFC 4733 keys."""
        said = Said(f"keys {digits}")
        for place, digit in enumerate(digits):
            held = [FRAME * (count + 1) for count in range(KEY_FRAMES)]
            self.queue += [Outgoing(said, digit=digit, held=samples) for samples in held]
            self.queue += [Outgoing(said, digit=digit, held=held[-1], over=True) for _ in range(3)]
            final = place == len(digits) - 1
            pause = [Outgoing(said, self.silence, last=final and count == KEY_PAUSE - 1) for count in range(KEY_PAUSE)]
            self.queue += pause
        said.done = not digits
        self.said.append(said)
        return said

    def hush(self) -> None:
        """Forget what is queued."""
        for item in self.queue:
            item.said.done = True
        self.queue.clear()

    def tick(self) -> None:
        """Send this 20 ms."""
        if self.remote is None:
            return
        item = self.queue.popleft() if self.queue else None
        if item is None or not item.digit:
            datagram = pack(
                self.payload,
                self.sequence,
                self.timestamp,
                self.ssrc,
                item.payload if item else self.silence,
                not self.sent,
            )
        else:
            first = item.held == FRAME
            self.event_timestamp = self.timestamp if first else self.event_timestamp
            event = key_event(item.digit, item.held, item.over)
            datagram = pack(self.key_payload, self.sequence, self.event_timestamp, self.ssrc, event, first)
        try:
            self.socket.sendto(datagram, self.remote)
        except OSError:
            self.unsent += 1
        self.note(item, time.monotonic())
        self.sent += 1
        self.sequence += 1
        self.timestamp += FRAME

    def note(self, item: Outgoing | None, now: float) -> None:
        """Remember when what was spoken or pressed began and ended."""
        if item is None:
            return
        said = item.said
        if item.held == FRAME or item.quiet < FRAME:
            said.started = now if said.started is None else said.started
            said.ended = now - (item.quiet % FRAME) / WIRE_RATE
        said.done = said.done or item.last

    def hear(self) -> None:
        """Take all datagrams that wait on the socket."""
        while True:
            try:
                datagram, extra, _, _ = self.socket.recvmsg(2048, 64)
            except OSError:  # nothing waits, or the port was closed
                return
            packet = self.track.take(datagram, arrival(extra))
            if packet is None:
                continue
            self.arrived = packet.at
            if packet.payload_type == self.payload and loud(packet):
                self.voiced.append(packet.at)

    def close(self) -> None:
        """Nothing more is sent or heard."""
        self.remote = None
        self.socket.close()

    # --- what the times say -----------------------------------------------------------------------------------

    def voiced_at(self, at: float) -> bool:
        """Whether sound was coming in at that time."""
        return any(at - RECENT_S <= each <= at for each in reversed(self.voiced))

    def first_voiced_after(self, at: float) -> float | None:
        """Arrival of the first voiced packet after `at`."""
        return next((each for each in self.voiced if each > at), None)

    def answered_after(self, at: float) -> float | None:
        """When the answer to something that ended at `at` began to come in. Sound that was still coming in then is no
        answer; where it does not stop soon, nobody answered: both talk."""
        if self.voiced_at(at):
            stopped = self.silent_after(at, 2 * RECENT_S)
            if stopped is None or stopped - at > BOTH_TALK_S:
                return None
            at = stopped
        return self.first_voiced_after(at)

    def silent_after(self, at: float, silence: float = 0.3) -> float | None:
        """When the sound that was heard at `at` stopped for at least `silence` seconds: its first silent packet."""
        last = max((each for each in self.voiced if each <= at), default=None)
        for each in [each for each in self.voiced if each > at]:
            if last is not None and each - last > silence:
                break
            last = each
        if last is None:
            return None
        following = next((packet.at for packet in self.track.packets if packet.at > last), None)
        return min(following, last + 2 * TICK) if following else last + TICK


def loud(packet: Packet) -> bool:
    """Whether a packet holds voice rather than silence."""
    sound = decode(packet.payload, packet.payload_type).astype(np.float64)
    return bool(len(sound) and np.dot(sound, sound) / len(sound) >= VOICED_POWER)


def arrival(extra: list[tuple[int, int, bytes]]) -> float:
    """The kernel's time of a datagram on CLOCK_MONOTONIC, or now where it gave none."""
    for layer, kind, data in extra:
        if layer == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= 16:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return time.monotonic() - (time.time() - float(seconds) - float(nanoseconds) / 1e9)
    return time.monotonic()


def even_socket(ip: str) -> socket.socket:
    """A non-blocking UDP socket on a free even port (RFC 3550 section 11). Raises MediaError when there is none."""
    for _ in range(200):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.bind((ip, 0))
        except OSError as why:
            sock.close()
            raise MediaError(f"No RTP port on {ip}: {why.strerror}") from None
        if sock.getsockname()[1] % 2 == 0:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
            return sock
        sock.close()
    raise MediaError(f"No even RTP port on {ip} is free")


class Pacer(threading.Thread):
    """Ticks its legs every 20 ms and hears what comes in between. `worst` is the latest tick so far, in seconds."""

    def __init__(self) -> None:
        super().__init__(name="lab pacer", daemon=True)
        self.legs: list[Leg] = []
        self.over = threading.Event()
        self.worst = 0.0

    def add(self, leg: Leg) -> Leg:
        """Serve `leg` from the next tick on."""
        self.legs = [*self.legs, leg]
        return leg

    def remove(self, leg: Leg) -> None:
        """Close `leg` and serve it no more."""
        self.legs = [each for each in self.legs if each is not leg]
        leg.close()

    def run(self) -> None:
        due = time.monotonic() + TICK
        poll = select.epoll()
        known: dict[int, Leg] = {}
        served: list[Leg] = []
        while not self.over.is_set():
            if self.legs is not served:
                served = self.legs
                known = {leg.socket.fileno(): leg for leg in served if leg.socket.fileno() >= 0}
                poll.close()
                poll = select.epoll()
                for number in known:
                    poll.register(number, select.EPOLLIN)
            while (wait := due - time.monotonic()) > 0:
                for number, _ in poll.poll(wait, 64):
                    if number in known:
                        known[number].hear()
            self.worst = max(self.worst, -wait)
            for leg in known.values():
                leg.tick()
            due += TICK
            if time.monotonic() - due > 1.0:
                due = time.monotonic()  # the machine slept: no burst of a second's packets
        poll.close()

    def stop(self) -> None:
        """End the thread; legs stay as they are."""
        self.over.set()
        self.join(1.0)
