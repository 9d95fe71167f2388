"""Fifty callers at once: how late the gateway's packets are on the wire, and what each thread costs.

    python bench/calls50.py [--calls 50] [--seconds 60]

The gateway runs as a process of its own. All callers listen to prompts (each has them repeated by a key every few
seconds); every five seconds one of them says something. Lateness is measured from outside: the kernel's arrival time of
each packet against its stream's 20 ms grid, whose origin is the stream's earliest packet, so nothing can hide in it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from gateway.lab import stage
from gateway.lab.caller import Callers
from gateway.lab.leg import TICK
from gateway.lab.script import Press, Speak, Step, Wait
from gateway.lab.wire import Track

AUDIO = Path(__file__).parents[1] / "gateway" / "lab" / "audio"
SPEECH = ("en-balance.wav", "en-recipe.wav", "en-parcel.wav")
REPEAT_S = 4.0
SETTLE_S = 5.0
"""Left out at the start, while calls are being set up."""
HERTZ = os.sysconf("SC_CLK_TCK")


def script(caller: int, calls: int, seconds: float) -> list[Step]:
    """One caller's steps: the prompt repeated every four seconds, and its own turns to speak, one caller each 5 s."""
    turns = [at for at in np.arange(SETTLE_S, seconds, 5.0) if int(at // 5) % calls == caller]
    steps: list[Step] = []
    now = 0.0
    while now < seconds:
        turn = next((at for at in turns if now <= at < now + REPEAT_S), None)
        if turn is not None:
            speech = SPEECH[caller % len(SPEECH)]
            steps += [Wait(float(turn - now)), Speak(AUDIO / speech), Wait(1.0)]
            now = float(turn) + 5.0
        else:
            steps += [Wait(REPEAT_S), Press("9")]
            now += REPEAT_S
    return steps


def lateness_ms(track: Track, since: float) -> np.ndarray:
    """Each packet's delay behind its stream's grid, in milliseconds; packets before `since` left out."""
    late: list[np.ndarray] = []
    for ssrc in {packet.ssrc for packet in track.speech}:
        packets = [packet for packet in track.speech if packet.ssrc == ssrc and packet.at >= since]
        if len(packets) < 2:
            continue
        sequence = np.unwrap(np.array([packet.sequence for packet in packets]), period=65536)
        offset = np.array([packet.at for packet in packets]) - TICK * (sequence - sequence[0])
        late.append(1000 * (offset - offset.min()))
    return np.concatenate(late) if late else np.zeros(0)


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one thread so far."""

    process: str
    thread: str
    seconds: float


def family(pid: int) -> list[int]:
    """A process and all below it; threads and processes that end meanwhile are passed over."""
    below: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            below += [int(child) for child in task.read_text().split()]
    return [pid, *(each for child in below for each in family(child))]


def costs(name: str, pid: int, below: bool) -> dict[tuple[int, int], Cost]:
    """CPU time of every thread of a process and, where `below`, of its children."""
    found = {}
    for each in family(pid) if below else [pid]:
        title = name if each == pid else f"{name}: {job(each)}"
        for task in Path(f"/proc/{each}/task").glob("*"):
            try:
                fields = (task / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            thread = "main" if task.name == str(each) else f"thread {int(task.name) - each}"
            found[each, int(task.name)] = Cost(title, thread, (int(fields[11]) + int(fields[12])) / HERTZ)
    return found


def job(pid: int) -> str:
    """What a child process was started for: the last of its command line that is a word."""
    words: list[str] = []
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return next((word[-40:] for word in reversed(words) if word and not word.lstrip("-").isdigit()), "")


async def run(
    gateway: stage.GatewayProcess, calls: int, seconds: float
) -> tuple[np.ndarray, list[tuple[Cost, float]], int]:
    """All calls; gives every packet's lateness, each thread's share of a core, and how many calls were answered."""
    tracks: list[Track] = []

    def now_spent() -> dict[tuple[int, int], Cost]:
        return costs("gateway", gateway.process.pid, True) | costs("callers", os.getpid(), False)

    async with Callers() as callers:

        async def one(number: int) -> bool:
            await asyncio.sleep(number * SETTLE_S / 2 / calls)
            outcome = await callers.call(gateway.uri("1001"), script(number, calls, seconds), seconds=seconds + 30)
            return outcome.answered

        started = time.monotonic()
        running = [asyncio.create_task(one(number)) for number in range(calls)]
        await asyncio.sleep(SETTLE_S)
        tracks = [line.leg.track for line in callers.lines.values()]
        before = now_spent()
        await asyncio.sleep(max(1.0, seconds - SETTLE_S))
        after = now_spent()
        span = time.monotonic() - started - SETTLE_S
        late = np.concatenate([lateness_ms(track, started + SETTLE_S) for track in list(tracks)])
        answered = sum(await asyncio.gather(*running))
    spent = [
        (cost, (cost.seconds - (before[key].seconds if key in before else 0.0)) / span) for key, cost in after.items()
    ]
    return late, sorted(spent, key=lambda item: -item[1]), answered


def show(late: np.ndarray, spent: Sequence[tuple[Cost, float]], answered: int, calls: int) -> None:
    """Both tables."""
    out = Console()
    table = Table(title=f"{answered} of {calls} calls, {len(late):,} packets on the wire: lateness")
    for name in ("p50", "p99", "p99.9", "worst"):
        table.add_column(name)
    table.add_row(*(f"{np.percentile(late, share):.2f} ms" for share in (50, 99, 99.9, 100)))
    out.print(table)
    table = Table(title=f"CPU, percent of a core ({os.cpu_count()} cores)")
    for name in ("process", "thread", "CPU"):
        table.add_column(name)
    for cost, share in spent:
        if share >= 0.002:
            table.add_row(cost.process, cost.thread, f"{share:.1%}")
    out.print(table)


def main() -> None:
    """Run it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--data", type=Path, help="keep the gateway's folder (and its rendered prompts) here")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = chosen.data or Path(scratch)
        with stage.gateway(data, flows=[stage.ROOT / "ivr_flows" / "bank.yaml"]) as gateway:
            show(*asyncio.run(run(gateway, chosen.calls, chosen.seconds)), chosen.calls)


if __name__ == "__main__":
    main()
