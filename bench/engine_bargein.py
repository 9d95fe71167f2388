"""How soon a prompt falls silent when the caller speaks, and how often it does when nobody speaks.

    python bench/engine_bargein.py --trials 1000 --legs 25

On the wire: callers are sockets of a process of its own; a trial is the time from the packet that carries the first
voiced frame of a sentence to the first silent packet. Off the wire, through the same detector: echoes and noises.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import select
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
from native import kernels
from tests.native import lines

SILENT = b"\xff" * 160


class Caller:
    """One far end: silent while the prompt plays, then a sentence, then silent until the prompt goes on."""

    def __init__(self, port: int, seed: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.rng = np.random.default_rng(seed)
        self.to, self.seq, self.ssrc = ("127.0.0.1", port), int(self.rng.integers(60000)), seed
        self.frames: list[bytes] = []
        self.spoke_ns = self.voiced_in = 0
        self.waits: list[float] = []
        self.silent_ns: list[int] = []
        self.missed = 0
        self.rest()

    def rest(self) -> None:
        self.pause, self.frames, self.spoke_ns = int(self.rng.integers(40, 80)), [], 0

    def tick(self, sentences: list[tuple[list[bytes], int]]) -> None:
        data = SILENT
        if self.frames:
            data = self.frames.pop(0)
            self.voiced_in -= 1
        elif self.spoke_ns == 0 and self.pause == 0:
            frames, self.voiced_in = sentences[int(self.rng.integers(len(sentences)))]
            self.frames = frames[1:]
            data = frames[0]
        head = struct.pack("!BBHII", 0x80, 0, self.seq & 0xFFFF, self.seq * 160 & 0xFFFFFFFF, self.ssrc)
        self.sock.sendto(head + data, self.to)
        if data is not SILENT and self.voiced_in == 0 and self.spoke_ns == 0:
            self.spoke_ns = time.monotonic_ns()
        self.seq += 1

    def heard(self, data: bytes, now: int) -> None:
        if data != SILENT:
            if self.spoke_ns == 0 or (self.spoke_ns == -1 and not self.frames):
                self.spoke_ns = 0 if self.spoke_ns == -1 else self.spoke_ns
                self.pause = max(0, self.pause - 1)
            elif self.spoke_ns > 0 and not self.frames and now - self.spoke_ns > 3e9:
                self.missed += 1
                self.rest()
        elif self.spoke_ns > 0:
            self.waits.append((now - self.spoke_ns) / 1e6)
            self.silent_ns.append(now)
            self.rest()
            self.spoke_ns = -1
            self.frames = []


def first_voiced(pcm: np.ndarray) -> int:
    """Index of the first frame the WebRTC VAD (mode 3) calls voiced: within 25 dB of the loudest, five of six.

    It takes consonants for voice too, so this is the earliest moment anybody could ask for.
    """
    import webrtcvad

    vad = webrtcvad.Vad(3)
    padded = np.concatenate([np.zeros(1600, np.int16), pcm])
    frames = padded[: len(padded) // 160 * 160].reshape(-1, 160)
    flags = [vad.is_speech(f.tobytes(), 8000) for f in frames]
    level = (frames.astype(float) ** 2).mean(axis=1)
    for k in range(10, len(frames) - 6):
        if flags[k] and level[k] > level.max() * 10**-2.5 and sum(flags[k : k + 6]) >= 5:
            return k - 10
    return 0


def callers(ports: list[int], trials: int, level: float) -> None:
    """The other process. Prints its ports, then the waits in ms as JSON."""
    sentences = []
    for pcm in human_speech():
        voice = lines.coded(lines.at_level(pcm, level))
        start = first_voiced(voice)
        first = max(0, start - 2)
        frames = [kernels.g711_encode(voice[k * 160 : k * 160 + 160]).tobytes() for k in range(first, first + 20)]
        if start and all(len(f) == 160 for f in frames):
            sentences.append((frames, start - first))
    everyone = [Caller(port, 100 + k) for k, port in enumerate(ports)]
    for caller in everyone:
        print(caller.sock.getsockname()[1], flush=True)
    by_fd = {c.sock.fileno(): c for c in everyone}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    rng = np.random.default_rng(0)
    due = [(time.monotonic() + float(rng.uniform(0, 0.02)), k) for k in range(len(everyone))]
    heapq.heapify(due)
    stop = time.monotonic() + 400
    while sum(len(c.waits) for c in everyone) < trials and time.monotonic() < stop:
        at, k = due[0]
        wait = at - time.monotonic()
        if wait <= 0:
            heapq.heapreplace(due, (at + 0.02, k))
            everyone[k].tick(sentences)
            continue
        for fd, _ in poll.poll(max(0, wait * 1000)):
            data = by_fd[fd].sock.recv(2048)[12:]
            by_fd[fd].heard(data, time.monotonic_ns())
    answer = {
        "waits": [wait for caller in everyone for wait in caller.waits],
        "silent_ns": [caller.silent_ns for caller in everyone],
        "missed": sum(caller.missed for caller in everyone),
    }
    print(json.dumps(answer), flush=True)


def on_the_wire(legs: int, trials: int, level: float) -> dict[str, object]:
    engine = native.Engine(max_legs=legs)
    engine.start()
    opened = [engine.open_leg("127.0.0.1") for _ in range(legs)]
    arguments = [sys.executable, __file__, "--trials", str(trials), "--level", str(level), "--callers"]
    other = subprocess.Popen([*arguments, json.dumps([p for _, p in opened])], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    prompt = engine.load_prompt(prompt_of(human_speech(), 60))
    for leg, _ in opened:
        engine.set_remote(leg, "127.0.0.1", int(other.stdout.readline()))
        engine.play(leg, [prompt], 1, loop=True, barge_in=True)
    busy = [True]

    def work() -> None:
        while busy[0]:
            sum(range(5000))

    thread = threading.Thread(target=work)
    thread.start()
    since = []
    muted: dict[int, list[int]] = {leg: [] for leg, _ in opened}
    while not select.select([other.stdout], [], [], 0.02)[0]:
        for kind, leg, at, _, micro in engine.events():
            if kind == native.PROMPT_MUTED:
                muted[leg].append(at)
            if kind == native.SPEECH_STARTED:
                since.append(micro / 1000)
            if kind == native.SPEECH_ENDED:
                engine.resume(leg)
    answer = json.loads(other.stdout.readline())
    busy[0] = False
    thread.join()
    engine.stop()
    waits = np.array(answer["waits"])
    after = []
    for (leg, _), times in zip(opened, answer["silent_ns"], strict=True):
        known = np.array(muted[leg])
        after += [(t - known[known <= t].max()) / 1e6 for t in times if (known <= t).any()]
    return {
        "n": len(waits),
        "missed": answer["missed"],
        "caller_dbfs": level,
        "voiced_to_silent_ms": {f"p{q:g}": round(float(np.percentile(waits, q)), 1) for q in (50, 90, 95, 99)},
        "max_ms": round(float(waits.max()), 1),
        "share_within_100_ms": round(float((waits <= 100).mean()), 4),
        "detection_to_silent_ms_p50_p99_max": [round(float(np.percentile(after, q)), 1) for q in (50, 99, 100)],
        "first_voiced_step_to_detection_ms_p50_p99": [round(float(np.percentile(since, q)), 1) for q in (50, 99)],
    }


def poisson(count: int, units: float) -> tuple[float, float]:
    """95% interval of a rate by Garwood: count in `units`."""

    def bound(target: float, n: int) -> float:
        low, high = 0.0, 10.0 * (n + 5)
        for _ in range(80):
            mean = (low + high) / 2
            below = sum(math.exp(-mean + k * math.log(mean or 1e-300) - math.lgamma(k + 1)) for k in range(n + 1))
            low, high = (mean, high) if below > target else (low, mean)
        return low

    return (0.0 if count == 0 else round(bound(0.975, count - 1) / units, 3)), round(bound(0.025, count) / units, 3)


def noises(speech: list[np.ndarray], minutes: float) -> dict[str, object]:
    """False stops in ten minutes of each noise: -50, -45, -40, -35 dBFS and steps of 20 dB (babble: -50, -45)."""
    out: dict[str, object] = {}
    rng = np.random.default_rng(5)
    for kind in lines.NOISES:
        levels = (-50, -45) if kind == "babble" else (-50, -45, -40, -35, None)
        seconds = minutes * 60 / len(levels)
        count = 0
        for level in levels:
            pcm = lines.noise(rng, kind, seconds, -35 if level is None else level, speech)
            pcm = lines.steps(rng, pcm) if level is None else pcm
            found, _ = kernels.detect(lines.coded(pcm), np.zeros(len(pcm), np.int16))
            count += int((found[:, 0] == 1).sum())
        out[kind] = {"minutes": minutes, "false_stops": count, "in_10_min_95%": poisson(count, minutes / 10)}
    return out


def echoes(speech: list[np.ndarray]) -> list[dict[str, object]]:
    """Twelve minutes of prompts a delay at -12 dB: stops by echo; callers over it, as loud and 6 dB softer."""
    rows = []
    for delay in (20, 60, 100, 150, 200, 250, 300):
        rng = np.random.default_rng(delay)
        stops = 0
        for _ in range(24):
            played = lines.coded(lines.talk(rng, speech, 30, -20))
            stops += len(kernels.detect(lines.coded(lines.echo(played, -12, delay + rng.uniform(0, 40))), played)[0])
        row: dict[str, object] = {"delay_ms": delay, "minutes": 12, "stops": stops}
        for level in (-20, -26):
            row[f"caller_{level}"] = over_echo(rng, speech, delay, level)
        rows.append(row)
    return rows


def over_echo(rng: np.random.Generator, speech: list[np.ndarray], delay: float, level: float) -> dict[str, object]:
    """From the first voiced frame's end to the frame at whose arrival it was known, ms; callers never known apart."""
    waits = []
    for _ in range(100):
        played = lines.coded(lines.talk(rng, speech, 5, -20))
        voice = lines.coded(lines.at_level(speech[rng.integers(len(speech))], level))
        begin = int(rng.integers(100, 180)) * 160
        heard = lines.echo(played, -12, delay + rng.uniform(0, 40))
        length = min(len(voice), len(heard) - begin)
        heard[begin : begin + length] += voice[:length]
        found, _ = kernels.detect(lines.coded(heard), played)
        waits.append((found[0, 1] - begin) / 8 - first_voiced(voice) * 20 - 20 if len(found) else None)
    known = [wait for wait in waits if wait is not None]
    percentiles = [round(float(np.percentile(known, q)), 1) for q in (50, 95, 99)]
    return {"n": len(waits), "missed": len(waits) - len(known), "p50_p95_p99_ms": percentiles}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--legs", type=int, default=25)
    parser.add_argument("--level", type=float, default=-20)
    parser.add_argument("--minutes", type=float, default=30, help="of each noise")
    parser.add_argument("--callers", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.callers:
        callers(json.loads(options.callers), options.trials, options.level)
        return
    speech = human_speech()
    result = {"wire": on_the_wire(options.legs, options.trials, options.level)}
    result["noise"] = noises(speech, options.minutes)
    result["echo"] = echoes(speech)
    for key, value in result["wire"].items():
        print(f"{key:44} {value}")
    for kind, row in result["noise"].items():
        print(f"{kind:10} {row}")
    for row in result["echo"]:
        print(row)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
