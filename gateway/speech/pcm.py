"""One utterance's sound in shared memory: written by the gateway, read by a recognizer's process."""

from __future__ import annotations

import sys
from multiprocessing import resource_tracker, shared_memory


class PcmBlock:
    """`samples` of 16 kHz int16; `written` grows as the caller speaks. The writer closes and removes it."""

    def __init__(self, samples: int) -> None:
        self._memory = shared_memory.SharedMemory(create=True, size=samples * 2)
        self._view = view(self._memory)
        self.samples = samples
        self.written = 0

    @property
    def name(self) -> str:
        return self._memory.name

    def append(self, pcm: bytes) -> int:
        """Add int16 bytes; what goes past the end is left out. Returns samples added."""
        start = self.written * 2
        taken = pcm[: self.samples * 2 - start]
        self._view[start : start + len(taken)] = taken
        self.written += len(taken) // 2
        return len(taken) // 2

    def read(self, start: int, stop: int) -> bytes:
        """Samples from `start` up to `stop`, as bytes."""
        return bytes(self._view[start * 2 : stop * 2])

    def close(self) -> None:
        """Remove it; readers that have it mapped keep their view."""
        self._view.release()
        self._memory.close()
        self._memory.unlink()


class PcmReader:
    """The same sound in another process."""

    def __init__(self, name: str) -> None:
        self._memory = attach(name)
        self._view = view(self._memory)

    def read(self, start: int, stop: int) -> bytes:
        return bytes(self._view[start * 2 : stop * 2])

    def close(self) -> None:
        self._view.release()
        self._memory.close()


def attach(name: str) -> shared_memory.SharedMemory:
    """Map a block without becoming its owner: before Python 3.13 a reader's end would remove it
    (python/cpython#82300).
    """
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name=name, track=False)
    register = resource_tracker.register
    resource_tracker.register = lambda *_: None
    try:
        return shared_memory.SharedMemory(name=name)
    finally:
        resource_tracker.register = register


def view(memory: shared_memory.SharedMemory) -> memoryview:
    """The block's bytes."""
    if memory.buf is None:
        raise ValueError("the shared memory is closed")
    return memory.buf[:]
