"""The reference engine: the surface of `native.Engine` in plain Python and numpy, slow and easy to follow.

One ordinary thread, real UDP sockets; the numpy twins where the fast engine has kernels. What both do is what the tests
of `tests/native` say; they run over both.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native.engine import EngineError
from native.slow import sockets
from native.slow.codecs import DEFAULT, agreed_codecs
from native.slow.events import (
    KEY,
    PROMPT_DONE,
    PROMPT_MUTED,
    PROMPT_STARTED,
    RING_FULL,
    RTP_BACK,
    RTP_LATCHED,
    RTP_LOST,
    SPEECH_ENDED,
    SPEECH_STARTED,
    Event,
)
from native.slow.keys import DIGITS, QUEUED
from native.slow.leg import Leg
from native.slow.loop import COMMANDS, Loop
from native.slow.playout import LISTED, Manner, Prompt, Turn
from native.slow.room import Rooms
from native.slow.security import PROFILES, Secrets
from native.slow.sender import Remote
from native.slow.stats import stats

__all__ = [
    "KEY",
    "PROMPT_DONE",
    "PROMPT_MUTED",
    "PROMPT_STARTED",
    "RING_FULL",
    "RTP_BACK",
    "RTP_LATCHED",
    "RTP_LOST",
    "SPEECH_ENDED",
    "SPEECH_STARTED",
    "Engine",
    "EngineError",
]

MAX_PROMPTS = 16384
Pcm = NDArray[np.int16]


class Engine:
    """RTP legs on a Python thread of their own; the arguments are those of `native.Engine`.

    `threads` and `io` are taken and change nothing: there is one thread, and it uses plain sockets.
    """

    def __init__(
        self, max_legs: int = 256, seed: int = 0, vad_mode: int = 3, threads: int = 1, io: str = "auto"
    ) -> None:
        if not 1 <= max_legs <= 32768 or not 0 <= vad_mode <= 3:
            raise EngineError("max_legs must be 1..32768 and vad_mode 0..3")
        if threads < 1 or io not in ("auto", "plain", "uring"):
            raise EngineError("threads must be 1 or more and io one of auto, plain and uring")
        self.io = ["plain"]
        self._loop = Loop(vad_mode)
        self.fd = self._loop.events.fd
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._thread: threading.Thread | None = None
        self._legs: dict[int, Leg] = {}
        self._slots: list[Leg | None] = [None] * max_legs
        self._generations = [0] * max_legs
        self._prompts: dict[int, Prompt] = {}
        self._rooms = Rooms()
        self._late_read = np.zeros_like(self._loop.late)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    # --- the thread -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self._thread is not None:
            raise EngineError("the engine already runs")
        self._loop.stopping = False
        self._thread = threading.Thread(target=self._loop.run, name="trunkline-reference", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and closes every socket. May be called twice."""
        if self._thread is not None:
            self._loop.stopping = True
            self._thread.join()
            self._thread = None
        for leg in list(self._loop.legs.values()):
            self._loop.close(leg, time.monotonic_ns())
        self._legs.clear()
        self._rooms.clear()

    def _do(self, command: Callable[[int], object]) -> None:
        """Has the loop call `command` with the time."""
        if self._thread is None:
            command(time.monotonic_ns())
        elif len(self._loop.commands) >= COMMANDS:
            raise EngineError("the command ring is full")
        else:
            self._loop.commands.append(command)

    def _leg(self, leg: int) -> Leg:
        if leg not in self._legs:
            raise EngineError(f"leg {leg} is not open")
        return self._legs[leg]

    # --- legs -----------------------------------------------------------------------------------------------------

    def open_leg(self, bind_ip: str, port: int = 0, near: int | None = None) -> tuple[int, int]:
        """Binds the leg's UDP sockets; gives (leg, port). `near` is taken and changes nothing: all legs share a thread.

        Raises OSError where the port is taken and EngineError where no leg is free.
        """
        if near is not None:
            self._leg(near)
        slot = next((k for k, leg in enumerate(self._slots) if leg is None or not leg.open), None)
        if slot is None:
            raise EngineError(f"all {len(self._slots)} legs are in use")
        rtp, rtcp = sockets.pair(bind_ip, port)
        self._generations[slot] = (self._generations[slot] + 1) & 0x7FFF or 1
        handle = slot | self._generations[slot] << 16
        ssrc, stamp = (int(v) for v in self._random.integers(0, 1 << 32, 2))
        start = int(self._random.integers(0, 1 << 16)), stamp, ssrc
        leg = Leg(self._loop, slot, handle, (rtp, rtcp), start)
        self._slots[slot] = self._legs[handle] = leg
        self._do(lambda now: self._loop.open(leg, now))
        return handle, int(rtp.getsockname()[1])

    def close_leg(self, leg: int) -> None:
        """The handle is dead from now on; the sockets close as soon as the loop let go of them."""
        gone = self._leg(leg)
        self.leave(leg)
        self._do(lambda now: self._loop.close(gone, now))
        del self._legs[leg]

    def set_remote(
        self,
        leg: int,
        ip: str,
        port: int,
        payload: int = 0,
        dtmf_payload: int = -1,
        send: bool = True,
        receive: bool = True,
        codecs: Mapping[int, str] | None = None,
        noise_payload: int = -1,
        rtcp_port: int | None = None,
    ) -> None:
        """Where to send (until the first valid packets say better), which payload types mean what, and which to send.

        `codecs`: names by payload type. `noise_payload`: comfort noise (RFC 3389) was agreed on, silence is
        sent as such. `rtcp_port`: None is the port behind, 0 the same port (RFC 5761), -1 no RTCP.
        """
        try:
            table = agreed_codecs(DEFAULT if codecs is None else codecs)
        except LookupError as error:
            raise EngineError(error.args[0]) from None
        types = all(-1 <= p < 128 for p in (dtmf_payload, noise_payload))
        if payload not in table or not types or not 0 < port < 65536 or not -1 <= (rtcp_port or 0) < 65536:
            raise EngineError(f"payload {payload}, DTMF payload {dtmf_payload} or port {port} can't be used")
        try:
            address = sockets.plain(ip), port
        except OSError:
            raise EngineError(f"{ip!r} is not an IP address") from None
        opened = self._leg(leg)
        agreed = Remote(address, payload, dtmf_payload, bool(send), bool(receive), table, noise_payload, rtcp_port)
        opened.agreed = True
        self._do(lambda now: opened.remote(agreed, now))

    def set_keys(self, leg: int, profile: str, own: bytes, peer: bytes) -> None:
        """SRTP from now on; `own`, `peer`: master key and salt, one behind the other (30 octets, GCM 28)."""
        opened = self._leg(leg)
        if profile not in PROFILES or {len(own), len(peer)} != {PROFILES[profile][1]}:
            raise EngineError(f"profile {profile!r} must be one of {', '.join(PROFILES)}, with keys of its length")
        secrets = Secrets(profile, bytes(own), bytes(peer))
        self._do(lambda now: opened.secure(secrets))

    # --- who hears whom -------------------------------------------------------------------------------------------

    def open_room(self) -> int:
        """A room for up to 16 legs; it ends with its last member."""
        return self._rooms.new()

    def join(self, room: int, leg: int, heard_by: Iterable[int] | None = None) -> None:
        """The leg hears all members, and is heard by all, by none ([]: monitor) or by some ([agent]: whisper).

        A member that joins again changes who hears it, and no frame is lost. A leg in another room leaves that one.
        """
        joined, only = self._leg(leg), None if heard_by is None else frozenset(heard_by)
        try:
            entered = self._rooms.enter(room, leg)
        except LookupError as error:
            raise EngineError(error.args[0]) from None
        self._do(lambda now: joined.join(entered, only))

    def leave(self, leg: int) -> None:
        """Nobody hears the leg any more, and it hears nobody."""
        left = self._leg(leg)
        self._do(lambda now: left.leave())
        self._rooms.leave(leg)

    def room_of(self, leg: int) -> int | None:
        """The room the leg is in, or None."""
        self._leg(leg)
        return self._rooms.of.get(leg)

    def bridge(self, a: int, b: int) -> None:
        """A room of two: each hears the other, until `unbridge` or the end of either."""
        if a == b:
            raise EngineError("a leg can't be bridged with itself")
        there = self.room_of(a), self.room_of(b)
        if there[0] is not None and there[0] == there[1]:
            return
        for leg in (a, b):
            self.leave(leg)
        room = self.open_room()
        for leg in (a, b):
            self.join(room, leg)

    def unbridge(self, leg: int) -> None:
        """Everybody leaves the room that the leg is in."""
        room = self.room_of(leg)
        for member in [] if room is None else self._rooms.members(room):
            self.leave(member)

    def echo(self, leg: int, on: bool) -> None:
        """What is heard, after the jitter buffer, is said again at -1 dB."""
        self._set(leg, "echoes", on)

    def _set(self, leg: int, name: str, value: object) -> None:
        opened = self._leg(leg)
        self._do(lambda now: setattr(opened, name, value))

    # --- keys -----------------------------------------------------------------------------------------------------

    def send_dtmf(self, leg: int, digits: str, ms: int = 100) -> None:
        """Queues keys of `ms` (40..8000) each, 60 ms apart, at most 64: RFC 4733 events, or tones where the far end did
        not agree on them."""
        codes = [DIGITS.find(d) for d in digits.upper()]
        if -1 in codes or not 1 <= len(codes) <= QUEUED or not 40 <= ms <= 8000:
            raise EngineError(f"digits must be 1..{QUEUED} of {DIGITS} and ms 40..8000")
        opened = self._leg(leg)
        if not opened.agreed:
            raise EngineError(f"leg {leg} has nobody to send keys to")
        self._do(lambda now: opened.sender.keys.add(codes, ms * 8))

    def inband_dtmf(self, leg: int, on: bool) -> None:
        """Whether keys are looked for in the sound: otherwise it is done where no telephone-event was agreed on."""
        self._set(leg, "hears_keys", bool(on))

    def auto_gain(self, leg: int, on: bool) -> None:
        """Quiet callers are made louder for everybody who hears them."""
        self._set(leg, "gains", bool(on))

    # --- prompts --------------------------------------------------------------------------------------------------

    def load_prompt(self, pcm: Pcm, rate: int = 8000) -> int:
        """Holds int16 samples (at least one; 8 or 16 kHz) without copying them; gives an id any leg may play."""
        samples = np.ascontiguousarray(pcm, dtype=np.int16).reshape(-1)
        if len(samples) == 0 or rate not in (8000, 16000):
            raise EngineError("a prompt needs at least one sample, at 8000 or 16000 Hz")
        self._prompts = {k: p for k, p in self._prompts.items() if not p.gone}
        number = next((k for k in range(MAX_PROMPTS) if k not in self._prompts), None)
        if number is None:
            raise EngineError(f"all {MAX_PROMPTS} prompts are in use")
        self._prompts[number] = Prompt(samples, rate)
        return number

    def _prompt(self, number: int) -> Prompt:
        prompt = self._prompts.get(number)
        if prompt is None or prompt.freed:
            raise EngineError(f"prompt {number} is not loaded")
        return prompt

    def free_prompt(self, prompt: int) -> None:
        """The id is dead from now on; legs that play it still do to the end."""
        held = self._prompt(prompt)
        held.freed = True
        self._do(lambda now: setattr(held, "doomed", True))

    def play(
        self,
        leg: int,
        prompts: Iterable[int],
        token: int,
        loop: bool = False,
        barge_in: bool = False,
        keys_stop: bool = False,
        append: bool = False,
        over: bool = False,
    ) -> None:
        """Plays prompts (1..64 ids) one after the other in place of what plays, or after it.

        Gives PROMPT_STARTED and PROMPT_DONE with `token`. `loop`: from the start again, until something is appended.
        `over`: mixed over what the leg hears of its room, instead of in its place.
        """
        playing, ids = self._leg(leg), list(prompts)
        if not 1 <= len(ids) <= LISTED:
            raise EngineError(f"1..{LISTED} prompts can be played at once, not {len(ids)}")
        turn = Turn(token, [self._prompt(k) for k in ids], Manner(loop, barge_in, keys_stop, over))
        self._do(lambda now: playing.play(turn, append, now))

    def resume(self, leg: int) -> None:
        """A prompt muted by speech goes on where it was muted."""
        opened = self._leg(leg)
        self._do(opened.resume)

    def stop_play(self, leg: int) -> None:
        opened = self._leg(leg)
        self._do(opened.stop)

    # --- audio ----------------------------------------------------------------------------------------------------

    def listen(self, leg: int, on: bool) -> None:
        """Arms the gate: from the next speech on, 400 ms before it and every frame after it can be read."""
        opened = self._leg(leg)
        opened.gate.ring.drop()
        self._do(lambda now: opened.listen(bool(on)))

    def read(self, leg: int, out: Pcm) -> int:
        """Copies 16 kHz samples into `out`; gives how many."""
        return _copy(self._leg(leg).gate.ring.take(len(out)), out)

    def write(self, leg: int, pcm: Pcm) -> int:
        """Live audio, 8 kHz, heard where no prompt plays and nobody else is in the room; gives how much fitted."""
        return self._leg(leg).down.fill(pcm)

    def tap(self, leg: int, on: bool, rate: int = 8000) -> None:
        """Recording of what the leg says (left) and hears (right), 20 ms a tick, pairs at 8000 or 16000 Hz."""
        opened = self._leg(leg)
        if rate not in (8000, 16000):
            raise EngineError("a tap has 8000 or 16000 Hz")
        self._do(lambda now: opened.record(bool(on), rate))

    def mask(self, leg: int, on: bool) -> None:
        """While on, the tap is silent and keys are marked."""
        opened = self._leg(leg)
        self._do(lambda now: setattr(opened.tap, "masked", bool(on)))

    def read_tap(self, leg: int, out: Pcm) -> int:
        """Copies pairs into `out` (n, 2); gives how many."""
        opened = self._leg(leg)
        if out.ndim != 2 or out.shape[1] != 2:
            raise EngineError("the tap is read into an array of shape (n, 2)")
        return _copy(opened.tap.ring.take(len(out)), out)

    # --- what happened --------------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """All events that wait, as (kind, leg, at_ns, a, b); empties `fd`."""
        return self._loop.events.drain()

    def stats(self, leg: int) -> dict[str, Any]:
        """Counters of one leg."""
        return stats(self._leg(leg))

    def lateness(self) -> NDArray[np.int64]:
        """Packets sent by lateness in 100 us buckets since the last call; the last bucket is 50 ms or more."""
        now = self._loop.late.copy()
        out, self._late_read = now - self._late_read, now
        return out

    def counters(self) -> dict[str, Any]:
        """Totals of the engine."""
        t = self._loop
        return {
            "ticks": t.ticks,
            "overruns": t.overruns,
            "skipped": t.skipped,
            "cpu_ns": t.cpu_ns,
            "realtime": False,
            "garbage": t.garbage,
            "ring_full": t.rings_full + t.events.times_full,
            "events_refused": t.events.refused,
            "legs": len(self._legs),
        }


def _copy(found: Pcm, out: Pcm) -> int:
    out[: len(found)] = found
    return len(found)
