"""The engine's echo beside what people use today: rtpengine, pyVoIP, aiortc. Same streams, same input, one run.

    python bench/peers.py --streams 1000 --seconds 20 --rounds 3

Every round measures each once, one after the other, and the cost of each is the median of its rounds; ratios are of
this run. Cost is user and system time of the process under test for a stream and 20 ms, the far ends' counted apart.
Ours: received, decoded, through the jitter buffer, keys and speech detected, said again at -1 dB. rtpengine only
forwards (user space, no kernel module). pyVoIP: its RTPClient with a thread a stream that reads and writes. aiortc: a
PCMU track given back over ICE and DTLS-SRTP, beside the engine's SRTP echo with the same profile. Where packets, keys
or sentences are missing, or the audio that comes back is another, there is no figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from bench.generate import trial

SETTLE_S = 2.0
IDLE_S = 2.0
TRIES = 2
OURS, OURS_SRTP = "trunkline", "trunkline, SRTP"
COMPARED = (
    (OURS, "rtpengine", "of rtpengine's cost", "at most 0.6"),
    ("pyVoIP", OURS, "times the engine's cost", "at least 12"),
    ("aiortc", OURS_SRTP, "times the engine's SRTP cost", "at least 25"),
)
NOT_HERE = {
    "Asterisk": (
        "asterisk",
        "not installed: Debian bookworm has no such package; where apt-cache policy asterisk shows one: "
        "apt-get install asterisk",
    )
}


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One round of one peer. Raises trial.Refused."""
    if name == "aiortc":
        return aiortc(options)
    peers: dict[str, tuple[tuple[object, ...], int]] = {
        OURS: (("peer_trunkline.py", "--mode", "echo"), options.streams),
        OURS_SRTP: (("peer_trunkline.py", "--mode", "srtp", "--srtp", options.profile), options.streams),
        "rtpengine": (("peer_rtpengine.py", *(["--real-time"] if options.real_time else [])), options.streams),
        "pyVoIP": (("peer_pyvoip.py",), options.pyvoip),
    }
    peer, streams = peers[name]
    srtp = options.profile if name == OURS_SRTP else ""
    return trial.run(trial.Plan(peer, streams, options.seconds, srtp=srtp, clock=False, exact=name != "pyVoIP"))


def aiortc(options: argparse.Namespace) -> dict[str, Any]:
    """Its echo and its far ends are both aiortc; the echo alone is counted, idle (connected, no media) before that."""
    asked = ("--streams", options.aiortc, "--profile", options.profile)
    with (
        trial.Program("peer_aiortc.py", "--role", "echo", *asked) as echo,
        trial.Program("peer_aiortc.py", "--role", "feeder", *asked) as feeder,
    ):
        first = echo.hear()
        far = feeder.hear()
        for _ in range(options.aiortc):
            echo.tell(json.dumps(feeder.hear()))
            feeder.tell(json.dumps(echo.hear()))
        connected = feeder.hear()["connected"]
        idle = spent(first["pids"], IDLE_S)
        feeder.tell("go")
        time.sleep(SETTLE_S)
        before = (asked_back(feeder), figures.cpu_seconds(far["pids"]), time.monotonic())
        cpu = spent(first["pids"], options.seconds)
        after = (asked_back(feeder), figures.cpu_seconds(far["pids"]), time.monotonic())
        feeder.tell("stop")
        audio = feeder.hear()["audio"]
    took = after[2] - before[2]
    found = {
        "version": first["version"],
        "streams": options.aiortc,
        "cpu_s": cpu,
        "seconds": took,
        "us_a_stream_tick": cpu * 1e6 / (options.aiortc * took * 50),
        "idle_us_a_stream_tick": idle * 1e6 / (options.aiortc * IDLE_S * 50),
        "generator_cpu_s": after[1] - before[1],
        "came_back": {"packets": after[0] - before[0], "lost": None},
        "expected_back": round(options.aiortc * took * 50),
        "audio": audio,
    }
    wrong = trial.faults(found)
    return found | {"faults": [*wrong, *([] if connected == options.aiortc else [f"{connected} connected"])]}


def asked_back(feeder: trial.Program) -> int:
    """Frames that came back so far."""
    feeder.tell("mark")
    return int(feeder.hear()["back"])


def spent(pids: list[int], seconds: float) -> float:
    """CPU seconds in the next `seconds`."""
    before = figures.cpu_seconds(pids)
    time.sleep(seconds)
    return figures.cpu_seconds(pids) - before


def attempt(name: str, round_: int, run: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any] | None, str]:
    """A round, once more where it had faults. Gives what it found, or why there is nothing."""
    why = ""
    for _ in range(TRIES):
        with figures.progress(f"round {round_}: {name}"):
            try:
                found = run()
            except trial.Refused as error:
                return None, str(error)
        if not found["faults"]:
            return found, ""
        why = "no figure: " + "; ".join(found["faults"])
    return None, why


def row(name: str, rounds: list[dict[str, Any]]) -> list[object]:
    """One line of the table."""
    costs = [found["us_a_stream_tick"] for found in rounds]
    last = rounds[-1]
    back = sum(found["came_back"]["packets"] for found in rounds)
    return [
        last["version"] + (" SRTP" if name == OURS_SRTP else ""),
        last["streams"],
        statistics.median(costs),
        f"{min(costs):.2f}-{max(costs):.2f}",
        back,
        last.get("digits"),
        last.get("spurts"),
        last["audio"]["alike"],
        last["audio"]["gain_off_db"],
        last["audio"]["delay_ms"],
        sum(found["generator_cpu_s"] for found in rounds) / len(rounds),
    ]


COLUMNS = (
    "peer",
    "streams",
    "us",
    "rounds",
    "back",
    "keys",
    "sentences",
    "alike",
    "dB off",
    "delay ms",
    "far ends CPU s",
)


def ratios(held: dict[str, list[dict[str, Any]]]) -> list[list[object]]:
    """What is compared: the ratio of medians, and of each round's pair."""
    rows: list[list[object]] = []
    for above, below, what, wanted in COMPARED:
        a, b = ([found["us_a_stream_tick"] for found in held.get(name, [])] for name in (above, below))
        if a and b:
            pairs = [x / y for x, y in zip(a, b, strict=False)]
            rows.append(
                [
                    f"{above} {what}",
                    statistics.median(a) / statistics.median(b),
                    f"{min(pairs):.2f}-{max(pairs):.2f}",
                    wanted,
                ]
            )
        else:
            rows.append([f"{above} {what}", None, "-", wanted])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000, help="the engine's and rtpengine's")
    parser.add_argument("--pyvoip", type=int, default=20, help="pyVoIP's streams")
    parser.add_argument("--aiortc", type=int, default=20, help="aiortc's streams")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--profile", choices=("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"), default="AES_CM_128_HMAC_SHA1_80"
    )
    parser.add_argument(
        "--real-time", action="store_true", help="rtpengine in the scheduling class that the engine has"
    )
    parser.add_argument("--only", nargs="*", choices=(OURS, OURS_SRTP, "rtpengine", "pyVoIP", "aiortc"))
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if not (1 <= options.rounds <= 20 and 3 <= options.seconds <= 600 and 2 <= options.streams <= 20_000):
        parser.error("--rounds is 1 to 20, --seconds 3 to 600, --streams 2 to 20,000")
    names = options.only or [OURS, "rtpengine", OURS_SRTP, "pyVoIP", "aiortc"]
    held: dict[str, list[dict[str, Any]]] = {}
    refused: dict[str, str] = {}
    for round_ in range(1, options.rounds + 1):
        for name in [name for name in names if name not in refused]:
            found, why = attempt(name, round_, lambda name=name: measured(name, options))
            if found:
                held.setdefault(name, []).append(found)
            else:
                refused[name] = why
    for name, (program, why) in NOT_HERE.items():
        refused[name] = why if shutil.which(program) is None else "installed, but nothing here runs it"
    figures.table(
        f"us of CPU for a stream and 20 ms, {options.seconds:g} s a round",
        COLUMNS,
        [row(n, r) for n, r in held.items()],
    )
    figures.table("Ratios of this run", ("", "ratio", "rounds", "wanted"), ratios(held))
    if "aiortc" in held:
        idle = statistics.median(found["idle_us_a_stream_tick"] for found in held["aiortc"])
        figures.out.print(f"aiortc connected and idle: {idle:.1f} us of the same", highlight=False)
    for name, why in refused.items():
        figures.out.print(f"[yellow]{name}:[/] {why}", highlight=False)
    figures.write_json(options.json, {"rounds": held, "ratios": ratios(held), "not_measured": refused})
    sys.exit(1 if any(name in refused for name in names) else 0)


if __name__ == "__main__":
    main()
