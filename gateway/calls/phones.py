"""Registered phones in a file, so that a gateway that starts again can call them before they register anew."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from gateway.core.clock import Clock
from gateway.sip.edge import Edge

log = logging.getLogger(__name__)

EVERY_S = 10.0
"""How often the file is written at most: a gateway that dies forgets what registered since."""

_LARGEST = 32 << 20


class Phones:
    """The file follows the registrar of an edge that runs, from `follow` until `close`."""

    def __init__(self, path: Path, edge: Edge, clock: Clock, every_s: float = EVERY_S) -> None:
        self.path = path
        self.edge = edge
        self.clock = clock
        self.every_s = every_s
        self._written = 0
        self._task: asyncio.Task[None] | None = None

    def follow(self) -> Phones:
        """Takes up the phones of the last run that can still be there. A file that can't be read, or that comes from
        the future, is passed over."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if self.path.stat().st_size <= _LARGEST:
                kept: Any = json.loads(self.path.read_text(encoding="utf-8"))
                ago = self.clock.now().utc.timestamp() - float(kept["written"])
                if ago >= 0:
                    self.edge.restore_phones(list(kept["phones"]), ago)
        self._written = self.edge.endpoint.registrar.revision
        self._task = asyncio.get_running_loop().create_task(self._keep())
        return self

    async def close(self) -> None:
        """Writes the last state."""
        if self._task:
            self._task.cancel()
        await self._save()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self.every_s)
            await self._save()

    async def _save(self) -> None:
        revision = self.edge.endpoint.registrar.revision
        if revision == self._written:
            return
        now = self.clock.now()
        kept = {"written": now.utc.timestamp(), "phones": self.edge.endpoint.known_phones(now.mono)}
        try:
            await asyncio.to_thread(_write, self.path, kept)
        except OSError as error:
            log.warning("the registered phones can't be written down", extra={"fields": {"error": error.strerror}})
        self._written = revision


def _write(path: Path, kept: dict[str, object]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(kept, file, ensure_ascii=False)
    part.replace(path)
