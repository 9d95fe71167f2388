"""Real programs on the loopback: sipp with our scenarios, baresip, sipsak. Free ports; nothing outlives a test."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.sip.config import SipConfig
from gateway.sip.edge import Edge, Listen
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import SipEvent

SCENARIOS = Path(__file__).parent / "scenarios"


def need(program: str) -> None:
    """Skips by name where a program is missing; in CI that fails instead."""
    if shutil.which(program) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def free_tcp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Running:
    """A gateway on a real socket that keeps its events and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[SipEvent] = []
        self.edge: Edge
        self._news = asyncio.Event()
        self.on_event = lambda event: None

    @classmethod
    async def start(cls, *listen: Listen, **config: object) -> Running:
        """`listen`: UDP on the loopback where nothing is said."""
        self = cls()
        settings = {"domain": "127.0.0.1", **config}
        places = listen or (Listen("udp", "127.0.0.1", 0),)
        self.edge = await Edge.open(Endpoint(SipConfig(**settings)), places, self._hear)
        return self

    def _hear(self, event: SipEvent) -> None:
        self.events.append(event)
        self._news.set()
        self.on_event(event)

    async def wait(self, kind: type, patience: float = 30.0):
        """The first event of a kind, come or to come; it is taken out of the list."""
        async with asyncio.timeout(patience):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        self.events.remove(event)
                        return event
                self._news.clear()
                await self._news.wait()


class Sipp:
    """One sipp process. `done` gives its exit code: 0 when every call went as the scenario says."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self.folder = folder

    @classmethod
    async def start(
        cls, scenario: str, folder: Path, target: int | None = None, *more: str, service: str = "8000", port: int = 0
    ) -> Sipp:
        need("sipp")
        port = port or free_port()
        arguments = ["sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
        arguments += ["-m", "1", "-timeout", "90s", "-timeout_error", "-s", service, "-mp", str(free_port() & ~1)]
        arguments += ["-trace_err", "-error_file", str(folder / f"{scenario}-{port}.err"), *more]
        if target is not None:
            arguments.append(f"127.0.0.1:{target}")
        process = await asyncio.create_subprocess_exec(
            *arguments, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        self = cls(process, port, folder)
        if target is None:
            await listening(port, "tcp" if "-t" in more else "udp")
        return self

    async def done(self) -> int:
        try:
            async with asyncio.timeout(100):
                return await self.process.wait()
        finally:
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()

    async def good(self) -> None:
        code = await self.done()
        said = "\n".join(path.read_text(errors="replace")[:3000] for path in self.folder.glob("*.err"))
        assert code == 0, f"sipp ended with {code}\n{said}"


def modules_of_baresip() -> str:
    """Where Debian keeps baresip's modules on this machine."""
    places = [Path("/usr/lib/baresip/modules"), *Path("/usr/lib").glob("*/baresip/modules")]
    return str(next((place for place in places if place.is_dir()), places[0]))


async def listening(port: int, protocol: str = "udp") -> None:
    """Waits until some process has a port."""
    for _ in range(500):
        if bound(port, protocol):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"nothing listens on {protocol} port {port}")


def bound(port: int, protocol: str = "udp") -> bool:
    return f":{port:04X} " in Path(f"/proc/net/{protocol}").read_text()


class Baresip:
    """A baresip phone without a sound card: it answers what comes. Commands go over TCP."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, control: int) -> None:
        self.process = process
        self.port = port
        self.control = control
        self.said = bytearray()
        self._orders: list[asyncio.StreamWriter] = []

    @classmethod
    async def start(cls, folder: Path, account: str, *lines: str) -> Baresip:
        need("baresip")
        port = free_port()
        media = free_port() & ~1
        modules = ("ctrl_tcp.so", "g711.so", "aubridge.so", "account.so", "menu.so")
        config = [f"module_path {modules_of_baresip()}"]
        control = free_tcp_port()
        config += [
            f"ctrl_tcp_listen 127.0.0.1:{control}",
            "net_interface 127.0.0.1",
            f"sip_listen 127.0.0.1:{port}",
            f"rtp_ports {media}-{media + 20}",
            "audio_player aubridge,nil",
        ]
        config += ["audio_source aubridge,nil", "audio_alert aubridge,nil", "audio_txmode thread", *lines]
        config += [f"module {name}" for name in modules if not name.startswith(("account", "menu", "ctrl"))]
        config += [f"module_app {name}" for name in ("account.so", "menu.so", "ctrl_tcp.so")]
        (folder / "config").write_text("\n".join(config) + "\n")
        (folder / "accounts").write_text(account + "\n")
        (folder / "contacts").write_text("")
        process = await asyncio.create_subprocess_exec(
            "baresip",
            *("-f", str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self = cls(process, port, control)
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        while data := await self.process.stdout.read(4096):
            self.said += data

    async def order(self, command: str, params: str = "") -> None:
        """One command of baresip's menu, as JSON in a netstring."""
        text = json.dumps({"command": command, "params": params, "token": "t"})
        _, writer = await asyncio.open_connection("127.0.0.1", self.control)
        writer.write(f"{len(text)}:{text},".encode())
        await writer.drain()
        self._orders.append(writer)

    async def stop(self) -> str:
        """Ends it in order (it unregisters) and gives what it said."""
        for writer in self._orders:
            writer.close()
        if self.process.returncode is None:
            self.process.terminate()
        try:
            async with asyncio.timeout(5):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
        await self._reader
        return self.said.decode(errors="replace")


async def run(arguments: Sequence[str], patience: float = 20.0) -> tuple[int, str]:
    """A program to its end: (exit code, what it said)."""
    need(arguments[0])
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(patience):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")
