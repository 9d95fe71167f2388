"""A gateway and its phones as processes on the loopback, for the demo and for tests with real peers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.errors import TrunklineError
from gateway.sip.uri import hostport

ROOT = Path(__file__).parents[2]
"""The project: flows and configuration that the demo uses stand here."""

CONFIG = ROOT / "sip_config" / "gateway.yaml"
READY_FILE = "TRUNKLINE_READY_FILE"


class NotReady(TrunklineError):
    """A process ended or stayed silent where it should have become ready."""


@dataclass
class GatewayProcess:
    """A running `trunkline run`. `log` holds what it printed."""

    process: subprocess.Popen[bytes]
    sip_port: int
    http_port: int
    data: Path
    log: Path
    host: str = "127.0.0.1"
    ports: Mapping[str, int] = field(default_factory=dict)
    """SIP's ports by transport; `sip_port` is the first that was opened."""

    @property
    def sip(self) -> str:
        return hostport(self.host, self.sip_port)

    def uri(self, number: str) -> str:
        return f"sip:{number}@{self.sip}"

    def reload(self) -> None:
        """Have it load its flows anew."""
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def gateway(
    data: Path,
    *,
    flows: Sequence[Path] = (),
    config: Path = CONFIG,
    host: str = "127.0.0.1",
    seconds: float = 240.0,
    env: Mapping[str, str] | None = None,
) -> Iterator[GatewayProcess]:
    """Starts a gateway on free ports of `host`, a loopback address (empty: where the configuration says), and ends it
    in order. Raises NotReady with the end of its log."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "gateway.log"
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "gateway.cli", "run", "--config", str(config), "--data", str(data)]
        command += [*(["--sip", hostport(host, 0)] if host else []), "--http", "127.0.0.1:0"]
        for flow in flows:
            command += ["--flow", str(flow)]
        surroundings = {**os.environ, READY_FILE: str(ready), **(env or {})}
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=surroundings, cwd=ROOT)
        try:
            ports = _await(process, ready, log, seconds)
            yield GatewayProcess(
                process, ports["sip"], ports["http"], data, log, host or "127.0.0.1", ports.get("ports", {})
            )
        finally:
            end(process)


def _await(process: subprocess.Popen[bytes], ready: Path, log: Path, seconds: float) -> dict[str, Any]:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if ready.exists():
            found: dict[str, Any] = json.loads(ready.read_text())
            return found
        if process.poll() is not None:
            break
        time.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    what = "the gateway did not start" if process.poll() is not None else f"the gateway was not ready in {seconds:g} s"
    raise NotReady(what, read=tail)


@dataclass
class PhoneProcess:
    """A softphone; `events` are the lines it printed so far, oldest first."""

    user: str
    process: subprocess.Popen[str]
    record: Path | None
    events: list[dict[str, Any]] = field(default_factory=list)

    def until(self, event: str, seconds: float = 20.0) -> dict[str, Any]:
        """The first event of this kind, waiting for it. Raises NotReady."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            for seen in list(self.events):
                if seen["event"] == event:
                    return seen
            if self.process.poll() is not None and not any(e["event"] == event for e in self.events):
                break
            time.sleep(0.02)
        raise NotReady(f"the softphone {self.user} never said it was {event}", read=str(self.events[-3:]))

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.events.append(json.loads(line))


@contextmanager
def phone(server: str, user: str, password: str, *options: str, record: Path | None = None) -> Iterator[PhoneProcess]:
    """A pyVoIP softphone that is registered with `server` (HOST:PORT). `options`: those of gateway.lab.softphone."""
    command = [
        sys.executable,
        "-m",
        "gateway.lab.softphone",
        "--server",
        server,
        "--user",
        user,
        "--password",
        password,
    ]
    command += ["--json", *(("--record", str(record)) if record else ()), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    agent = PhoneProcess(user, process, record)
    threading.Thread(target=agent._read, daemon=True).start()
    try:
        agent.until("registered", 30.0)
        yield agent
    finally:
        end(process)


def end(process: subprocess.Popen[Any], patience: float = 8.0) -> None:
    """Asks a process to end, then makes it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
