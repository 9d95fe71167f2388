"""From a leg's recording tap to its files: the call's recording, and a message within it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gateway.media.recorder import Prepared, Recorder, Recording

REFUSED = 160
"""Stereo samples that one of the engine's `tap_refused` stands for, at any rate."""


def callers_side(pcm: bytes) -> bytes:
    """The left of stereo int16."""
    return np.frombuffer(pcm, np.int16)[::2].tobytes()


class TapRecording:
    """Both sides of a leg on their way to the disk. `read` empties the tap (stereo int16 at the recorder's rate),
    `refused` counts what the tap had no room for, in REFUSED samples."""

    def __init__(
        self,
        recorder: Recorder,
        path: Path,
        read: Callable[[], bytes],
        refused: Callable[[], int],
        prepared: Prepared | None = None,
    ) -> None:
        """Raises StoreError where the file can't be made."""
        self._recorder = recorder
        self._read, self._refused = read, refused
        self._call = recorder.open(path, prepared=prepared)
        self._message: Recording | None = None
        self._message_from = 0.0
        self._missing = refused()
        self._overflowed = False

    def overflowed(self) -> None:
        """The tap was full: what it refused is looked for at the next drain."""
        self._overflowed = True

    def drain(self) -> None:
        """Hand over what the tap holds, and silence for what it refused meanwhile."""
        refused = self._refused() if self._overflowed else self._missing
        while pcm := self._read():
            self._call.add(pcm)
            if self._message is not None:
                self._message.add(callers_side(pcm))
        if refused > self._missing:
            frames = (refused - self._missing) * REFUSED
            self._call.skip(frames)
            if self._message is not None:
                self._message.skip(frames)
            self._missing, self._overflowed = refused, self._refused() > refused

    def blank(self, start_s: float, end_s: float) -> None:
        """Silence a stretch that was recorded already; seconds from the recording's beginning."""
        self.drain()
        self._call.blank(start_s, end_s)
        if self._message is not None:
            self._message.blank(start_s - self._message_from, end_s - self._message_from)

    def start_message(self, path: Path) -> None:
        """The caller's side goes to a mono file of its own as well, from now on. Raises StoreError."""
        self.stop_message()
        self.drain()
        self._message = self._recorder.open(path, channels=1)
        self._message_from = self._call.frames / self._recorder.rate

    def stop_message(self) -> None:
        """Finish the message's file; the recording goes on."""
        if self._message is not None:
            self.drain()
            self._message.close()
            self._message = None

    def close(self) -> None:
        """Finish both files."""
        self.stop_message()
        self.drain()
        self._call.close()
