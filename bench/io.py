"""What the kernel takes for a stream: one packet received and one sent every 20 ms, without any media work.

    python bench/io.py --streams 500 1000 2000 --seconds 5 --rounds 3

A process that only echoes (native.ioloop) is the one measured, user and system time; another sends to all its sockets
from one of its own and takes the answers. On loopback the sender's time includes the delivery to the other's socket.
The ways alternate within a round, so that what else the machine does falls on all of them; the smallest and the median
of the rounds are told. `waiting` is the same without any packet: 1,000 wake-ups a second and a look at every socket.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from native import ioloop, net, uring

WAYS = {
    "waiting": ("plain", False),
    "plain": ("plain", False),
    "plain, connected": ("plain", True),
    "io_uring": ("uring", False),
    "io_uring, connected": ("uring", True),
}
PACKET = bytes([0x80]) + bytes(171)
"""As long as 20 ms of G.711 in RTP."""
BATCH = 256
COLUMNS = ("way", "sockets", "ns least", "median", "% core", "answered", "of")


def prefer() -> None:
    """The real-time class, as the engine's thread has it, where the system grants it."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


# --- the echo ---------------------------------------------------------------------------------------------------------


def subject(kind: str, connects: bool, streams: int, seconds: float) -> None:
    """Prints its ports, echoes once told to, then prints its CPU seconds and the packets answered."""
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(streams)]
    loop = ioloop.IoLoop(kind, 2 * streams)
    for index, sock in enumerate(socks):
        sock.bind(("127.0.0.1", 0))
        loop.watch(2 * index, sock.fileno())
    print(json.dumps([sock.getsockname()[1] for sock in socks]), flush=True)
    sys.stdin.readline()
    prefer()
    loop.echo(0.5, connects)
    before = time.process_time()
    answered = loop.echo(seconds, connects)
    print(json.dumps([time.process_time() - before, answered]))


# --- the other end ----------------------------------------------------------------------------------------------------


class Part(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Head(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("parts", ctypes.POINTER(Part)),
        ("parts_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("gap", ctypes.c_int),
        ("length", ctypes.c_uint),
    )


class Batch:
    """`count` datagrams in one call: to `ports` of loopback, or from anywhere."""

    def __init__(self, count: int, ports: list[int] | None = None) -> None:
        self.count = count
        self.octets = ctypes.create_string_buffer(PACKET, 2048)
        self.part = Part(ctypes.addressof(self.octets), len(PACKET) if ports else 2048)
        self.heads = (Head * max(1, count))()
        self.names = [ctypes.create_string_buffer(net.address_of("127.0.0.1", port), 16) for port in ports or ()]
        for k in range(count):
            self.heads[k].parts, self.heads[k].parts_count = ctypes.pointer(self.part), 1
            if ports:
                self.heads[k].name, self.heads[k].name_size = ctypes.addressof(self.names[k]), 16


def generate(ports: list[int], until: IO[str]) -> None:
    """A packet to each port every 20 ms, spread over the 20 ms, until a line can be read; answers are taken."""
    libc = ctypes.CDLL(None)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("127.0.0.1", 0))
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
    groups = [Batch(len(ports[k::20]), ports[k::20]) for k in range(20)]
    into, number, due = Batch(BATCH), 0, time.monotonic()
    while number % 20 or not select.select([until], [], [], 0)[0]:
        number += 1
        due += 0.001
        time.sleep(max(0.0, due - time.monotonic()))
        group, done = groups[(number + 7) % 20], 0
        while done < group.count:
            rest = ctypes.byref(group.heads, done * ctypes.sizeof(Head))
            sent = libc.sendmmsg(sock.fileno(), rest, group.count - done, 0)
            if sent <= 0:
                break
            done += sent
        while libc.recvmmsg(sock.fileno(), into.heads, into.count, socket.MSG_DONTWAIT, None) > 0:
            pass


# --- the figures ------------------------------------------------------------------------------------------------------


def trial(way: str, streams: int, seconds: float) -> tuple[float, int]:
    """CPU seconds of the echo and the packets it answered."""
    kind, connects = WAYS[way]
    arguments = ["--subject", kind, str(int(connects)), str(streams), str(seconds)]
    with subprocess.Popen(
        [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as echo:
        assert echo.stdin is not None
        assert echo.stdout is not None
        ports = json.loads(echo.stdout.readline())
        echo.stdin.write("\n")
        echo.stdin.flush()
        if way != "waiting":
            generate(ports, echo.stdout)
        used, answered = json.loads(echo.stdout.readline())
    return used, answered


def measure(streams: int, seconds: float, rounds: int, ways: list[str]) -> list[dict[str, Any]]:
    """One row a way: ns for a packet in and out."""
    found: dict[str, list[tuple[float, int]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            with figures.progress(f"{way}, {streams} sockets"):
                found[way].append(trial(way, streams, seconds))
    ticks = streams * int(seconds * 1000) // 20
    rows = []
    for way, trials in found.items():
        costs = [1e9 * used / (answered or ticks) for used, answered in trials]
        row = {
            "way": way,
            "streams": streams,
            "ns_least": round(min(costs)),
            "ns_median": round(statistics.median(costs)),
            "percent_of_a_core": round(100 * min(used for used, _ in trials) / seconds, 2),
            "answered": sum(answered for _, answered in trials),
            "wanted": ticks * rounds,
        }
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--subject", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.subject:
        kind, connects, streams, seconds = options.subject
        subject(kind, connects == "1", int(streams), float(seconds))
        return
    refused = uring.uring_refused()
    prefer()
    ways = [way for way, (kind, _) in WAYS.items() if kind == "plain" or not refused]
    rows = [row for streams in options.streams for row in measure(streams, options.seconds, options.rounds, ways)]
    figures.table("a packet in and one out", COLUMNS, [list(row.values()) for row in rows])
    if refused:
        print(f"io_uring: {refused}")
    figures.write_json(options.json, {"rows": rows, "io_uring_refused": refused})


if __name__ == "__main__":
    main()
