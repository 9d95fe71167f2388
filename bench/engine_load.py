"""Callers listening to prompts, one speaking at a time: how late packets leave, and what it costs.

    python bench/engine_load.py --legs 50 --seconds 60

The callers are a second engine in a process of its own; a Python thread of the gateway's process is kept busy. Lateness
is the engine's own (send time less due time) and, as a check from outside, what the kernel stamps on one leg's packets.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import native
from bench.engine_sounds import human_speech, prompt_of

SO_TIMESTAMPNS = 35


def callers(ports: list[int], seconds: float) -> None:
    """The other process: one leg a caller; every 5 s the next one speaks. Prints its ports first."""
    engine = native.Engine(max_legs=len(ports), seed=2)
    engine.start()
    legs = []
    for port in ports:
        leg, own = engine.open_leg("127.0.0.1")
        engine.set_remote(leg, "127.0.0.1", port)
        legs.append(leg)
        print(own, flush=True)
    speech = [engine.load_prompt(s) for s in human_speech()[:40]]
    for turn in range(int(seconds / 5)):
        engine.play(legs[turn % len(legs)], [speech[turn % len(speech)]], turn)
        time.sleep(5)
    engine.stop()


def spread(histogram: np.ndarray) -> dict[str, float]:
    """n, p50, p99, p99.9 and the largest of lateness in ms (upper edges of 0.1 ms buckets)."""
    total = np.cumsum(histogram)
    at = {q: float(np.searchsorted(total, np.ceil(q * total[-1]))) / 10 + 0.1 for q in (0.5, 0.99, 0.999, 1.0)}
    return {"n": int(total[-1]), "p50_ms": at[0.5], "p99_ms": at[0.99], "p999_ms": at[0.999], "max_ms": at[1.0]}


def outside(sock: socket.socket, until: float, arrivals: list[int]) -> None:
    """Kernel receive times (ns) of one leg's packets."""
    sock.settimeout(1)
    while time.monotonic() < until:
        _, extra, _, _ = sock.recvmsg(2048, 64)
        seconds, nanoseconds = struct.unpack("qq", extra[0][2])
        arrivals.append(seconds * 10**9 + nanoseconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--callers", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.callers:
        callers(json.loads(options.callers), options.seconds)
        return
    engine = native.Engine(max_legs=options.legs + 1)
    engine.start()
    opened = [engine.open_leg("127.0.0.1") for _ in range(options.legs)]
    arguments = [
        sys.executable,
        __file__,
        "--seconds",
        str(options.seconds),
        "--callers",
        json.dumps([p for _, p in opened]),
    ]
    other = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    prompt = engine.load_prompt(prompt_of(human_speech(), 20))
    for (leg, _), line in zip(opened, iter(other.stdout.readline, ""), strict=False):
        engine.set_remote(leg, "127.0.0.1", int(line))
        engine.play(leg, [prompt], 1, loop=True, barge_in=True)
        engine.listen(leg, True)
    watch = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    watch.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    watch.bind(("127.0.0.1", 0))
    extra, _ = engine.open_leg("127.0.0.1")
    engine.set_remote(extra, "127.0.0.1", watch.getsockname()[1])
    end, busy = time.monotonic() + options.seconds - 2, [True]

    def work() -> None:
        while busy[0]:
            sum(range(5000))

    arrivals: list[int] = []
    threads = [threading.Thread(target=work), threading.Thread(target=outside, args=(watch, end, arrivals))]
    for thread in threads:
        thread.start()
    time.sleep(1)
    engine.lateness()
    before, began = engine.counters(), time.monotonic()
    seen = {native.SPEECH_STARTED: 0, native.SPEECH_ENDED: 0, native.RING_FULL: 0}
    out = np.zeros(65536, np.int16)
    while time.monotonic() < end:
        time.sleep(0.05)
        for kind, leg, _, _, _ in engine.events():
            if kind in seen:
                seen[kind] += 1
            if kind == native.SPEECH_ENDED:
                engine.resume(leg)
                engine.listen(leg, True)
        for leg, _ in opened:
            engine.read(leg, out)
    late, took, after = engine.lateness(), time.monotonic() - began, engine.counters()
    busy[0] = False
    for thread in threads:
        thread.join()
    engine.stop()
    other.wait(timeout=30)
    grid = np.array(arrivals, np.float64)
    gaps = grid - np.arange(len(grid)) * 20e6
    gaps -= np.median(gaps)
    result = {
        "legs": options.legs,
        "seconds": round(took, 1),
        "lateness": spread(late),
        "outside": {
            "n": len(grid),
            "p50_ms": round(float(np.percentile(np.abs(gaps), 50)) / 1e6, 3),
            "p99_ms": round(float(np.percentile(np.abs(gaps), 99)) / 1e6, 3),
            "max_ms": round(float(np.abs(gaps).max()) / 1e6, 3),
        },
        "cpu_s": round((after["cpu_ns"] - before["cpu_ns"]) / 1e9, 3),
        "cpu_percent_of_a_core": round((after["cpu_ns"] - before["cpu_ns"]) / took / 1e7, 2),
        "us_a_leg_tick": round((after["cpu_ns"] - before["cpu_ns"]) / 1e3 / max(1, int(late.sum())), 2),
        "overruns": after["overruns"] - before["overruns"],
        "skipped": after["skipped"] - before["skipped"],
        "realtime_class": after["realtime"],
        "speech_started": seen[native.SPEECH_STARTED],
        "speech_ended": seen[native.SPEECH_ENDED],
        "ring_full": seen[native.RING_FULL],
    }
    for key, value in result.items():
        print(f"{key:24} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
