"""Ten minutes of calls whose far ends' clocks are wrong by 200 ppm: memory, delay, clicks.

    python bench/long.py --seconds 600

Four generators, each with its own clock and sound: +200 and -200 ppm, a steady 440 Hz tone and speech. A fast and a
slow far end are bridged, for the tone and for speech; four more legs echo and are recorded. At the end:

memory   RSS of the engine's process by a straight line through the last three quarters of the run: its slope and 95%
         interval, and what the medians of its first and last quarter differ by.
delay    from a word (or tone) being sent to its coming back, every ten seconds for speech: line, largest, smallest.
clicks   in each 10 ms of tone that comes back a sine of 440 Hz is fitted; where what is left over is above -20 dB of
         the tone, something was spliced that is heard. G.711 itself leaves -38 dB. Speech: half-second windows that are
         not like what was sent (correlation below 0.9).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import wave
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from bench.generate import judge, packets, speech, trial

ENDS = ((+1, True), (-1, True), (+1, False), (-1, False))
"""Generators: the sign of the clock's error, and whether it sends a tone."""
LEGS = 8
HERTZ = 440.0
CLICK_DB = -20.0
PIECE = 80  # samples: 10 ms
ALIKE = 0.9
EVERY_S = 10.0  # delay is measured so often
SETTLE_S = 5.0
RSS_EVERY_S = 2.0

Pcm = NDArray[np.int16]


def left_over(pcm: Pcm) -> NDArray[np.float64]:
    """What a fitted sine leaves of each 10 ms, dB of the tone; pieces of silence are -inf below any tone."""
    pieces = pcm[: len(pcm) // PIECE * PIECE].astype(float).reshape(-1, PIECE)
    t = np.arange(PIECE) / speech.RATE
    basis = np.stack([np.sin(2 * np.pi * HERTZ * t), np.cos(2 * np.pi * HERTZ * t), np.ones(PIECE)], axis=1)
    fitted = pieces @ np.linalg.pinv(basis).T @ basis.T
    tone = max(float(np.median((fitted**2).mean(axis=1))), 1e-9)
    return np.asarray(10 * np.log10(np.maximum(((pieces - fitted) ** 2).mean(axis=1), 1e-9) / tone))


def clicks(pcm: Pcm) -> dict[str, Any]:
    """Pieces with a click, of how many, and the worst."""
    level = left_over(pcm)
    if not len(level):
        return {"clicks": None, "n": 0, "worst_db": None, "median_db": None}
    found = int((level > CLICK_DB).sum())
    return {
        "clicks": found,
        "n": len(level),
        "worst_db": round(float(level.max()), 1),
        "median_db": round(float(np.median(level)), 1),
    }


def speech_of(pcm: Pcm, loop: Pcm, at: float, sent: float, stretch: float) -> dict[str, Any]:
    """Half-second windows of speech that came back: how many are like what was sent, and the delay (ms) over time (s).

    `at`: when the first sample came, `sent`: when the first one left (s, monotonic); `stretch`: ticks of the far end's
    clock in one of ours.
    """
    window = speech.RATE // 2
    right = n = 0
    times, delays = [], []
    due = 0.0
    for begin in range(0, len(pcm) - window + 1, window):
        got = pcm[begin : begin + window]
        if not judge.loud(got):
            continue
        since = at + begin / speech.RATE
        lag, _, alike = judge.match(got, loop)
        n += 1
        right += alike >= ALIKE
        if alike >= ALIKE and since - at >= due:
            position = (since - sent) * speech.RATE * stretch
            times.append(since - at)
            delays.append((position - lag) % len(loop) / 8.0)
            due = since - at + EVERY_S
    found: dict[str, Any] = {"alike": figures.rate(right, n), "delays_ms": np.round(delays, 2).tolist()}
    if len(delays) >= 3:
        line = figures.slope([t / 60 for t in times], delays)
        found |= {"ms_a_minute": round(line.value, 3), "low": round(line.low, 3), "high": round(line.high, 3)}
        found |= {"shortest_ms": round(min(delays), 1), "longest_ms": round(max(delays), 1)}
    return found


def memory(samples: list[tuple[float, int]]) -> dict[str, Any]:
    """The line through RSS (KB) behind the first quarter."""
    kept = samples[len(samples) // 4 :]
    if len(kept) < 4:
        return {"n": len(kept)}
    line = figures.slope([at / 60 for at, _ in kept], [kb for _, kb in kept])
    part = max(1, len(kept) // 4)
    grown = float(np.median([kb for _, kb in kept[-part:]]) - np.median([kb for _, kb in kept[:part]]))
    return {
        "n": len(kept),
        "kb_a_minute": round(line.value, 2),
        "low": round(line.low, 2),
        "high": round(line.high, 2),
        "grown_kb": grown,
        "rss_kb": kept[-1][1],
    }


def run(seconds: float, ppm: float, folder: Path) -> dict[str, Any]:
    """The calls; files of what came back and the recordings are left in `folder`."""
    with ExitStack() as held:
        ends = [held.enter_context(trial.Program("generator.py")) for _ in ENDS]
        ports = [end.hear()["port"] for end in ends]
        asked = ("--streams", LEGS, "--mode", "long", "--folder", folder, "--to", *ports)
        peer = held.enter_context(trial.Program("peer_trunkline.py", *asked))
        first = peer.hear()
        for k, (end, (sign, tone)) in enumerate(zip(ends, ENDS, strict=True)):
            mine = first["ports"][k :: len(ENDS)]
            order = {"ports": mine, "file": str(folder / f"{k}.npz"), "seconds": seconds, "tone": tone}
            end.tell(json.dumps(order | {"ppm": sign * ppm, "dtmf": "none", "sampled": list(range(len(mine)))}))
            end.hear()
        peer.tell("go")
        for end in ends:
            end.tell("go")
        for end in ends:
            end.hear()
        began = time.monotonic()
        samples = []
        while (since := time.monotonic() - began) < seconds:
            samples.append((since, figures.resident_kb(peer.pid)))
            time.sleep(min(RSS_EVERY_S, max(0.01, seconds - since)))
        told = [end.hear() for end in ends]
        peer.tell("stop")
        last = peer.hear()
    return (
        {
            "version": first["version"],
            "seconds": seconds,
            "ppm": ppm,
            "memory": memory(samples),
            "generators_lost": sum(t["dropped"] + t["refused"] + t["failed"] for t in told),
            "totals": last["totals"],
        }
        | came_back(folder, ppm)
        | {"recordings": recordings(folder, seconds)}
    )


def came_back(folder: Path, ppm: float) -> dict[str, Any]:
    """What each far end heard: the other one over the bridge, itself from the echo."""
    replies = [judge.Replies(folder / f"{k}.npz") for k in range(len(ENDS))]
    loops = packets.loops("none")
    lines: dict[str, Any] = {}
    for k, (_, is_tone) in enumerate(ENDS):
        for stream, path in ((0, "bridged"), (1, "echo")):
            pcm, at = replies[k].audio(stream)
            pcm, at = pcm[int(SETTLE_S * speech.RATE) :], at + int(SETTLE_S * 1e9)
            other = k ^ 1 if path == "bridged" else k
            name = f"{'tone' if is_tone else 'speech'} {path}, sent at {ENDS[other][0] * ppm:+g} ppm"
            order = replies[k].order_of(0, 1e9)
            if is_tone:
                found = clicks(pcm[: -speech.RATE])
            else:
                sent = judge.sent_at(replies[other], stream) / 1e9
                stretch = 1 + ENDS[other][0] * ppm * 1e-6
                found = speech_of(pcm, loops[stream].pcm, at / 1e9, sent, stretch)
            lines[name] = found | {"lost": order["lost"], "disorder": order["disorder"]}
    return {"lines": lines}


def recordings(folder: Path, seconds: float) -> dict[str, Any]:
    """Each recorded call: how long the file is, and the clicks of the tone in what was heard (right side)."""
    found = {}
    for k in range(LEGS // 2, LEGS):
        with wave.open(str(folder / f"{k}.wav")) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
        row: dict[str, Any] = {"seconds": round(len(pcm) / speech.RATE, 2), "asked": seconds}
        if ENDS[k % len(ENDS)][1]:
            loud = [clicks(side[int(SETTLE_S * speech.RATE) : -2 * speech.RATE]) for side in pcm.T.copy()]
            row |= {"clicks": [one["clicks"] for one in loud], "worst_db": [one["worst_db"] for one in loud]}
        found[f"leg {k}"] = row
    return found


def show(found: dict[str, Any]) -> None:
    """All of it."""
    title = f"{found['version']}: {found['seconds']:g} s, far ends' clocks {found['ppm']:g} ppm fast and slow"
    rows = []
    for name, line in found["lines"].items():
        slope = f"{line['ms_a_minute']} [{line['low']}, {line['high']}]" if "ms_a_minute" in line else None
        span = f"{line['shortest_ms']}-{line['longest_ms']}" if "shortest_ms" in line else None
        clicked = f"{line['clicks']} in {line['n']:,}" if "clicks" in line else None
        rows.append([name, line["lost"], clicked, line.get("worst_db"), line.get("alike"), span, slope])
    columns = ("line", "lost", "clicks", "worst dB", "speech alike", "delay ms", "ms a minute")
    figures.table(title, columns, rows)
    rows = [[name, r["seconds"], r.get("clicks"), r.get("worst_db")] for name, r in found["recordings"].items()]
    figures.table("Recordings", ("leg", "seconds", "clicks left, right", "worst dB"), rows)
    held = found["memory"]
    if "kb_a_minute" in held:
        text = (
            f"memory {held['kb_a_minute']} KB a minute [{held['low']}, {held['high']}], grown {held['grown_kb']:g} KB"
        )
        figures.out.print(f"{text}, {held['rss_kb']:,} KB at the end, n = {held['n']}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--ppm", type=float, default=200.0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if not (15 <= options.seconds <= 7200 and 0 <= options.ppm <= 1000):
        parser.error("--seconds is 15 to 7,200 and --ppm 0 to 1,000")
    what = figures.progress(f"{options.seconds:g} s in real time")
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as folder, what:
        try:
            found = run(options.seconds, options.ppm, Path(folder))
        except trial.Refused as error:
            figures.out.print(f"[yellow]not measured:[/] {error}", highlight=False)
            sys.exit(1)
    show(found)
    figures.write_json(options.json, found)


if __name__ == "__main__":
    main()
