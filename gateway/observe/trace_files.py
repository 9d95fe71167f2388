"""Traces on disk, one compressed file a call, the newest so many."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.core.errors import StoreError
from gateway.observe.mask import masked
from gateway.observe.trace import Message, Peer, Trace, Tracer

log = logging.getLogger(__name__)

SUFFIX = ".sip.gz"
PCAP = ".pcap"
"""What `trunkline trace` writes beside a trace; it goes when the trace goes."""
EVERY_S = 1.0
A_SECOND = 10
"""Traces written a second at most: each costs about half a millisecond of CPU, and a flood of calls must not pay for
that. Those that wait are in memory, and dropped where more of them wait than files may be."""
_LARGEST = 64 << 20

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """A message as it was written down: `at` in seconds of UTC since 1970, `peer` and `local` as address and port."""

    at: float
    sent: bool
    transport: str
    peer: Address
    local: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of a call; `missed`: messages that there was no room for."""

    call: str
    lines: tuple[Line, ...]
    missed: int = 0


class TraceFiles:
    """`keep`: how many files there may be. `local` gives our own address as a peer sees it."""

    def __init__(self, folder: Path, keep: int, local: Callable[[Peer], Address]) -> None:
        self.folder = folder
        self.keep = keep
        self.local = local
        self._names: deque[Path] = deque()
        self._task: asyncio.Task[None] | None = None

    def follow(self, tracer: Tracer) -> TraceFiles:
        """Writes what the tracer has of calls that are over, from now on. Files of earlier runs count."""
        self._names.extend(sorted(self.folder.glob(f"*{SUFFIX}")))
        self._tracer = tracer
        self._task = asyncio.get_running_loop().create_task(self._follow())
        return self

    async def close(self) -> None:
        """Writes the rest."""
        if self._task:
            self._task.cancel()
        await asyncio.to_thread(self._write, self._tracer.take(self._tracer.calls, 0.0))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            taken = self._tracer.take(A_SECOND)
            if taken:
                await asyncio.to_thread(self._write, taken)

    def _write(self, traces: list[Trace]) -> None:
        for trace in traces:
            try:
                self.write(trace)
            except OSError as error:
                log.warning("a trace can't be written", extra={"fields": {"call": trace.call, "error": error.strerror}})

    def write(self, trace: Trace) -> Path:
        """One call. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = [json.dumps({"call": trace.call, "missed": trace.missed})]
        rows += [json.dumps(self._row(message), ensure_ascii=False) for message in trace.messages]
        path = self.folder / f"{trace.call}{SUFFIX}"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(gzip.compress("\n".join(rows).encode(), 1))
        part.replace(path)
        self._names.append(path)
        while len(self._names) > self.keep:
            oldest = self._names.popleft()
            oldest.unlink(missing_ok=True)
            beside(oldest).unlink(missing_ok=True)
        return path

    def _row(self, message: Message) -> dict[str, object]:
        peer = message.peer
        return {
            "at": round(message.at, 6),
            "sent": message.sent,
            "transport": peer.transport,
            "peer": [peer.ip, peer.port],
            "local": list(self.local(peer)),
            "data": masked(message.data).decode("latin-1"),  # one character an octet
        }


def beside(trace: Path) -> Path:
    """Where the pcap of a trace lies."""
    return trace.with_name(trace.name.removesuffix(SUFFIX) + PCAP)


def find(folder: Path, call: str) -> Path:
    """The file of the call whose id begins or ends so; `last` is the newest. Raises StoreError."""
    try:
        files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    except OSError as error:
        raise StoreError(
            "the folder of traces can't be read",
            read=f"{folder}: {error.strerror}",
            do="name the data folder of the gateway with --data; it is made when the first traced call is over",
        ) from None
    names = {path: path.name.removesuffix(SUFFIX) for path in files}
    found = files[-1:] if call == "last" else [p for p, n in names.items() if n == call]
    found = found or [p for p, n in names.items() if n.startswith(call) or n.endswith(call)]
    if not found:
        raise StoreError(
            f"no trace of a call {call}",
            read=str(folder),
            do="a call is written down when it is over; see trace: in gateway.yaml for how many are kept",
        )
    if len(found) > 1:
        near = ", ".join(names[path] for path in found[-5:])
        raise StoreError(f"{len(found)} traces begin or end with {call}", near=near, do="give more of the id")
    return found[0]


def read(path: Path) -> Written:
    """Raises StoreError."""
    try:
        with gzip.open(path) as file:
            rows = file.read(_LARGEST).decode().split("\n")
        head: Mapping[str, Any] = json.loads(rows[0])
        return Written(str(head["call"]), tuple(_line(json.loads(row)) for row in rows[1:]), int(head["missed"]))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError("a trace can't be read", read=str(path), expected=str(error)) from None


def _line(row: Mapping[str, Any]) -> Line:
    peer, local = ((str(pair[0]), int(pair[1])) for pair in (row["peer"], row["local"]))
    data = str(row["data"]).encode("latin-1")
    return Line(float(row["at"]), bool(row["sent"]), str(row["transport"]), peer, local, data)
