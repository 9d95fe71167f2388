"""A typed asyncio handle on the media engine. All of it is called from the event loop's thread and never blocks."""

from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import random
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import SPEECH_RATE, WIRE_RATE
from gateway.core.errors import MediaError, ModelMissing, PortBusy, nearest
from gateway.media.events import MADE, MediaEvent, PromptDone, RingFull
from gateway.media.recorder import Recorder
from gateway.media.recording_tap import TapRecording

log = logging.getLogger(__name__)

Pcm = NDArray[np.int16]

PUMP_S = 0.04
"""How often waiting audio is handed to legs that have an `on_audio`."""

DRAIN_PUMPS = 5
"""Every so many pumps (0.2 s) what was recorded goes to the writer: a kill loses no more than that."""

_UP_SAMPLES = SPEECH_RATE * 5
_TAP_FRAMES = WIRE_RATE * 10


class Clip:
    """A prompt held by the engine, 8 kHz; shared by all legs and freed with its last reference."""

    __slots__ = ("__weakref__", "handle", "samples")

    def __init__(self, handle: int, samples: int) -> None:
        self.handle = handle
        self.samples = samples

    @property
    def seconds(self) -> float:
        return self.samples / WIRE_RATE


def _from(module: str) -> Callable[[int, int], tuple[Any, Any]]:
    def make(max_legs: int, seed: int) -> tuple[Any, Any]:
        try:
            found = importlib.import_module(module)
            return found.Engine(max_legs=max_legs, seed=seed), found
        except (ImportError, AttributeError) as error:
            raise ModelMissing("The media engine is not built.", read=str(error), do="pip install .") from None

    return make


ENGINES: dict[str, Callable[[int, int], tuple[Any, Any]]] = {
    "native": _from("native"),
    "reference": _from("native.reference"),
}
"""An engine and the module that holds its constants and EngineError, by name. The reference engine is the slow one in
Python, for a few calls: what both do alike is trusted."""


class MediaEngine:
    """Starts the engine, opens legs and hands out their events."""

    def __init__(
        self, name: str = "native", *, max_legs: int = 256, seed: int | None = None, recorder: Recorder | None = None
    ) -> None:
        if name not in ENGINES:
            raise MediaError(
                "No such media engine.", read=name, expected=", ".join(ENGINES), near=nearest(name, ENGINES)
            )
        seed = random.SystemRandom().getrandbits(31) if seed is None else seed
        self._engine, constants = ENGINES[name](max_legs, seed)
        self._refusal: type[Exception] = constants.EngineError
        self._made = {getattr(constants, kind): make for kind, make in MADE.items() if hasattr(constants, kind)}
        self._legs: dict[int, Leg] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pumping: asyncio.TimerHandle | None = None
        self._pumps = 0
        self._up = np.zeros(_UP_SAMPLES, np.int16)
        self._tap = np.zeros((_TAP_FRAMES, 2), np.int16)
        self.recorder = recorder or Recorder()

    async def start(self) -> None:
        """Start the engine's thread and listen to its events."""
        self._loop = asyncio.get_running_loop()
        self._engine.start()
        self._loop.add_reader(self._engine.fd, self._dispatch)
        self._pumping = self._loop.call_later(PUMP_S, self._pump)

    async def close(self) -> None:
        """Close every leg, finish recordings, stop the thread."""
        if self._loop is None:
            return
        for leg in list(self._legs.values()):
            leg.close()
        if self._pumping is not None:
            self._pumping.cancel()
        self._loop.remove_reader(self._engine.fd)
        self._engine.stop()
        self._loop = None
        await asyncio.to_thread(self.recorder.close)

    def open_leg(self, bind_ip: str, port_range: tuple[int, int] | None = None) -> Leg:
        """A leg on an even UDP port of `port_range` (first, last), or on any port.

        Raises PortBusy when the whole range is taken, MediaError when there is no free leg or no such address.
        """
        ports = [0]
        if port_range is not None:
            ports = list(range(port_range[0] + port_range[0] % 2, port_range[1] + 1, 2))
            random.shuffle(ports)
        for port in ports:
            try:
                handle, bound = self.do("open_leg", bind_ip, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise MediaError("A leg's port can't be opened.", read=f"{bind_ip}: {error.strerror}") from None
                continue
            leg = self._legs[handle] = Leg(self, handle, bind_ip, bound)
            return leg
        raise PortBusy(
            "No UDP port is free for a leg.",
            read=f"{bind_ip}, ports {port_range[0]}-{port_range[1]}" if port_range else bind_ip,
            do="widen the media port range in gateway.yaml, or end what else uses it",
        )

    def load(self, pcm: Pcm) -> Clip:
        """Give the engine an 8 kHz int16 mono array to play; it is freed when nobody holds the Clip any more."""
        clip = Clip(self.do("load_prompt", np.ascontiguousarray(pcm, np.int16)), len(pcm))
        weakref.finalize(clip, self._free, clip.handle).atexit = False
        return clip

    def counters(self) -> dict[str, int]:
        """The engine's totals: ticks, overruns, garbage packets, full rings."""
        return dict(self._engine.counters())

    def lateness(self) -> NDArray[np.int64]:
        """Sent packets by lateness in steps of 100 us (the last holds all beyond) since the last call."""
        return np.asarray(self._engine.lateness())

    @property
    def legs(self) -> Sequence[Leg]:
        """The open legs."""
        return tuple(self._legs.values())

    def do(self, command: str, *args: object, **options: object) -> Any:
        """Call the engine; its refusal becomes a MediaError."""
        try:
            return getattr(self._engine, command)(*args, **options)
        except self._refusal as error:
            raise MediaError("The media engine refused a command.", read=f"{command}: {error}") from None

    def _free(self, handle: int) -> None:
        if self._loop is not None:
            self.do("free_prompt", handle)

    def _dispatch(self) -> None:
        for kind, handle, at_ns, a, b in self._engine.events():
            leg, make = self._legs.get(handle), self._made.get(kind)
            if leg is not None and make is not None:
                leg.happened(make(at_ns / 1e9, a, b))

    def _pump(self) -> None:
        assert self._loop is not None
        self._pumping = self._loop.call_later(PUMP_S, self._pump)
        self._pumps = (self._pumps + 1) % DRAIN_PUMPS
        for leg in list(self._legs.values()):
            leg.pump(drain=not self._pumps)

    def read_up(self, handle: int) -> bytes:
        """What a leg's up ring holds: 16 kHz int16 bytes."""
        count = int(self._engine.read(handle, self._up))
        return self._up[:count].tobytes()

    def read_tap(self, handle: int) -> bytes:
        """What a leg's recording tap holds: stereo int16 bytes at the recorder's rate."""
        count = int(self._engine.read_tap(handle, self._tap))
        return self._tap[:count].tobytes()

    def forget(self, leg: Leg) -> None:
        """A closed leg's events go nowhere."""
        self._legs.pop(leg.handle, None)


class Leg:
    """One RTP stream in and out. Set `on_event`, and `on_audio` to be handed speech (16 kHz int16 bytes and the
    monotonic time up to which it was heard) as it comes. Every method but close raises MediaError once closed."""

    def __init__(self, engine: MediaEngine, handle: int, ip: str, port: int) -> None:
        self._engine = engine
        self.handle = handle
        self.ip = ip
        self.port = port
        self.on_event: Callable[[MediaEvent], None] = lambda event: None
        self.on_audio: Callable[[bytes, float], None] | None = None
        self._listening = False
        self._playing: dict[int, tuple[Clip, ...]] = {}
        self._recording: TapRecording | None = None
        self.closed = False

    def attach(
        self, ip: str, port: int, payload: int, dtmf_payload: int = -1, *, send: bool = True, receive: bool = True
    ) -> None:
        """Where to send, and what: `payload` 0 PCMU or 8 PCMA, `dtmf_payload` the telephone-event type or -1."""
        self._do("set_remote", ip, port, payload, dtmf_payload, send=send, receive=receive)

    def play(
        self,
        clips: Sequence[Clip],
        *,
        token: int,
        loop: bool = False,
        barge_in: bool = False,
        keys_stop: bool = False,
        append: bool = False,
    ) -> None:
        """Play clips in a row, instead of what plays or after it (`append`). `token` names them in events."""
        self._do(
            "play",
            [clip.handle for clip in clips],
            token,
            loop=loop,
            barge_in=barge_in,
            keys_stop=keys_stop,
            append=append,
        )
        before = self._playing if append else {}
        self._playing = {**before, token: (*before.get(token, ()), *clips)}

    def resume(self) -> None:
        """Go on where speech muted the prompt."""
        self._do("resume")

    def stop(self) -> None:
        """End what plays."""
        self._do("stop_play")

    def listen(self, on: bool) -> None:
        """Arm the gate: from the next speech on (and 400 ms before it) audio comes up until listen is called again."""
        self._do("listen", on)
        self._listening = on

    def read(self) -> bytes:
        """Speech heard since the last read: 16 kHz int16 mono bytes, empty while the caller is silent."""
        self._open()
        return self._engine.read_up(self.handle)

    def write(self, pcm: Pcm) -> int:
        """Live audio to the caller, 8 kHz int16, heard when no prompt plays; gives the samples taken."""
        return int(self._do("write", np.ascontiguousarray(pcm, np.int16)))

    def bridge(self, other: Leg) -> None:
        """Each hears the other; prompts take precedence."""
        other._open()
        self._do("bridge", other.handle)

    def unbridge(self) -> None:
        """Part from the other leg."""
        self._do("unbridge")

    def send_dtmf(self, digits: str, ms: int = 100) -> None:
        """Send keys as RFC 4733 events."""
        self._do("send_dtmf", digits, ms)

    def record(self, path: Path) -> None:
        """Record in stereo to `path`: left what the leg receives, right what it is sent. Raises StoreError."""
        self._open()
        self.stop_recording()
        recorder = self._engine.recorder
        self._recording = TapRecording(
            recorder, path, lambda: self._engine.read_tap(self.handle), lambda: int(self.stats()["tap_refused"])
        )
        self._do("tap", True, *(() if recorder.rate == WIRE_RATE else (recorder.rate,)))

    @property
    def recorded(self) -> bool:
        """Whether a recording runs."""
        return self._recording is not None

    def pause_recording(self) -> None:
        """Silence on both sides of the recording, keys masked, until resume_recording; time goes on."""
        self._do("mask", True)

    def resume_recording(self) -> None:
        self._do("mask", False)

    def blank_recording(self, start_s: float, end_s: float) -> None:
        """Silence a stretch that was recorded already; seconds from the recording's beginning."""
        if self._recording is not None:
            self._recording.blank(start_s, end_s)

    def record_message(self, path: Path) -> None:
        """Write the caller's side from now on to a mono file of its own as well. Raises StoreError, and MediaError
        where nothing is recorded."""
        if self._recording is None:
            raise MediaError("A message needs a recording that it is part of.", read=str(path))
        self._recording.start_message(path)

    def stop_message(self) -> None:
        """Finish the message's file; the recording goes on."""
        if self._recording is not None:
            self._recording.stop_message()

    def stop_recording(self) -> None:
        """Finish the file."""
        if self._recording is not None:
            self._do("tap", False)
            self._recording.close()
            self._recording = None

    def stats(self) -> dict[str, Any]:
        """Packets and octets each way, lost, late, jitter_ms, remote address and more, as the engine counts them."""
        return dict(self._do("stats"))

    def close(self) -> None:
        """Free the port and finish the recording. A second call does nothing."""
        if self.closed:
            return
        self.stop_recording()
        self._do("close_leg")
        self.closed = True
        self._playing.clear()
        self._engine.forget(self)

    def happened(self, event: MediaEvent) -> None:
        """An event of this leg. An error in who listens is logged and does not reach other legs."""
        if isinstance(event, PromptDone):
            self._playing.pop(event.token, None)
        elif isinstance(event, RingFull) and self._recording is not None:
            self._recording.overflowed()
        self._tell(self.on_event, event)

    def pump(self, drain: bool) -> None:
        """Move waiting audio to `on_audio`, and to the recording when it is time to `drain`."""
        if drain and self._recording is not None:
            self._recording.drain()
        if self.on_audio is not None and self._listening:
            pcm = self._engine.read_up(self.handle)
            if pcm:
                self._tell(self.on_audio, pcm, time.monotonic())

    def _tell(self, listener: Callable[..., None], *what: object) -> None:
        try:
            listener(*what)
        except Exception:
            log.exception("What a leg told was not handled", extra={"fields": {"what": type(what[0]).__name__}})

    def _open(self) -> None:
        if self.closed:
            raise MediaError("This leg is closed.", read=f"port {self.port}")

    def _do(self, command: str, *args: object, **options: object) -> Any:
        self._open()
        return self._engine.do(command, self.handle, *args, **options)
