"""A typed asyncio handle on the media engine. All of it is called from the event loop's thread and never blocks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import random
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import SPEECH_RATE, WIRE_RATE
from gateway.core.errors import MediaError, ModelMissing, PortBusy, nearest
from gateway.media.clip import Clip
from gateway.media.events import MADE
from gateway.media.leg import Leg
from gateway.media.recorder import Recorder

Pcm = NDArray[np.int16]

PUMP_S = 0.04
"""How often waiting audio is handed to legs that have an `on_audio`."""

DRAIN_PUMPS = 5
"""Every so many pumps (0.2 s) what was recorded goes to the writer: a kill loses no more than that."""

_UP_SAMPLES = SPEECH_RATE * 5
_TAP_FRAMES = WIRE_RATE * 10


Make = Callable[..., tuple[Any, Any]]


def _from(module: str) -> Make:
    def make(**options: object) -> tuple[Any, Any]:
        try:
            found = importlib.import_module(module)
            return found.Engine(**options), found
        except (ImportError, AttributeError) as error:
            raise ModelMissing("The media engine is not built.", read=str(error), do="pip install .") from None

    return make


ENGINES: dict[str, Make] = {
    "native": _from("native"),
    "reference": _from("native.reference"),
}
"""An engine and the module that holds its constants and EngineError, by name. The reference engine is the slow one in
Python, for a few calls: what both do alike is trusted."""


IO = ("auto", "plain", "uring")
"""How the engine may read and write its sockets."""


class MediaEngine:
    """Starts the engine, opens legs and hands out their events. `threads` carry the legs; `io` is one of IO;
    `auto_gain` says whether legs begin with it."""

    def __init__(
        self,
        name: str = "native",
        *,
        max_legs: int = 256,
        seed: int | None = None,
        recorder: Recorder | None = None,
        threads: int = 1,
        io: str = "auto",
        auto_gain: bool = False,
    ) -> None:
        if name not in ENGINES:
            raise MediaError(
                "No such media engine.", read=name, expected=", ".join(ENGINES), near=nearest(name, ENGINES)
            )
        seed = random.SystemRandom().getrandbits(31) if seed is None else seed
        self._engine, constants = ENGINES[name](max_legs=max_legs, seed=seed, threads=threads, io=io)
        self._auto_gain = auto_gain
        self._refusal: type[Exception] = constants.EngineError
        self._made = {getattr(constants, kind): make for kind, make in MADE.items() if hasattr(constants, kind)}
        self._legs: dict[int, Leg] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pumping: asyncio.TimerHandle | None = None
        self._pumps = 0
        self._ports: dict[tuple[int, int], deque[int]] = {}
        self._up = np.zeros(_UP_SAMPLES, np.int16)
        self._tap = np.zeros((_TAP_FRAMES, 2), np.int16)
        self.recorder = recorder or Recorder()

    async def start(self) -> None:
        """Start the engine's threads and listen to their events. Raises MediaError where `io` can't be had."""
        try:
            self._engine.start()
        except self._refusal as error:
            raise MediaError("The media engine can't start.", read=str(error), do="set io: auto under media:") from None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._engine.fd, self._dispatch)
        self._pumping = self._loop.call_later(PUMP_S, self._pump)

    async def close(self) -> None:
        """Close every leg, finish recordings, stop the thread."""
        if self._loop is None:
            return
        for leg in list(self._legs.values()):
            with contextlib.suppress(MediaError):  # the engine closes what it was too busy to close now
                leg.close()
        if self._pumping is not None:
            self._pumping.cancel()
        self._loop.remove_reader(self._engine.fd)
        self._engine.stop()
        self._loop = None
        await asyncio.to_thread(self.recorder.close)

    def open_leg(self, bind_ip: str, port_range: tuple[int, int] | None = None, *, near: Leg | None = None) -> Leg:
        """A leg on an even UDP port of `port_range` (first, last), or on any port; on the thread of `near`.

        Raises PortBusy when the whole range is taken, MediaError when there is no free leg or no such address.
        """
        ports = self._ports_of(port_range)
        for _ in range(len(ports)):
            port = ports[0]
            ports.rotate(-1)
            try:
                handle, bound = self.do("open_leg", bind_ip, port, near.handle if near else None)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise MediaError("A leg's port can't be opened.", read=f"{bind_ip}: {error.strerror}") from None
                continue
            leg = self._legs[handle] = Leg(self, handle, bind_ip, bound)
            if self._auto_gain:
                leg.auto_gain(True)
            return leg
        raise PortBusy(
            "No UDP port is free for a leg.",
            read=f"{bind_ip}, ports {port_range[0]}-{port_range[1]}" if port_range else bind_ip,
            do="widen the media port range in gateway.yaml, or end what else uses it",
        )

    def _ports_of(self, port_range: tuple[int, int] | None) -> deque[int]:
        """The even ports of a range in an order nobody can guess, the longest unused first (RFC 6056)."""
        if port_range is None:
            return deque((0,))
        if port_range not in self._ports:
            ports = list(range(port_range[0] + port_range[0] % 2, port_range[1] + 1, 2))
            random.shuffle(ports)
            self._ports[port_range] = deque(ports)
        return self._ports[port_range]

    def load(self, pcm: Pcm, rate: int = WIRE_RATE) -> Clip:
        """Have the engine hold an int16 mono array of 8 or 16 kHz. It is shared, so it must not change, and let go when
        nobody holds the Clip any more."""
        clip = Clip(self.do("load_prompt", np.ascontiguousarray(pcm, np.int16), rate), len(pcm), rate)
        weakref.finalize(clip, self._free, clip.handle).atexit = False
        return clip

    @property
    def io(self) -> list[str]:
        """How each thread reads and writes its sockets: plain or uring."""
        return list(self._engine.io)

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
        if not self._pumps:
            self._dispatch()  # ports of closed legs are given back although nothing happens any more

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
