"""100,000 packets a second to one port, garbage and then strangers' RTP: what the other legs notice of it.

    python bench/flood.py --streams 50 --rate 100000 --seconds 10

Fifty legs echo as in bench/media.py; one more leg is open, and its port is flooded by a process of its own. Four times
of `--seconds` are told apart: before, garbage (random octets, cut and oversized RTP, wrong versions), strangers (valid
RTP of other sources, other SSRCs), after. Packets lost and lateness on the wire are those of the fifty.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from bench.generate import trial, wire

PHASES = ("before", "garbage", "strangers", "after")
BATCH = 1000
SOCKETS = 16
LONGEST = 1400


def garbage(rng: np.random.Generator) -> bytes:
    """Random octets of any length, half of them behind the beginning of an RTP header."""
    data = rng.bytes(int(rng.integers(0, LONGEST)))
    return bytes([int(rng.choice([0x80, 0x8F, 0x90, 0xB0]))]) + data if rng.random() < 0.5 else data


def stranger(rng: np.random.Generator, number: int) -> bytes:
    """A valid packet of PCMU whose SSRC is one of sixteen."""
    head = bytes([0x80, 0]) + (number & 0xFFFF).to_bytes(2, "big") + (number * 160 & 0xFFFFFFFF).to_bytes(4, "big")
    return head + (0xBAD00 + number % SOCKETS).to_bytes(4, "big") + rng.bytes(160)


def flood(port: int, kind: str, begin: int, end: int, rate: int) -> int:
    """Sends from `begin` to `end` (ns, monotonic), of `rate` a second what the machine gives; how many that was."""
    rng = np.random.default_rng(7)
    packets = [garbage(rng) if kind == "garbage" else stranger(rng, k) for k in range(BATCH)]
    held = np.frombuffer(b"".join(packets), np.uint8).copy()
    socks = [wire.bound() for _ in range(SOCKETS)]
    senders = [wire.Sender(sock, [("127.0.0.1", port)] * BATCH) for sock in socks]
    sizes = np.array([len(p) for p in packets])
    for sender in senders:
        sender.pieces["at"] = held.ctypes.data + np.concatenate([[0], np.cumsum(sizes)[:-1]])
        sender.pieces["size"] = sizes
    timer = wire.Timer()
    timer.until(begin)
    sent = turn = at = 0
    while (now := time.monotonic_ns()) < end:
        due = min(int((now - begin) * rate / 1e9) - sent, BATCH - at, 200)
        if due <= 0:
            timer.until(now + 500_000)
            continue
        senders[turn].send(at, at + due)
        sent, at = sent + due, (at + due) % BATCH
        turn = (turn + 1) % SOCKETS
        if now - begin > (sent / rate + 0.2) * 1e9:  # the machine gives less: no catching up in bursts
            rate = max(1000, int(sent / (now - begin) * 1e9))
    for sock in socks:
        sock.close()
    return sent


class Flooder:
    """Starts the flooding process when a run has begun; `counts` are the packets it sent."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def during(self, since: float, first: dict[str, Any]) -> None:
        """Called every second of the run."""
        if self._process:
            return
        self.port = int(first["extra"][0])
        began = time.monotonic_ns() - int(since * 1e9) + int((trial.SETTLE_S + self._options.seconds) * 1e9)
        asked = [
            "--flood",
            self.port,
            "--begin",
            began,
            "--rate",
            self._options.rate,
            "--seconds",
            self._options.seconds,
        ]
        command = [sys.executable, __file__, *map(str, asked)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def counts(self) -> dict[str, int]:
        """Packets sent by kind; waits for the process."""
        if not self._process:
            return {}
        said, _ = self._process.communicate(timeout=60)
        return dict(json.loads(said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of the four times")
    parser.add_argument("--rate", type=int, default=100_000, help="packets a second")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--flood", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (1 <= options.seconds <= 120 and 100 <= options.rate <= 1_000_000 and 2 <= options.streams <= 2000):
        parser.error("--seconds is 1 to 120, --rate 100 to 1,000,000, --streams 2 to 2,000")
    span = int(options.seconds * 1e9)
    if options.flood:
        first = flood(options.flood, "garbage", options.begin, options.begin + span, options.rate)
        again = flood(options.flood, "strangers", options.begin + span, options.begin + 2 * span, options.rate)
        print(json.dumps({"garbage": first, "strangers": again}), flush=True)
        return
    flooder = Flooder(options)
    parts = {name: (k * options.seconds, (k + 1) * options.seconds) for k, name in enumerate(PHASES)}
    peer = ("peer_trunkline.py", "--mode", "echo", "--extra", 1)
    plan = trial.Plan(peer, options.streams, 4 * options.seconds, clock=False, phases=parts, during=flooder.during)
    with figures.progress(f"{options.streams} legs, one flooded, {plan.seconds:g} s"):
        found = trial.run(plan)
    counts = flooder.counts()
    rows: list[list[object]] = []
    for name, phase in found["phases"].items():
        late, order = phase["late"], phase["order"]
        rate = round(counts.get(name, 0) / options.seconds)
        rows.append(
            [name, rate, order["packets"], phase["expected"], order["lost"], *(late[s] for s in figures.SHARES)]
        )
    columns = ("time", "flood, packets/s", "back", "expected", "lost", *(f"late {s} ms" for s in figures.SHARES))
    figures.table(f"{options.streams} legs echo while another leg's port is flooded: {found['version']}", columns, rows)
    victim = (found["extra"] or [{}])[0]
    shown = ", ".join(f"{k} {victim[k]:,}" for k in ("packets_received", "discarded", "lost") if k in victim)
    garbage_seen = found["counters"].get("garbage", 0)
    figures.out.print(
        f"The flooded leg: {shown}; garbage counted by the engine {garbage_seen:,}; CPU of the engine "
        f"{found['cpu_s']:.2f} s of {found['seconds']:.0f} s; stolen {found['stolen_s']:.2f} s",
        highlight=False,
    )
    for fault in found["faults"]:
        figures.out.print(f"[red]no figure:[/] {fault}", highlight=False)
    figures.write_json(options.json, found | {"sent": counts})
    sys.exit(1 if found["faults"] else 0)


if __name__ == "__main__":
    main()
