"""The engine's thread. A sub-tick is 1 ms: commands, then the legs whose turn it is (slot s: sub-tick s % 20)."""

from __future__ import annotations

import select
import sys
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from native.slow.events import Events
from native.slow.leg import Leg
from native.slow.playout import Prompt

SUB_NS = 1_000_000
STOOD_STILL_NS = 1_000_000_000
"""Further behind than this is not caught up with; a thread that waits for the interpreter is behind more often."""

SENDS_EVERY, READS_EVERY = 20, 5
BUCKETS = 501
COMMANDS = 1024


class Loop:
    """What all legs share, and the time they run by."""

    def __init__(self, vad_mode: int) -> None:
        self.vad_mode = vad_mode
        self.events = Events()
        self.legs: dict[int, Leg] = {}
        self.prompts: dict[int, Prompt] = {}
        self.commands: deque[Callable[[int], None]] = deque()
        self.garbage = self.rings_full = self.ticks = self.overruns = self.skipped = self.cpu_ns = 0
        self.late = np.zeros(BUCKETS, np.int64)
        self.ready = select.epoll()
        self.by_fd: dict[int, Callable[[int], None]] = {}
        self.stopping = False

    def obey(self) -> None:
        for _ in range(len(self.commands)):
            self.commands.popleft()(time.monotonic_ns())

    def open(self, leg: Leg, now: int) -> None:
        leg.heard_at = now
        self.legs[leg.handle] = leg
        for sock, read in ((leg.socket, leg.receive), (leg.control.socket, leg.control.receive)):
            self.by_fd[sock.fileno()] = read
            self.ready.register(sock.fileno(), select.EPOLLIN)

    def close(self, leg: Leg, now: int) -> None:
        leg.stop(now)
        for sock in (leg.socket, leg.control.socket):
            self.ready.unregister(sock.fileno())
            del self.by_fd[sock.fileno()]
            sock.close()
        del self.legs[leg.handle]
        leg.open = False

    def receive(self) -> None:
        now = time.monotonic_ns()
        for fd, _ in self.ready.poll(0):
            self.by_fd[fd](now)
        for leg in self.legs.values():
            leg.idle(now)

    def sub_tick(self, number: int, due: int) -> None:
        sending = [leg for leg in self.legs.values() if leg.slot % SENDS_EVERY == number % SENDS_EVERY]
        if sending or number % READS_EVERY == 0:
            self.receive()
        for leg in sending:
            now = time.monotonic_ns()
            leg.tick(now)
            self.late[min((now - due) // 100_000, BUCKETS - 1)] += 1

    def run(self) -> None:
        """Until `stopping`. The interpreter hands over more often meanwhile: this thread needs short turns, on time."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, 0.0005))
        due, number = time.monotonic_ns(), 0
        while not self.stopping:
            due += SUB_NS
            behind = time.monotonic_ns() - due
            if behind < 0:
                time.sleep(-behind / 1e9)
            elif behind > STOOD_STILL_NS:
                self.skipped += behind // SUB_NS
                due += behind // SUB_NS * SUB_NS
            elif behind > SUB_NS:
                self.overruns += 1
            number += 1
            self.ticks += 1
            self.obey()
            self.sub_tick(number, due)
            self.cpu_ns = time.thread_time_ns()
        self.obey()
        sys.setswitchinterval(before)
