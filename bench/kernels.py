"""Nanoseconds and instructions of every kernel for a 20 ms frame, beside audioop, numpy, soxr, spandsp and others.

    python bench/kernels.py --rounds 9

Two ways, like against like: from C (the engine's kernel called from a C loop, a peer given whole seconds at once, so
that hardly anything of it is the call), and from Python, one 20 ms frame a call. CPU time of this thread; the least of
the rounds, in which the engine's kernel and its peers take turns. A ratio is ours over theirs.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures, kernel_peers
from bench.engine_sounds import human_speech
from bench.kernel_peers import PEERS, Row
from native import resample, timing
from tests.native import lines

SECONDS = 10
SIDES = ("c_ns", "python_ns")
LINES = ("silence", "noise at -55 dBFS", "speech", "speech over a prompt", "a prompt's echo", "silence under a prompt")


def sounds() -> tuple[dict[int, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Talk at 8, 16 and 48 kHz; and the lines of the detectors, each with what is played meanwhile."""
    rng, speech = np.random.default_rng(1), human_speech()
    talk = lines.coded(lines.talk(rng, speech, SECONDS, -20))
    prompt = lines.coded(lines.talk(rng, speech, SECONDS, -20))
    noise = lines.coded(lines.noise(rng, "pink", SECONDS, -55, speech))
    silence = np.zeros(len(talk), np.int16)
    wide = resample.Stream(8000, 16000)(talk)
    heard = [silence, noise, talk, talk, lines.coded(lines.echo(prompt, -12, 100)), silence]
    played = [silence, silence, silence, prompt, prompt, prompt]
    pairs = dict(zip(LINES, zip(heard, played, strict=True), strict=True))
    return {8000: talk, 16000: wide, 48000: resample.Stream(16000, 48000)(wide)}, pairs


# --- measuring ----------------------------------------------------------------------------------------------------


class Instructions:
    """Instructions of this thread in user space, by perf_event_open(2); `why` says what kept it from counting."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        # perf_event_attr: hardware event 1 (instructions), 64 octets long, neither kernel nor hypervisor
        attributes = struct.pack("IIQQQQQIIQ", 0, 64, 1, 0, 0, 0, 1 << 5 | 1 << 6, 0, 0, 0)
        self.fd = libc.syscall(298 if os.uname().machine == "x86_64" else 241, attributes, 0, -1, -1, 0)
        self.why = "" if self.fd >= 0 else self.reason(ctypes.get_errno())

    @staticmethod
    def reason(number: int) -> str:
        paranoid = Path("/proc/sys/kernel/perf_event_paranoid")
        if number in (errno.EACCES, errno.EPERM):
            level = paranoid.read_text().strip() if paranoid.exists() else "?"
            return f"not allowed (perf_event_paranoid is {level})"
        return f"this machine has no counter for it ({os.strerror(number)})"

    def __call__(self) -> int:
        return int(struct.unpack("Q", os.read(self.fd, 8))[0]) if self.fd >= 0 else 0


def timed(call: Callable[[], object], frames: int, seconds: float = 0.01) -> float:
    """CPU nanoseconds a frame of a Python call that does `frames` of them."""
    batch, times, begin = 1 if frames > 1 else 200, 0, time.thread_time_ns()
    while times == 0 or time.thread_time_ns() - begin < seconds * 1e9:
        for _ in range(batch):
            call()
        times += batch
    return (time.thread_time_ns() - begin) / times / frames


def best(measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The least of each over the rounds, taking turns."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: min(values) for name, values in found.items()}


def measured(row: Row, rates: dict[int, np.ndarray], rounds: int) -> dict[str, Any]:
    """From C and from Python, ours and every peer's."""
    pcm = rates[row.rate]
    frames = len(pcm) * 50 // row.rate
    from_c: dict[str, Callable[[], float]] = {"ours": lambda: timing.time_kernel(row.kernel, pcm, 1)}
    from_python: dict[str, Callable[[], float]] = {}
    if row.frame:
        from_python["ours"] = lambda call=row.frame: timed(call, 1)
    for name, peer in row.peers.items():
        if peer.whole:
            from_c[name] = lambda call=peer.whole, n=peer.frames or frames: timed(call, n)
        if peer.frame:
            from_python[name] = lambda call=peer.frame: timed(call, 1)
    return {"c_ns": best(from_c, rounds), "python_ns": best(from_python, rounds)}


def pairs_of(kernels: dict[str, Any]) -> dict[str, Any]:
    """Both ways of a codec together, whoever has both."""
    found = {}
    for codec in ("G.711 mu-law", "G.711 A-law", "G.722", "Opus"):
        ways = [kernels[name] for name in (f"{codec} encode", f"{codec} decode") if name in kernels]
        if len(ways) == 2:
            both = {side: {who: ways[0][side][who] + ways[1][side][who] for who in ways[0][side]} for side in SIDES}
            found[f"{codec} pair"] = both | {"instructions": None}
    return found


def instructions_of(row: Row, rates: dict[int, np.ndarray], counter: Instructions) -> float | None:
    """Of the engine's kernel from C, a frame; setting up is taken off by measuring twice."""
    if counter.why:
        return None
    pcm = rates[row.rate]
    marks = []
    for repeat in (1, 11):
        begin = counter()
        timing.time_kernel(row.kernel, pcm, repeat)
        marks.append(counter() - begin)
    return (marks[1] - marks[0]) / 10 / (len(pcm) * 50 // row.rate)


def detectors(pairs: dict[str, tuple[np.ndarray, np.ndarray]], rounds: int) -> dict[str, dict[str, float]]:
    """What a tick costs on each line: the speech detector, the key detector, the whole G.711 path."""
    found: dict[str, dict[str, float]] = {}
    for line, (heard, played) in pairs.items():
        names = {"speech": "speech detector, prompt playing" if played.any() else "speech detector"}
        names |= {} if played.any() else {"keys": "DTMF detector", "whole path": "the whole path"}
        measures = {
            label: lambda k=kernel, h=heard, p=played: timing.time_kernel(k, h, 2, p) for label, kernel in names.items()
        }
        found[line] = best(measures, rounds)
    return found


# --- what is printed ----------------------------------------------------------------------------------------------


def ratio(found: dict[str, float], peer: str) -> float | None:
    return round(found["ours"] / found[peer], 3) if "ours" in found and peer in found else None


def show(results: dict[str, Any]) -> None:
    for side, title in (("c_ns", "from C: ns for a 20 ms frame"), ("python_ns", "from Python, one frame a call: ns")):
        kernels = {name: found for name, found in results["kernels"].items() if found[side]}
        present = [peer for peer in PEERS if any(peer in found[side] for found in kernels.values())]
        columns = ["kernel", "ours", *(["instructions"] if side == "c_ns" else [])]
        columns += [part for peer in present for part in (peer, "ratio")]
        lines_ = []
        for name, found in kernels.items():
            line: list[object] = [name, whole(found[side].get("ours"))]
            line += [whole(found["instructions"])] if side == "c_ns" else []
            for peer in present:
                line += [whole(found[side].get(peer)), ratio(found[side], peer)]
            lines_.append(line)
        figures.table(title, columns, lines_)
    labels = ("speech", "keys", "whole path")
    figures.table(
        "ns for a 20 ms tick, by what the line carries (whole path: decode, jitter buffer, upsample, VAD, mix, encode)",
        ["line", *labels],
        [[line, *(whole(found.get(label)) for label in labels)] for line, found in results["lines"].items()],
    )
    figures.out.print("instructions:", results["instructions"])
    for name, version in results["peers"].items():
        figures.out.print(f"{name}: {version}", highlight=False)


def whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="turns of which the fastest counts")
    parser.add_argument("--only", default="", help="kernels whose name holds this")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    rates, pairs = sounds()
    counter = Instructions()
    results: dict[str, Any] = {
        "peers": kernel_peers.versions(),
        "instructions": counter.why or "counted",
        "kernels": {},
    }
    with figures.progress("measuring"):
        for row in kernel_peers.rows(rates):
            if options.only.lower() in row.kernel.lower():
                found = measured(row, rates, options.rounds)
                results["kernels"][row.kernel] = found | {"instructions": instructions_of(row, rates, counter)}
        results["kernels"] |= pairs_of(results["kernels"])
        results["lines"] = detectors(pairs, options.rounds) if not options.only else {}
    for found in results["kernels"].values():
        found["ratios"] = {
            side: {peer: ratio(found[side], peer) for peer in found[side] if peer != "ours"} for side in SIDES
        }
    show(results)
    figures.write_json(options.json, results)


if __name__ == "__main__":
    main()
