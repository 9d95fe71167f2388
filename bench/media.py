"""What a stream costs in the engine, how late its packets leave, and whether all that was sent was heard.

    python bench/media.py --streams 1000 --seconds 60 --mode echo --busy

The engine is a process of its own, the far ends another (bench/generator.py): RTP paced evenly over 20 ms, 40% of it
speech, with keys between the sentences. The cost is user and system time of the engine's process (a busy thread's own
taken off) for a stream and 20 ms. Lateness is told three times: by the engine (send less due), on the wire (kernel
receive times against each stream's own grid, origin at its earliest packet), and of a bare clock_nanosleep process of
the same priority beside them. Where keys or sentences were missed, or the audio is another, the cost is no figure.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from bench.generate import codecs, packets, trial

MODES = ("echo", "playout", "bridge", "conference", "recording", "srtp")
MOST_STREAMS, MOST_SECONDS = 20_000, 3600.0


def plan_of(options: argparse.Namespace, mode: str) -> trial.Plan:
    """The engine's arguments and what to send it."""
    srtp = options.profile if mode == "srtp" else ""
    peer: list[object] = ["peer_trunkline.py", "--mode", mode, "--codec", options.codec, "--dtmf", options.dtmf]
    peer += ["--srtp", srtp] if srtp else []
    peer += ["--busy"] if options.busy else []
    peer += ["--threads", options.threads] if options.threads else []
    peer += ["--io", options.io] if options.io else []
    return trial.Plan(tuple(peer), options.streams, options.seconds, codec=options.codec, dtmf=options.dtmf, srtp=srtp)


def cost_row(name: str, found: dict[str, Any]) -> list[object]:
    """One line of the first table; no cost where the run has faults."""
    good = not found["faults"]
    return [
        name,
        found["us_a_stream_tick"] if good else None,
        found["us_of_the_engines_thread"] if good else None,
        found["came_back"]["lost"],
        found["on_the_way_in_dropped"],
        found.get("digits"),
        found.get("spurts"),
        found["audio"]["alike"],
        found["audio"]["gain_off_db"],
        found["audio"]["delay_ms"],
    ]


COST = ("mode", "us", "thread us", "lost", "dropped in", "keys", "sentences", "alike", "dB off", "delay ms")
LATE = ("lateness, ms", "n", *figures.SHARES)


def show(options: argparse.Namespace, results: dict[str, dict[str, Any]], refused: dict[str, str]) -> None:
    """Both tables and what went wrong."""
    title = f"{options.streams:,} streams of {options.codec}, {options.seconds:g} s"
    title += ", a busy Python thread beside" if options.busy else ""
    figures.table(title, COST, [cost_row(mode, found) for mode, found in results.items()])
    rows: dict[str, dict[str, Any]] = {}
    for mode, found in results.items():
        rows[f"{mode}: the engine's own"] = found["own"]
        rows[f"{mode}: on the wire"] = found["wire"]
        rows[f"{mode}: a bare clock beside"] = found["bare_clock"]
        rows[f"{mode}: the generator's sending"] = found["generator_late"]
    figures.table("Lateness", LATE, figures.late_rows(rows))
    for mode, found in results.items():
        figures.out.print(beside(mode, found), highlight=False)
        for fault in found["faults"]:
            figures.out.print(f"[red]{mode}: no figure:[/] {fault}", highlight=False)
    for mode, why in refused.items():
        figures.out.print(f"[yellow]{mode}: not measured:[/] {why}", highlight=False)


def held_to_the_clock(found: dict[str, Any]) -> str:
    """Whether the wire's p99 is within a millisecond of the bare clock's."""
    wire, bare = found["wire"]["p99"], (found["bare_clock"] or {}).get("p99")
    if wire is None or bare is None:
        return "too few packets for a p99"
    return f"p99 {wire:.3f} ms, the bare clock's {bare:.3f} ms and 1: {'within' if wire <= bare + 1 else 'beyond'}"


def beside(mode: str, found: dict[str, Any]) -> str:
    """What else to know of a run, in a sentence."""
    fifo = found["real_time"]
    return (
        f"{mode}: {found['version']}, io {'+'.join(found['io'] or ['?'])}; CPU {found['cpu_s']:.2f} s of "
        f"{found['seconds']:.1f} s, the generator's {found['generator_cpu_s']:.2f} s; stolen by the host "
        f"{found['stolen_s']:.2f} s; real-time class: engine {figures.shown(fifo['peer'])}, clock "
        f"{figures.shown(fifo['clock'])}, generator {figures.shown(fifo['generator'])}; lost by the generator "
        f"{found['generator_lost']}; {held_to_the_clock(found)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--mode", choices=MODES, action="append", help="may be given more than once; default: echo")
    parser.add_argument("--busy", action="store_true", help="a Python thread of the engine's process never rests")
    parser.add_argument("--codec", choices=codecs.PAYLOADS, default="PCMU")
    parser.add_argument("--dtmf", choices=("rfc4733", "inband", "none"), default="rfc4733")
    parser.add_argument("--profile", choices=packets.PROFILES, default="AES_CM_128_HMAC_SHA1_80", help="for srtp")
    parser.add_argument("--threads", type=int, default=0, help="the engine's threads; 0: its default")
    parser.add_argument("--io", choices=("plain", "uring"), default="")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if not (1 <= options.streams <= MOST_STREAMS and 1 <= options.seconds <= MOST_SECONDS):
        parser.error(f"--streams is 1 to {MOST_STREAMS:,} and --seconds 1 to {MOST_SECONDS:g}")
    results: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    for mode in options.mode or ["echo"]:
        with figures.progress(f"{mode}: {options.streams:,} streams, {options.seconds:g} s"):
            try:
                results[mode] = trial.run(plan_of(options, mode))
            except trial.Refused as error:
                refused[mode] = str(error)
    show(options, results, refused)
    figures.write_json(options.json, {"results": results, "not_measured": refused})
    sys.exit(1 if refused or any(found["faults"] for found in results.values()) else 0)


if __name__ == "__main__":
    main()
