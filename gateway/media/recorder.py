"""Recordings: stereo 8 kHz 16-bit WAV files that one thread writes, readable at any moment, even after kill -9."""

from __future__ import annotations

import contextlib
import logging
import queue
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gateway.core.audio import WIRE_RATE
from gateway.core.errors import Mark, StoreError

log = logging.getLogger(__name__)

FRAME_BYTES = 4
"""Left and right, 16 bits each."""

HEADER_BYTES = 44

HEADER_S = 1.0
"""The sizes in the header are never older than this."""


def header(data_bytes: int) -> bytes:
    """A canonical RIFF/WAVE header for `data_bytes` of stereo 8 kHz int16."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        HEADER_BYTES - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        1,
        2,
        WIRE_RATE,
        WIRE_RATE * FRAME_BYTES,
        FRAME_BYTES,
        16,
        b"data",
        data_bytes,
    )


def repair(path: Path) -> float:
    """Make the sizes in a recording's header say what the file holds; gives its seconds. Raises StoreError."""
    try:
        with path.open("r+b") as file:
            start = file.read(HEADER_BYTES)
            if start and not (start[:4] == b"RIFF" and start[8:12] == b"WAVE"):
                raise StoreError("This is not a recording.", where=Mark(str(path)), expected="a WAV file")
            size = max(file.seek(0, 2) - HEADER_BYTES, 0) // FRAME_BYTES * FRAME_BYTES
            file.truncate(HEADER_BYTES + size)
            file.seek(0)
            file.write(header(size))
    except OSError as error:
        raise StoreError("A recording can't be repaired.", where=Mark(str(path)), read=str(error.strerror)) from None
    return size / FRAME_BYTES / WIRE_RATE


@dataclass(frozen=True, slots=True)
class Blank:
    """Frames `first` up to `last` (not included) become silence."""

    first: int
    last: int


Item = bytes | Blank | None
"""What the writer's thread is handed: frames to append, a stretch to silence, or the end of the file."""


class Recording:
    """One file being written: `add` hands frames to the Recorder's thread. `frames` counts those handed over."""

    def __init__(self, path: Path, post: Callable[[Recording, Item], None]) -> None:
        self.path = path
        self.frames = 0
        self._post = post

    def add(self, pcm: bytes) -> None:
        """Write 8 kHz stereo int16 bytes."""
        if pcm:
            self.frames += len(pcm) // FRAME_BYTES
            self._post(self, pcm)

    def blank(self, start_s: float, end_s: float) -> None:
        """Silence what was recorded between two times, in seconds from the beginning of the file."""
        first, last = (round(max(0.0, at) * WIRE_RATE) for at in (start_s, end_s))
        if first < (last := min(last, self.frames)):
            self._post(self, Blank(first, last))

    def close(self) -> None:
        """Nothing more will come."""
        self._post(self, None)


class _File:
    """The writer's side of a Recording."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = 0
        self._due = 0.0

    def append(self, data: bytes, now: float) -> None:
        while data:  # an unbuffered write may take a part only
            taken = self._file.write(data)
            self._size += taken
            data = data[taken:]
        if now >= self._due:
            self.settle()
            self._due = now + HEADER_S

    def blank(self, stretch: Blank) -> None:
        self._file.seek(HEADER_BYTES + stretch.first * FRAME_BYTES)
        left = (stretch.last - stretch.first) * FRAME_BYTES
        while left:
            left -= self._file.write(bytes(left))
        self._file.seek(0, 2)

    def settle(self) -> None:
        """The header says what is there."""
        self._file.seek(0)
        self._file.write(header(self._size))
        self._file.seek(0, 2)

    def close(self) -> None:
        self.settle()
        self._file.close()


class Recorder:
    """All recordings of a gateway. `failed` counts files given up because the disk refused them."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Recording, Item] | None] = queue.SimpleQueue()
        self._files: dict[Recording, _File] = {}
        self._thread: threading.Thread | None = None
        self.failed = 0

    def open(self, path: Path) -> Recording:
        """Start a file. Raises StoreError where it can't be made."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb", buffering=0)
            file.write(header(0))
        except OSError as error:
            raise StoreError(
                "A recording can't be written.",
                where=Mark(str(path)),
                read=str(error.strerror),
                do="check the data folder's owner and free space",
            ) from None
        recording = Recording(path, lambda which, data: self._queue.put((which, data)))
        self._files[recording] = _File(file)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
        return recording

    def close(self) -> None:
        """Write what waits and end the thread. Blocks for the disk."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            recording, data = item
            file = self._files.get(recording)
            if file is None:
                continue
            try:
                if data is None:
                    file.close()
                elif isinstance(data, Blank):
                    file.blank(data)
                else:
                    file.append(data, time.monotonic())
            except OSError as error:
                self.failed += 1
                log.error(
                    "A recording was given up", extra={"fields": {"path": str(recording.path), "why": str(error)}}
                )
                data = None
            if data is None:
                self._files.pop(recording, None)
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
        self._files.clear()
