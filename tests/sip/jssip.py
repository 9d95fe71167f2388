"""JsSIP under node as a test peer: a phone over WebSocket that registers, calls, is called, asks and writes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sip.peers import need

PHONE = Path(__file__).parents[1] / "peers" / "jssip" / "phone.js"
MODULES = Path(sys.prefix) / "node"
"""Where `make test` installs what tests/peers/jssip/package.json names."""


class JsSip:
    """`events`: what it said, in order, and not yet taken."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.errors = b""
        self._news = asyncio.Event()
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._complaints())]

    @classmethod
    async def start(cls, url: str, uri: str, password: str, authority: Path | None = None) -> JsSip:
        """A phone of `uri` (sip:USER@DOMAIN) that connects to `url` (ws:// or wss://), trusting `authority`."""
        need("node")
        if not (MODULES / "node_modules" / "jssip").is_dir():
            missing = f"jssip is not installed: npm install --prefix {MODULES} {PHONE.parent}/package.json (make peers)"
            pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
        env = {**os.environ, "NODE_FOLDER": str(MODULES)}
        if authority:
            env["NODE_EXTRA_CA_CERTS"] = str(authority)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *("node", str(PHONE), url, uri, password), stdin=pipe, stdout=pipe, stderr=pipe, env=env
        )
        return cls(process)

    async def _read(self) -> None:
        assert self.process.stdout
        while line := await self.process.stdout.readline():
            self.events.append(json.loads(line))
            self._news.set()

    async def _complaints(self) -> None:
        assert self.process.stderr
        while data := await self.process.stderr.read(4096):
            self.errors += data

    def order(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n".encode())

    async def wait(self, event: str, patience: float = 30.0) -> dict[str, Any]:
        """The next event of a kind; those before it are dropped."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    while self.events:
                        found = self.events.pop(0)
                        if found["event"] == event:
                            return found
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"JsSIP never said {event!r}: {self.errors.decode(errors='replace')[-2000:]}")

    async def stop(self) -> None:
        """It unregisters, closes its connection and ends."""
        if self.process.returncode is None:
            self.order("quit")
        try:
            async with asyncio.timeout(10):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        await asyncio.gather(*self._readers)
