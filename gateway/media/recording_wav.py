"""Recordings as 16-bit RIFF/WAVE. A frame's place in the file follows from its number: what was never written is a hole
of silence, a stretch can be silenced later, and the sizes in the header are never older than the newest frame."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import WIRE_RATE
from gateway.core.errors import Mark, StoreError

SUFFIX = ".wav"

HEADER_BYTES = 44

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_ZEROS = bytes(1 << 16)


def header(data_bytes: int, rate: int = WIRE_RATE, channels: int = 2) -> bytes:
    """A canonical RIFF/WAVE header (Multimedia Programming Interface 1.0) for `data_bytes` of int16."""
    width = 2 * channels
    sizes = HEADER_BYTES - 8 + data_bytes, data_bytes
    return _HEADER.pack(
        b"RIFF", sizes[0], b"WAVE", b"fmt ", 16, 1, channels, rate, rate * width, width, 16, b"data", sizes[1]
    )


class WavFile:
    """A recording being written. Methods raise OSError; a frame that the disk refused is silence, later ones keep
    their place. `lost` counts the refused."""

    def __init__(self, path: Path, rate: int, channels: int = 2) -> None:
        self.frames = 0
        self.lost = 0
        self._rate, self._channels = rate, channels
        self._width = 2 * channels
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            self._settle()
        except OSError:
            os.close(self._fd)
            path.unlink(missing_ok=True)
            raise

    def append(self, pcm: bytes) -> None:
        """Add int16 frames."""
        at = self.frames
        self.frames += len(pcm) // self._width
        try:
            self._write(pcm, at)
            self._settle()
        except OSError:
            self.lost += self.frames - at
            raise

    def skip(self, frames: int) -> None:
        """Add silence."""
        self.frames += frames

    def blank(self, first: int, last: int) -> None:
        """Frames `first` up to `last` (not included) become silence, for good."""
        last = min(last, self.frames)
        step = len(_ZEROS) // self._width
        for at in range(first, last, step):
            self._write(_ZEROS[: (min(last, at + step) - at) * self._width], at)

    def close(self) -> None:
        try:
            os.ftruncate(self._fd, HEADER_BYTES + self.frames * self._width)
            self._settle()
        except OSError:
            there = max(os.fstat(self._fd).st_size - HEADER_BYTES, 0) // self._width
            self.frames = min(self.frames, there)
            self._settle()
            raise
        finally:
            os.close(self._fd)

    def _settle(self) -> None:
        """The header says what is there."""
        _write(self._fd, header(self.frames * self._width, self._rate, self._channels), 0)

    def _write(self, data: bytes, frame: int) -> None:
        _write(self._fd, data, HEADER_BYTES + frame * self._width)


def _write(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:  # a full disk may take a part only
        taken = os.pwrite(fd, view, at)
        at += taken
        view = view[taken:]


def _shape(start: bytes) -> tuple[int, int]:
    """(rate, channels) of a header as `header` writes it. Raises ValueError."""
    if len(start) < HEADER_BYTES:
        return WIRE_RATE, 2
    riff, _, wave, _, _, coding, channels, rate, _, _, bits, _, _ = _HEADER.unpack(start)
    if (riff, wave, coding, bits) != (b"RIFF", b"WAVE", 1, 16) or channels not in (1, 2):
        raise ValueError("not a recording")
    return int(rate), int(channels)


def repair(path: Path) -> float:
    """Make the sizes in a recording's header say what the file holds; gives its seconds. Raises StoreError."""
    try:
        with path.open("r+b") as file:
            start = file.read(HEADER_BYTES)
            if start and start[:4] != b"RIFF":
                raise ValueError(start[:4])
            rate, channels = _shape(start)
            width = 2 * channels
            size = max(file.seek(0, 2) - HEADER_BYTES, 0) // width * width
            file.truncate(HEADER_BYTES + size)
            file.seek(0)
            file.write(header(size, rate, channels))
    except ValueError:
        raise StoreError("This is not a recording.", where=Mark(str(path)), expected="a WAV file") from None
    except OSError as error:
        raise StoreError("A recording can't be repaired.", where=Mark(str(path)), read=str(error.strerror)) from None
    return size / width / rate


def read(path: Path) -> tuple[int, NDArray[np.int16]]:
    """Rate in Hz and int16 frames (n, channels); all that is there, also while the file is being written.

    Raises OSError, and ValueError for another kind of file."""
    content = path.read_bytes()
    if content[:4] != b"RIFF":
        raise ValueError("not a WAV file")
    rate, channels = _shape(content[:HEADER_BYTES])
    samples = np.frombuffer(content, "<i2", offset=HEADER_BYTES, count=(len(content) - HEADER_BYTES) // 2)
    return rate, samples[: len(samples) // channels * channels].astype(np.int16).reshape(-1, channels)
