"""One run: a process under test, the generator, a bare clock beside them, and what the judge makes of it."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import figures
from bench.generate import judge, packets

ROOT = Path(__file__).resolve().parents[2]
SETTLE_S = 2.0
"""Left out at the start."""
ANSWER_S = 120.0
SAMPLED = 8
DIGITS_NEEDED = 0.999
SPURTS_NEEDED = 0.99
ALIKE_NEEDED = {"opus": 0.85}
LEVEL_NEEDED_DB = {"opus": 1.5}
OTHERWISE = (0.9, 0.5)
"""Correlation and level (dB) of codecs that are not named."""


class Refused(Exception):
    """The program under test cannot be run here; the text says why and what to do."""


class Program:
    """A program of bench/ that talks in lines of JSON. Ended with the `with` block, by its own id."""

    def __init__(self, name: str, *args: object) -> None:
        command = [sys.executable, "-X", "utf8", str(ROOT / "bench" / name), *map(str, args)]
        self.name = name
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.pid = self._process.pid

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def tell(self, line: str) -> None:
        """One line in."""
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next line out. Raises Refused where the program ended or said that something is missing."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(timeout=10)
            raise Refused(f"{self.name} ended with status {self._process.returncode}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise Refused(str(answer["missing"]))
        return answer


@dataclass(frozen=True)
class Plan:
    """`peer`: the program and its arguments; `seconds`: what is measured, after SETTLE_S."""

    peer: tuple[object, ...]
    streams: int
    seconds: float
    codec: str = "PCMU"
    dtmf: str = "rfc4733"
    srtp: str = ""
    tone: bool = False
    ppm: float = 0.0
    clock: bool = True
    events: bool = True
    exact: bool = True
    """A peer that does not keep 50 packets a second may give back 5% fewer."""
    sampled: int = SAMPLED
    phases: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Parts of the measured time (seconds after SETTLE_S) that are looked at one by one."""
    during: Callable[[float, dict[str, Any]], None] | None = field(default=None, compare=False)
    """Called every second of the run with the time since its beginning and what the peer said first."""


def room_for_sockets() -> None:
    """As many open files as the system lets this process and those it starts have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def wait_until(began: int, since: float, plan: Plan, first: dict[str, Any]) -> None:
    """Sleeps until `since` seconds after `began`, a second at a time."""
    while (left := began / 1e9 + since - time.monotonic()) > 0:
        time.sleep(min(1.0, left))
        if plan.during:
            plan.during(time.monotonic() - began / 1e9, first)


def run(plan: Plan) -> dict[str, Any]:
    """Runs it; gives figures. Raises Refused where the peer cannot be run."""
    room_for_sockets()
    whole = SETTLE_S + plan.seconds
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as folder, Program("generator.py") as generator:
        file = Path(folder) / "replies.npz"
        port = generator.hear()["port"]
        name, *args = plan.peer
        with Program(str(name), "--streams", plan.streams, "--to", port, *args) as peer:
            first = peer.hear()
            order = {
                "ports": first["ports"],
                "file": str(file),
                "seconds": whole,
                "codec": plan.codec,
                "dtmf": plan.dtmf,
                "srtp": plan.srtp,
                "tone": plan.tone,
                "ppm": plan.ppm,
                "sampled": spread_out(plan.streams, plan.sampled),
            }
            generator.tell(json.dumps(order))
            generator.hear()
            peer.tell("go")
            generator.tell("go")
            began = generator.hear()["began"]
            measured = measure(plan, began, first, peer, generator)
            ended = generator.hear()
            measured["drops"] = figures.dropped(first["ports"])
            peer.tell("stop")
            last = peer.hear()
        return judged(plan, judge.Replies(file), first, last, measured, ended)


def spread_out(streams: int, count: int) -> list[int]:
    """`count` streams, evenly chosen."""
    return sorted({k * streams // count for k in range(count)}) if streams else []


def measure(plan: Plan, began: int, first: dict[str, Any], peer: Program, generator: Program) -> dict[str, Any]:
    """CPU seconds, steal and the clock's lateness of the measured time."""
    wait_until(began, SETTLE_S, plan, first)
    pids = first["pids"]
    peer.tell("mark")
    mark = peer.hear()
    started = time.monotonic()
    before = (figures.cpu_seconds(pids), figures.cpu_seconds([generator.pid]), figures.stolen_seconds())
    clock = None
    if plan.clock:
        command = [sys.executable, str(ROOT / "bench" / "generate" / "clock.py"), str(plan.seconds - 0.5), "fifo"]
        clock = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_until(began, SETTLE_S + plan.seconds, plan, first)
    after = (figures.cpu_seconds(pids), figures.cpu_seconds([generator.pid]), figures.stolen_seconds())
    took = time.monotonic() - started
    peer.tell("read")
    read = peer.hear()
    bare = json.loads(clock.communicate(timeout=30)[0]) if clock else {}
    cpu, generated, stolen = (b - a for a, b in zip(before, after, strict=True))
    return {
        "seconds": took,
        "cpu_s": cpu - (read.get("busy_s", 0.0) - mark.get("busy_s", 0.0)),
        "generator_cpu_s": generated,
        "stolen_s": stolen,
        "clock": bare,
        "read": read,
    }


def judged(
    plan: Plan,
    replies: judge.Replies,
    first: dict[str, Any],
    last: dict[str, Any],
    measured: dict[str, Any],
    ended: dict[str, Any],
) -> dict[str, Any]:
    """All figures of a run."""
    start, end = SETTLE_S, SETTLE_S + plan.seconds
    ticks = plan.streams * measured["seconds"] * 50
    read = measured["read"]
    heard = [judge.Heard(tuple((int(k), float(db)) for k, db in row)) for row in first["heard"]]
    loops = packets.loops(plan.dtmf, plan.tone)
    streams = list(range(plan.streams))
    rows = [
        row
        for stream in spread_out(plan.streams, plan.sampled)
        for row in judge.audio_of(replies, stream, heard[stream], loops, start, end)
    ]
    counters = read.get("counters", {})
    found: dict[str, Any] = {
        "version": first["version"],
        "codec": plan.codec,
        "streams": plan.streams,
        "seconds": round(measured["seconds"], 2),
        "cpu_s": round(measured["cpu_s"], 4),
        "us_a_stream_tick": round(measured["cpu_s"] * 1e6 / ticks, 3),
        "us_of_the_engines_thread": round(counters["cpu_ns"] / 1e3 / ticks, 3) if "cpu_ns" in counters else None,
        "generator_cpu_s": round(measured["generator_cpu_s"], 3),
        "generator_late": ended["late"],
        "generator_lost": ended["dropped"] + ended["refused"] + ended["failed"],
        "clock_moved_ms": ended["clock_moved_ms"],
        "stolen_s": round(measured["stolen_s"], 3),
        "on_the_way_in_dropped": measured["drops"],
        "wire": figures.spread(replies.lateness(start, end)),
        "bare_clock": measured["clock"].get("late"),
        "real_time": {
            "generator": ended["real_time"],
            "clock": measured["clock"].get("real_time"),
            "peer": read.get("realtime"),
        },
        "own": figures.spread_of(judge.np.asarray(read["late"])) if read.get("late") else None,
        "came_back": replies.order_of(start, end),
        "expected_back": round(plan.streams * plan.seconds * 50),
        "audio": judge.verdict(rows),
        "counters": counters,
        "totals": last.get("totals", {}),
        "ring_full": last.get("ring_full"),
        "io": last.get("io"),
    }
    if plan.events and plan.dtmf != "none" and not plan.tone and ("digits" in last or last.get("forwards")):
        of = {int(k): v for k, v in last["digits"].items()} if "digits" in last else came_through(replies, heard)
        found["digits"] = judge.digits_right(replies.order, loops, of, [k for k in streams if heard[k]])
    if plan.events and "starts" in last and not plan.tone:
        starts = {int(k): v for k, v in last["starts"].items()}
        found["spurts"] = judge.spurts_heard(replies.order, loops, replies.began, starts, streams)
    found["phases"] = {
        name: {
            "late": figures.spread(replies.lateness(start + a, start + b)),
            "order": replies.order_of(start + a, start + b),
            "expected": round(plan.streams * (b - a) * 50),
        }
        for name, (a, b) in plan.phases.items()
    }
    found["extra"] = last.get("extra")
    found["faults"] = faults(found, 0.01 if plan.exact else 0.05)
    return found


def came_through(replies: judge.Replies, heard: list[judge.Heard]) -> dict[int, str]:
    """Keys on the wire, by the stream that sent them."""
    keys = replies.keys()
    return {row.sources[0][0]: keys.get(k, "") for k, row in enumerate(heard) if row.sources}


def faults(found: dict[str, Any], missing: float = 0.05) -> list[str]:
    """Why the cost of this run is no figure; empty where it is one."""
    wrong = []
    codec = found.get("codec", "")
    alike, level = ALIKE_NEEDED.get(codec, OTHERWISE[0]), LEVEL_NEEDED_DB.get(codec, OTHERWISE[1])
    back, wanted = found["came_back"]["packets"], found["expected_back"]
    if abs(back - wanted) > max(missing * wanted, 2 * found["streams"]):
        wrong.append(f"{back:,} packets came back of {wanted:,}")
    for name, needed in (("digits", DIGITS_NEEDED), ("spurts", SPURTS_NEEDED)):
        seen = found.get(name)
        if seen and seen["right"] < needed * seen["n"]:
            wrong.append(f"{name}: {seen['right']:,} of {seen['n']:,}")
    audio = found["audio"]
    if audio["n"] == 0:
        wrong.append("no audio to compare")
    elif audio["alike"] < alike or abs(audio["gain_off_db"]) > level:
        wrong.append(f"the audio is not the one expected: correlation {audio['alike']}, {audio['gain_off_db']} dB off")
    return wrong
