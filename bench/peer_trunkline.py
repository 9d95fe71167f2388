"""Trunkline's engine as the process under test: legs in one of the modes below, what they hear told at the end.

Started by the other programs. Lines go both ways, JSON out: ports first; "go" starts the engine, "mark" begins the time
that is measured, "stop" ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import native
from bench.generate import codecs, packets, speech
from gateway import __version__
from gateway.media.recorder import Recorder, Recording

IP = "127.0.0.1"
DRAIN_S = 2.0
"""Each leg's rings are read so often; they hold 8 s."""
ROOM = 8
ECHO_DB = -1.0
PROMPTS = range(100, 104)
"""Loops played as prompts: no stream carries them, or a caller's speech would be the prompt's own echo. In `heard` loop
number n is source -1 - n."""

Heard = list[list[tuple[int, float]]]
"""For each leg the sources it should be heard to say: a stream's number and dB."""


class Missing(Exception):
    """This engine cannot do what was asked."""


def need(engine: Any, *names: str) -> None:
    """Raises Missing where the engine has no such function."""
    lacking = [name for name in names if not hasattr(engine, name)]
    if lacking:
        raise Missing(f"this engine has no {', '.join(lacking)}()")


def echo(engine: Any, legs: list[int]) -> Heard:
    """What is heard is said again. An engine without echo() bridges each leg with its neighbour."""
    if not hasattr(engine, "echo"):
        return bridge(engine, legs)
    for leg in legs:
        engine.echo(leg, True)
    return [[(k, ECHO_DB)] for k in range(len(legs))]


def playout(engine: Any, legs: list[int]) -> Heard:
    """A prompt each, over and over, four different ones; speech does not stop it."""
    prompts = [engine.load_prompt(speech.loop_of(number).pcm) for number in PROMPTS]
    for k, leg in enumerate(legs):
        engine.play(leg, [prompts[k % len(prompts)]], k, loop=True)
    return [[(-1 - PROMPTS[k % len(prompts)], 0.0)] for k in range(len(legs))]


def bridge(engine: Any, legs: list[int]) -> Heard:
    """Legs 0 and 1, 2 and 3, ... hear each other; an odd one is left alone."""
    for k in range(0, len(legs) - 1, 2):
        engine.bridge(legs[k], legs[k + 1])
    paired = len(legs) // 2 * 2
    return [[(k ^ 1, 0.0)] if k < paired else [] for k in range(len(legs))]


def conference(engine: Any, legs: list[int]) -> Heard:
    """Rooms of eight; everybody hears the others."""
    need(engine, "open_room", "join")
    heard: Heard = []
    for first in range(0, len(legs), ROOM):
        members = range(first, min(first + ROOM, len(legs)))
        room = engine.open_room()
        for k in members:
            engine.join(room, legs[k])
        heard += [[(other, 0.0) for other in members if other != k] for k in members]
    return heard


def recording(engine: Any, legs: list[int]) -> Heard:
    """Echo, with every leg's tap written to a file of its own."""
    for leg in legs:
        engine.tap(leg, True)
    return echo(engine, legs)


def long(engine: Any, legs: list[int]) -> Heard:
    """The first half in pairs, the rest echoes that are recorded."""
    half = len(legs) // 2
    return bridge(engine, legs[:half]) + [[(k + half, db) for k, db in row] for row in recording(engine, legs[half:])]


MODES: dict[str, Callable[[Any, list[int]], Heard]] = {
    "echo": echo,
    "playout": playout,
    "bridge": bridge,
    "conference": conference,
    "recording": recording,
    "srtp": echo,
    "long": long,
}
TOGETHER = {"bridge": 2, "conference": ROOM, "long": 2}
"""So many legs in a row belong to one call and share a thread."""
RECORDED = {"recording": 0.0, "long": 0.5}
"""From which part of the legs on they are recorded."""


class Busy(threading.Thread):
    """A Python thread that never rests; `seconds` is the CPU time it had."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ending = False
        self.seconds = 0.0

    def run(self) -> None:
        while not self.ending:
            sum(range(5000))
            self.seconds = time.thread_time()


class Gateway:
    """The engine, its legs, and all that was heard."""

    def __init__(self, options: argparse.Namespace) -> None:
        asked = {"threads": options.threads, "io": options.io}
        given = {name: value for name, value in asked.items() if value}
        try:
            self.engine: Any = native.Engine(max_legs=options.streams + options.extra, **given)
        except TypeError:
            raise Missing(f"this engine knows no {' and no '.join(given)}") from None
        self.legs: list[int] = []
        self.ports: list[int] = []
        self.digits: dict[int, str] = {}
        self.starts: dict[int, list[int]] = {}
        self.full = 0
        self._number: dict[int, int] = {}
        self._next = 0
        self._drained = 0.0
        self._up = np.zeros(1 << 17, np.int16)
        self._taps = np.zeros((1 << 17, 2), np.int16)
        self._recordings: dict[int, Recording] = {}
        for k in range(options.streams + options.extra):
            apart = k % TOGETHER.get(options.mode, 1)
            leg, port = self.engine.open_leg(
                IP, **({"near": self.legs[k - apart]} if apart and options.threads > 1 else {})
            )
            self._number[leg] = k
            self.legs.append(leg)
            self.ports.append(port)
            self.remote(leg, options.to[k % len(options.to)], options)
        self.extra, self.extra_ports = self.legs[options.streams :], self.ports[options.streams :]
        del self.legs[options.streams :], self.ports[options.streams :]
        if options.srtp:
            need(self.engine, "set_keys")
            keys = packets.keys_of(options.srtp)
            for leg in self.legs:
                self.engine.set_keys(leg, keys.profile, keys.heard, keys.sent)
        self.heard = MODES[options.mode](self.engine, self.legs)
        for leg in self.legs:
            self.engine.listen(leg, True)
        if options.mode in RECORDED:
            self.recorder = Recorder()
            self._scratch = tempfile.TemporaryDirectory(prefix="trunkline-bench-")
            folder = options.folder or Path(self._scratch.name)
            first = int(RECORDED[options.mode] * options.streams)
            self._recordings = {k: self.recorder.open(folder / f"{k}.wav") for k in range(first, options.streams)}

    def remote(self, leg: int, port: int, options: argparse.Namespace) -> None:
        """Where to send: a generator's one port."""
        payload = codecs.PAYLOADS[options.codec]
        events = -1 if options.dtmf == "inband" else speech.EVENT_PAYLOAD
        more = {"rtcp_port": -1} if hasattr(self.engine, "echo") else {}
        if options.codec not in ("PCMU", "PCMA"):
            more["codecs"] = {payload: options.codec}
        try:
            self.engine.set_remote(leg, IP, port, payload, events, **more)
        except (TypeError, native.EngineError) as error:
            raise Missing(f"this engine does not take {options.codec}: {error}") from None

    def command(self, name: str, *args: object) -> None:
        """A command that waits while the ring is full."""
        for _ in range(100):
            try:
                getattr(self.engine, name)(*args)
                return
            except native.EngineError:
                time.sleep(0.001)

    def drain(self) -> None:
        """Events, and the rings of as many legs as are due."""
        for kind, leg, at, a, _ in self.engine.events():
            if kind == native.KEY:
                number = self._number[leg]
                self.digits[number] = self.digits.get(number, "") + (a if isinstance(a, str) else chr(a))
            elif kind == native.SPEECH_STARTED:
                self.starts.setdefault(self._number[leg], []).append(int(at))
            elif kind == native.SPEECH_ENDED:
                self.command("listen", leg, True)
            elif kind == native.RING_FULL:
                self.full += 1
        now = time.monotonic()
        count = min(len(self.legs), int((now - self._drained) / DRAIN_S * len(self.legs)) + 1)
        self._drained = now
        for _ in range(count):
            leg = self.legs[self._next]
            self.engine.read(leg, self._up)
            if (file := self._recordings.get(self._next)) and (n := self.engine.read_tap(leg, self._taps)):
                file.add(self._taps[:n].tobytes())
            self._next = (self._next + 1) % len(self.legs)

    def start(self) -> None:
        self.engine.start()
        self._drained = time.monotonic()

    def stop(self) -> dict[str, Any]:
        """What the legs counted; everything is closed."""
        self.drain()
        stats = [self.engine.stats(leg) for leg in self.legs]
        self.extra_stats = [self.engine.stats(leg) for leg in self.extra]
        self.engine.stop()
        if self._recordings:
            for each in self._recordings.values():
                each.close()
            self.recorder.close()
            self._scratch.cleanup()
        totals: dict[str, float] = {}
        for row in stats:
            for name, value in row.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    totals[name] = totals.get(name, 0) + value
        return totals


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def serve(gateway: Gateway, busy: Busy | None) -> None:
    """Lines in, answers out, the engine drained every 20 ms."""
    lines = b""
    before: dict[str, Any] = {}
    running = False
    while True:
        ready, _, _ = select.select([sys.stdin.fileno()], [], [], 0.02)
        if running:
            gateway.drain()
        if not ready:
            continue
        octets = os.read(sys.stdin.fileno(), 4096)
        lines += octets
        while b"\n" in lines:
            line, _, lines = lines.partition(b"\n")
            if line == b"go":
                gateway.start()
                running = True
                if busy:
                    busy.start()
            elif line == b"mark":
                gateway.engine.lateness()
                before = gateway.engine.counters()
                say(busy_s=busy.seconds if busy else 0.0)
            elif line == b"read":
                late = np.asarray(gateway.engine.lateness()).tolist()
                after = gateway.engine.counters()
                moved = {k: after[k] - before.get(k, 0) for k in after if isinstance(after[k], int)}
                say(late=late, counters=moved, busy_s=busy.seconds if busy else 0.0, realtime=after.get("realtime"))
            else:
                octets = b""
        if not octets:
            break
    if busy:
        busy.ending = True
    io = getattr(gateway.engine, "io", ["plain"])
    totals = gateway.stop()
    say(
        digits=gateway.digits,
        starts=gateway.starts,
        totals=totals,
        extra=gateway.extra_stats,
        ring_full=gateway.full,
        io=io,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--to", type=int, nargs="+", required=True, help="ports of generators, for legs in turn")
    parser.add_argument("--extra", type=int, default=0, help="more legs, that no stream is sent to")
    parser.add_argument("--folder", type=Path, help="recordings stay here")
    parser.add_argument("--mode", choices=MODES, default="echo")
    parser.add_argument("--codec", choices=codecs.PAYLOADS, default="PCMU")
    parser.add_argument("--dtmf", default="rfc4733")
    parser.add_argument("--srtp", default="")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--io", default="")
    options = parser.parse_args()
    try:
        gateway = Gateway(options)
    except Missing as error:
        say(missing=str(error))
        return
    say(
        ports=gateway.ports,
        extra=gateway.extra_ports,
        heard=gateway.heard,
        version=f"trunkline {__version__}",
        pids=[os.getpid()],
    )
    serve(gateway, Busy() if options.busy else None)


if __name__ == "__main__":
    main()
