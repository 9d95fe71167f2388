"""What a damaged network does to a voice, and what the playout buffer makes of it.

    python bench/impairment.py --files 30

Human speech (Debian's asterisk-core-sounds-en-wav, and ../shared/callers/audio/digits where that is) goes through G.711
and a network made of numbers into the buffer. PESQ (ITU-T P.862, package `pesq`) compares what comes out with what went
in, three times: lost audio concealed, the last frame repeated, silence. The buffer is the same each time: its twin
with another concealment. Delay is that of the first sample of a packet as fast as the fastest; a tick's cost is the CPU
time of one packet put and one frame taken, from C.
"""

from __future__ import annotations

import argparse
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from native.jitter import JitterBuffer, clean_ticks
from native.kernels import downsample, g711_decode, g711_encode

from bench import figures
from bench.engine_sounds import human_speech
from native.twins.conceal import Concealment
from native.twins.jitter import JitterBuffer as Twin

Pcm = NDArray[np.int16]
MS = 1_000_000
DIGITS = Path(__file__).resolve().parents[2] / "shared" / "callers" / "audio" / "digits"


@dataclass(frozen=True)
class Network:
    """What happens to packets: shares of 1, ms. `burst`: mean length of a gap (Gilbert), 1 for random loss."""

    name: str
    loss: float = 0
    burst: float = 1
    jitter: float = 0
    reordered: float = 0
    doubled: float = 0
    ppm: float = 0

    def lost(self, n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which of n packets are lost; in bursts by a chain of two states (Gilbert 1960)."""
        if self.burst <= 1:
            return rng.random(n) < self.loss
        end, begin, bad = 1 / self.burst, self.loss / (1 - self.loss) / self.burst, False
        states = []
        for chance in rng.random(n):
            bad = chance >= end if bad else chance < begin
            states.append(bad)
        return np.array(states)


@dataclass(frozen=True)
class Traffic:
    """Packets as they arrive: ns, ascending; timestamps; samples, a row each."""

    at: NDArray[np.int64]
    stamps: NDArray[np.int64]
    pcm: Pcm


NETWORKS = (
    Network("clean"),
    Network("1% lost", loss=0.01),
    Network("5% lost", loss=0.05),
    Network("10% lost in bursts", loss=0.10, burst=3),
    Network("jitter 60 ms", jitter=60),
    Network("reordered 5%", reordered=0.05),
    Network("doubled 5%", doubled=0.05),
    Network("all of it", loss=0.10, burst=3, jitter=60, reordered=0.05, doubled=0.05),
)


def through(pcm: Pcm, network: Network, rng: np.random.Generator, rate: int = 8000, samples: int = 160) -> Traffic:
    """Sends speech in packets of `samples`. A reordered one is 50 ms late, a double 5 ms behind; jitter is uniform."""
    n = len(pcm) // samples
    number = np.arange(n, dtype=np.int64)
    at = np.round(number * samples / rate * 1e9 * (1 + network.ppm * 1e-6)).astype(np.int64)
    at = at + np.round(rng.random(n) * network.jitter * MS).astype(np.int64)
    at[rng.random(n) < network.reordered] += 50 * MS
    twice = rng.random(n) < network.doubled
    kept = ~network.lost(n, rng)
    kept[0] = True
    number = np.concatenate([number[kept], number[kept & twice]])
    at = np.concatenate([at[kept], at[kept & twice] + 5 * MS])
    order = np.argsort(at, kind="stable")
    rows = pcm[: n * samples].reshape(n, samples)[number[order]]
    return Traffic(at[order], number[order] * samples, np.ascontiguousarray(rows))


class Silence(Concealment):
    """Silence in place of what is lost."""

    def begin(self, past: Pcm) -> None:
        self.lost = 0

    def make(self, n: int) -> Pcm:
        self.lost += n
        return np.zeros(n, np.int16)

    def join(self, pcm: Pcm) -> Pcm:
        return pcm


class Repeated(Silence):
    """The last 20 ms again, at two thirds, at one third."""

    def begin(self, past: Pcm) -> None:
        self.lost, self.frame = 0, past[-self.rate // 50 :].astype(int)

    def make(self, n: int) -> Pcm:
        at = self.lost + np.arange(n)
        self.lost += n
        size = len(self.frame)
        return (self.frame[at % size] * np.maximum(3 - at // size, 0) // 3).astype(np.int16)


def replay_twin(traffic: Traffic, concealment: Concealment, ticks: int, start: int) -> Pcm:
    """What the twin plays with another concealment."""
    twin, out, at = Twin(8000, concealment), [], 0
    for tick in range(ticks):
        now = start + tick * 20 * MS
        while at < len(traffic.at) and traffic.at[at] <= now:
            twin.put(int(traffic.stamps[at]), traffic.pcm[at], False, int(traffic.at[at]))
            at += 1
        out.append(twin.take(False, now))
    return np.concatenate(out)


def voices(files: int, seconds: float, seed: int) -> list[Pcm]:
    """`files` pieces of so many seconds at 8 kHz, half a second of silence about them, as G.711 leaves them."""
    rng = np.random.default_rng(seed)
    found = human_speech()
    for file in sorted(DIGITS.glob("*.wav")):
        with wave.open(str(file)) as sound:
            pcm = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
            found.append(downsample(pcm[: len(pcm) & ~1]) if sound.getframerate() == 16000 else pcm)
    order = rng.permutation(len(found))
    speech, need = np.concatenate([found[k] for k in order]), int(seconds * 50) * 160
    if len(speech) < files * need:
        raise SystemExit(f"the speech found gives {len(speech) // need} pieces of {seconds} s, not {files}")
    quiet = np.zeros(4000, np.int16)
    pieces = [np.concatenate([quiet, speech[k * need : (k + 1) * need], quiet]) for k in range(files)]
    return [g711_decode(g711_encode(piece)) for piece in pieces]


def mean(values: list[float]) -> dict[str, float]:
    """Mean and half of its 95% interval."""
    return {
        "n": len(values),
        "mean": round(float(np.mean(values)), 3),
        "within": round(1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5, 3) if len(values) > 1 else 0.0,
    }


def measure(network: Network, speech: list[Pcm], pesq: Callable[..., float], seed: int) -> dict[str, Any]:
    """PESQ with each concealment, delays, counters and cost of one network."""
    scores: dict[str, list[float]] = {"concealed": [], "repeated": [], "silence": []}
    delays, cost, ticks_all, totals = [], 0, 0, dict[str, int]()
    for k, pcm in enumerate(speech):
        rng = np.random.default_rng([seed, k])
        traffic = through(pcm, network, rng)
        start, ticks = int(rng.integers(0, 20 * MS)), len(pcm) // 160
        buffer = JitterBuffer()
        out, delay, spent = buffer.replay(traffic.at, traffic.stamps, traffic.pcm, ticks, start)
        heard = {"concealed": out}
        if network.loss:
            heard["repeated"] = replay_twin(traffic, Repeated(), ticks, start)
            heard["silence"] = replay_twin(traffic, Silence(), ticks, start)
        for name, sound in heard.items():
            scores[name].append(pesq(8000, pcm, sound, "nb"))
        delays.append(delay[50:])
        cost, ticks_all = cost + spent, ticks_all + ticks
        totals = {name: totals.get(name, 0) + value for name, value in buffer.counters.items()}
    delay = np.concatenate(delays)
    return {
        "network": network.name,
        "pesq": {name: mean(values) for name, values in scores.items() if values},
        "delay_ms": {"mean": round(float(delay.mean()), 1), "max": int(delay.max())},
        "first_s_ms": round(float(np.mean([d[:50].mean() for d in delays])), 1),
        "last_s_ms": round(float(np.mean([d[-50:].mean() for d in delays])), 1),
        "counters": totals,
        "ticks": ticks_all,
        "ns_a_tick": round(cost / ticks_all),
    }


def table(results: list[dict[str, Any]]) -> None:
    columns = ["network", "concealed", "repeated", "silence", "ms mean", "max", "late", "made up", "ns"]
    rows = []
    for result in results:
        scores = [result["pesq"].get(name) for name in ("concealed", "repeated", "silence")]
        counters = result["counters"]
        rows.append(
            [
                result["network"],
                *(f"{s['mean']:.2f} ±{s['within']:.2f}" if s else "" for s in scores),
                f"{result['delay_ms']['mean']:.0f}",
                str(result["delay_ms"]["max"]),
                str(counters["late"]),
                f"{counters['concealed'] / (160 * result['ticks']):.1%}",
                str(result["ns_a_tick"]),
            ]
        )
    figures.table("PESQ (MOS-LQO, ITU-T P.862.1) with 95% intervals, playout delay, cost of a tick", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=30, help="pieces of speech")
    parser.add_argument("--seconds", type=float, default=8, help="length of a piece")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    try:
        from pesq import pesq
    except ModuleNotFoundError:
        raise SystemExit("the package pesq is missing: pip install pesq") from None
    speech = voices(options.files, options.seconds, options.seed)
    with figures.progress("speech through damaged networks"):
        results = [measure(network, speech, pesq, options.seed) for network in NETWORKS]
    table(results)
    ticks = [
        {"rate": rate, "legs": legs, "ns": round(clean_ticks(legs, max(20, 200_000 // legs), rate), 1)}
        for rate in (8000, 16000)
        for legs in (1, 1000)
    ]
    rows = [list(found.values()) for found in ticks]
    figures.table("A tick of a clean stream: one put, one take", ["rate", "legs in turn", "ns"], rows)
    kept = {"files": options.files, "seconds": options.seconds, "networks": results, "ticks": ticks}
    figures.write_json(options.json, kept)


if __name__ == "__main__":
    main()
