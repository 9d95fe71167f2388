"""The far ends of all streams: one process, one socket, RTP paced evenly over 20 ms, replies told apart by their port.

Started by the other programs. One JSON object comes in by standard input (Order's fields), "go" after it; out go its
port, "ready", when it began and what it saw of itself; what came back is written to a file for the judge.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from bench.generate import packets, wire

TICK = 20_000_000
SUB = 1_000_000
PRIORITY = 5  # below the engine's, above what is not real time
HEAD = packets.HEADER + 4  # what is kept of each packet: a telephone event is whole
TAIL_S = 0.5
"""Listens so long after the last packet."""


@dataclass(frozen=True)
class Order:
    """What to send. `ports`: one a stream; `sampled`: streams whose audio is kept; `ppm`: how fast the clocks run."""

    ports: list[int]
    file: str
    seconds: float
    ip: str = "127.0.0.1"
    codec: str = "PCMU"
    dtmf: str = "rfc4733"
    srtp: str = ""
    tone: bool = False
    ppm: float = 0.0
    sampled: list[int] = field(default_factory=list)
    real_time: bool = True

    @property
    def ticks(self) -> int:
        return round(self.seconds * 50)

    @property
    def keys(self) -> packets.Keys | None:
        return packets.keys_of(self.srtp) if self.srtp else None


class Log:
    """Every packet that came back, in the order it came; the audio of sampled streams too."""

    def __init__(self, receiver: wire.Receiver, room: int, sampled: list[int]) -> None:
        self._receiver = receiver
        self.count = self.refused = 0
        self.heads = np.zeros((room, HEAD), np.uint8)
        self.ports = np.zeros(room, np.uint16)
        self.times = np.zeros((room, 2), np.int64)
        self.sizes = np.zeros(room, np.uint16)
        self._sampled = np.zeros(65536, bool)
        self._sampled[sampled] = True
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []

    def take(self) -> None:
        """Reads all that waits."""
        seen = self._receiver
        while n := seen.receive():
            at = self.count
            fit = min(n, len(self.ports) - at)
            self.heads[at : at + fit] = seen.octets[:fit, :HEAD]
            self.ports[at : at + fit] = seen.ports[:fit]
            self.times[at : at + fit] = seen.times[:fit]
            self.sizes[at : at + fit] = seen.sizes[:fit]
            mine = np.flatnonzero(self._sampled[seen.ports[:fit]])
            if len(mine):
                width = int(self.sizes[at + mine].max())
                self._kept.append((at + mine, seen.octets[mine, :width].copy()))
            self.count += fit
            self.refused += n - fit
            if n < wire.BATCH:
                return

    def save(self, file: str, **more: object) -> None:
        """All of it as .npz: `kept` holds rows of the log and `octets` their whole packets, padded."""
        n = self.count
        width = max((octets.shape[1] for _, octets in self._kept), default=0)
        rows = [np.pad(octets, ((0, 0), (0, width - octets.shape[1]))) for _, octets in self._kept]
        np.savez(
            file,
            heads=self.heads[:n],
            ports=self.ports[:n],
            times=self.times[:n, 0] * 1_000_000_000 + self.times[:n, 1],
            sizes=self.sizes[:n],
            kept=np.concatenate([at for at, _ in self._kept]) if rows else np.zeros(0, np.int64),
            octets=np.concatenate(rows) if rows else np.zeros((0, 0), np.uint8),
            **more,
        )


def clocks_apart() -> int:
    """CLOCK_REALTIME less CLOCK_MONOTONIC, ns: kernel receive times are of the first, all else of the second."""
    return min((time.time_ns() - time.monotonic_ns() for _ in range(9)), key=abs)


def send_and_listen(
    order: Order, sock: socket.socket, table: packets.Table, log: Log, began: int
) -> tuple[int, list[int]]:
    """The run: 20 sub-ticks a tick, each sends a twentieth of the streams and reads what came. Gives failed sends and
    how late each sub-tick began (ns)."""
    n = len(order.ports)
    by_sub = np.argsort(np.arange(n) % 20, kind="stable")
    edges = np.searchsorted(np.arange(n)[by_sub] % 20, np.arange(21)).tolist()
    sender = wire.Sender(sock, [(order.ip, order.ports[k]) for k in by_sub])
    source = packets.source_of(n)[by_sub]
    rows, ticks, room = table.octets.shape
    starts = table.octets.ctypes.data + np.arange(rows, dtype=np.uint64)[source] * ticks * room
    sizes = np.ascontiguousarray(table.sizes.T).astype(np.uint64)
    at, size = sender.pieces["at"], sender.pieces["size"]
    timer = wire.Timer()
    stretch = 1.0 / (1.0 + order.ppm * 1e-6)
    late: list[int] = []
    for tick in range(ticks):
        at[:] = starts + tick * room
        size[:] = sizes[tick][source]
        for sub in range(20):
            due = began + round((tick * TICK + sub * SUB) * stretch)
            if time.monotonic_ns() < due:
                timer.until(due)
            late.append(time.monotonic_ns() - due)
            sender.send(edges[sub], edges[sub + 1])
            log.take()
    end = time.monotonic_ns() + int(TAIL_S * 1e9)
    while time.monotonic_ns() < end:
        log.take()
        time.sleep(0.001)
    return sender.failed, late


def say(**what: object) -> None:
    """One line to whoever started this program."""
    print(json.dumps(what), flush=True)


def main() -> None:
    """One run."""
    sock = wire.bound()
    port = sock.getsockname()[1]
    say(port=port)
    line = sys.stdin.readline()
    if not line:
        return
    order = Order(**json.loads(line))
    table = packets.build(order.ticks, order.codec, order.dtmf, order.keys, order.tone)
    expected = len(order.ports) * order.ticks
    log = Log(wire.Receiver(sock), expected + expected // 5 + 200_000, [order.ports[k] for k in order.sampled])
    say(ready=True)
    sys.stdin.readline()
    real_time = order.real_time and wire.real_time(PRIORITY)
    gc.collect()
    gc.disable()
    apart = clocks_apart()
    began = time.monotonic_ns() + 2 * SUB
    say(began=began)
    failed, late = send_and_listen(order, sock, table, log, began)
    moved = clocks_apart() - apart
    log.save(order.file, began=began, apart=apart, order=json.dumps(asdict(order)))
    lateness = np.asarray(late) / 1e6
    say(
        sent=expected - failed,
        failed=failed,
        received=log.count,
        refused=log.refused,
        dropped=figures.dropped([port]),
        late=figures.spread(lateness),
        clock_moved_ms=round(moved / 1e6, 3),
        real_time=real_time,
    )


if __name__ == "__main__":
    main()
