"""Real programs as test peers: found by name, started with what they print kept, ended by their own process id."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

PACKAGES = {"sipp": "sip-tester", "baresip": "baresip-core", "sipsak": "sipsak", "kamailio": "kamailio", "sox": "sox"}


def need(program: str) -> str:
    """The path of `program`; where it is missing the test is skipped by name, and fails where CI is set."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path:
        return path
    missing = f"{program} is not installed: apt-get install {PACKAGES.get(program, program)}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def free_port(count: int = 1, ip: str = "127.0.0.1") -> int:
    """The first of `count` neighbouring UDP ports that nobody holds; even, so that it may carry RTP."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    while True:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
            port = probe.getsockname()[1] & ~1
        try:
            for each in range(port, port + count):
                with socket.socket(family, socket.SOCK_DGRAM) as probe:
                    probe.bind((ip, each))
        except OSError:
            continue
        return port


def bound(port: int) -> bool:
    """Whether some program holds UDP `port` now."""
    rows = [row for table in ("udp", "udp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return any(int(row.split()[1].rpartition(":")[2], 16) == port for row in rows)


def eventually(true: Callable[[], Any], seconds: float = 10.0, what: str = "that") -> Any:
    """The first true value of `true()`, asked every 20 ms; fails when `seconds` pass without one."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        value = true()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"{what} did not happen within {seconds:g} s")


class Program:
    """One running program. `out` and `err` are files with what it printed."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.folder = name, folder
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env={**os.environ, **(env or {})}
            )

    @property
    def text(self) -> str:
        """All it printed so far, both streams."""
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def says(self, text: str, seconds: float = 10.0) -> str:
        """Wait until it printed `text`; fails at once when it ended without."""

        def said() -> bool:
            if text not in self.text and not self.running:
                pytest.fail(
                    f"{self.name} ended ({self.process.returncode}) and never said {text!r}:\n{self.text[-2000:]}"
                )
            return text in self.text

        eventually(said, seconds, f"{self.name} saying {text!r}")
        return self.text

    def finishes(self, seconds: float = 30.0) -> int:
        """Wait for its own end; gives the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} still runs after {seconds:g} s:\n{self.text[-2000:]}")

    def end(self, number: int = signal.SIGTERM, seconds: float = 5.0) -> None:
        """Ask it to stop; after `seconds` it is killed."""
        if not self.running:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class JsonProgram(Program):
    """A program that prints one JSON object a line."""

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = self.out.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def event(self, kind: str, seconds: float = 10.0, count: int = 1) -> dict[str, Any]:
        """The `count`-th event of a kind, waited for; fails when the program ends without it."""

        def seen() -> dict[str, Any] | None:
            ended = not self.running  # asked before reading, so that its last words are read
            found = [event for event in self.events if event["event"] == kind]
            if len(found) < count and ended:
                pytest.fail(f"{self.name} ended ({self.process.returncode}) without {kind!r}:\n{self.text[-3000:]}")
            return found[count - 1] if len(found) >= count else None

        found: dict[str, Any] = eventually(seen, seconds, f"{self.name}: {kind}\n{self.text[-2000:]}\n")
        return found


class Programs:
    """All programs of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Program] = []

    def start(self, name: str, command: Sequence[str], env: dict[str, str] | None = None) -> Program:
        return self.add(Program(name, command, self.folder / name, env))

    def start_json(self, name: str, command: Sequence[str], env: dict[str, str] | None = None) -> JsonProgram:
        program = JsonProgram(name, command, self.folder / name, env)
        self.add(program)
        return program

    def add(self, program: Program) -> Program:
        self.started.append(program)
        return program

    def end(self) -> None:
        """End them, last started first."""
        for program in reversed(self.started):
            program.end()
            print(f"--- {program.name} ({program.process.returncode})\n{program.text[-1500:]}")
