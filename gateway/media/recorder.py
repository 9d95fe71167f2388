"""Recordings: files that one thread writes, readable at any moment, even after kill -9.

The event loop hands sound over and never touches the disk. What waits for a slow disk is bounded for each recording:
beyond HELD_S the newest sound is left out, counted, and is silence of the same length in the file, so that its clock
stays true. What the disk refuses is silence too, and writing goes on when it takes data again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import WIRE_RATE
from gateway.core.errors import Mark, ModelMissing, StoreError, nearest
from gateway.media import libopus, recording_opus, recording_wav

log = logging.getLogger(__name__)

RATES = (8000, 16000)
"""Of recordings, Hz."""

HELD_S = 20.0
"""Sound of one recording that may wait for the disk; more than a leg's tap holds."""

OPEN_S = 0.5
"""How long a call waits for its file to be made."""

GATHER_S = 0.005
"""How long the writer leaves the processor to others before it looks again: many files are written in one go."""

CLOSE_S = 10.0
"""How long the end of the gateway waits for the disk."""


class File(Protocol):
    """A recording on its way to the disk. Methods raise OSError; what was refused is silence, counted in `lost`."""

    frames: int
    lost: int

    def append(self, pcm: bytes) -> None: ...
    def skip(self, frames: int) -> None: ...
    def blank(self, first: int, last: int) -> None: ...
    def close(self) -> None: ...


Prepared = Future[File]
"""A file that is being made."""


@dataclass(frozen=True, slots=True)
class Format:
    """How recordings are written, mended and read. `missing`: what is not installed for it, or nothing."""

    create: Callable[[Path, int, int], File]
    repair: Callable[[Path], float]
    read: Callable[[Path], tuple[int, NDArray[np.int16]]]
    missing: Callable[[], str] = str


FORMATS: Mapping[str, Format] = {
    recording_wav.SUFFIX: Format(recording_wav.WavFile, recording_wav.repair, recording_wav.read),
    recording_opus.SUFFIX: Format(recording_opus.OpusFile, recording_opus.repair, recording_opus.read, libopus.missing),
}
"""By the suffix of the file."""


def format_of(path: Path) -> Format:
    """The format that a file's name tells. Raises StoreError."""
    if path.suffix not in FORMATS:
        near = nearest(path.suffix, FORMATS)
        raise StoreError("No recording is called so.", where=Mark(str(path)), expected=", ".join(FORMATS), near=near)
    return FORMATS[path.suffix]


def repair(path: Path) -> float:
    """Make a recording that a crash cut off whole; gives its seconds. Raises StoreError."""
    return format_of(path).repair(path)


def read_recording(path: Path) -> tuple[int, NDArray[np.int16]]:
    """Sampling rate and int16 frames (n, channels): the caller's side first. Raises StoreError."""
    form = format_of(path)
    try:
        return form.read(path)
    except (OSError, ValueError) as error:
        raise StoreError("A recording can't be read.", where=Mark(str(path)), read=str(error)) from None


@dataclass(frozen=True, slots=True)
class Skip:
    """Silence in place of frames that were lost."""

    frames: int


@dataclass(frozen=True, slots=True)
class Blank:
    """Frames `first` up to `last` (not included) become silence."""

    first: int
    last: int


Item = bytes | Skip | Blank | None
"""What the writer's thread is handed: frames, their absence, a stretch to silence, or the end of the file."""


class Recording:
    """One file being written. `frames` counts those handed over, `lost` those that are silence because they could not
    be written. What follows them belongs to the Recorder."""

    def __init__(
        self, path: Path, file: File, rate: int, channels: int, post: Callable[[Recording, Item], None]
    ) -> None:
        self.path = path
        self.rate = rate
        self.channels = channels
        self.frames = 0
        self.lost = 0
        self._post = post
        self.file = file
        self.waiting: deque[Item] = deque()
        self.held = 0
        self.busy = False
        self.failed = False
        self.owed: list[Blank] = []

    @property
    def width(self) -> int:
        """Bytes a frame."""
        return 2 * self.channels

    def add(self, pcm: bytes) -> None:
        """Write int16 frames of the recording's own rate and channels."""
        if pcm:
            self.frames += len(pcm) // self.width
            self._post(self, pcm)

    def skip(self, frames: int) -> None:
        """Frames were lost on their way here: silence of that length."""
        if frames > 0:
            self.frames += frames
            self._post(self, Skip(frames))

    def blank(self, start_s: float, end_s: float) -> None:
        """Silence what was recorded between two times, in seconds from the beginning of the file."""
        first, last = (round(max(0.0, at) * self.rate) for at in (start_s, end_s))
        if first < (last := min(last, self.frames)):
            self._post(self, Blank(first, last))

    def close(self) -> None:
        """Nothing more will come."""
        self._post(self, None)


class Recorder:
    """All recordings of a gateway, 8000 or 16000 Hz. `failed` counts recordings that lost sound, `lost_s` how much;
    `trouble` says why recordings lose sound just now. Raises ModelMissing where a format can't be used."""

    def __init__(self, suffix: str = recording_wav.SUFFIX, rate: int = WIRE_RATE) -> None:
        if why := format_of(Path("recording").with_suffix(suffix)).missing():
            raise ModelMissing(f"Recordings can't be written as {suffix[1:]}.", read=why)
        self.suffix = suffix
        self.rate = rate
        self.failed = 0
        self.lost_s = 0.0
        self.trouble: str | None = None
        self._work = threading.Lock()
        self._due = threading.Event()
        self._opening: deque[tuple[Prepared, Path, int]] = deque()
        self._ready: deque[Recording] = deque()
        self._live: set[Recording] = set()
        self._ailing: set[Recording] = set()
        self._thread: threading.Thread | None = None
        self._closing = False

    def prepare(self, path: Path, channels: int = 2) -> Prepared:
        """Have a file made that `open` or `abandon` will be asked for soon. Raises StoreError where `path` names no
        format."""
        format_of(path)
        future: Prepared = Future()
        with self._work:
            if self._thread is None:
                self._closing = False
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()
            self._opening.append((future, path, channels))
        self._wake()
        return future

    def abandon(self, prepared: Prepared, path: Path) -> None:
        """What was prepared is not wanted."""
        if not prepared.cancel():
            prepared.add_done_callback(lambda late: _abandon(late, path))

    def open(self, path: Path, channels: int = 2, prepared: Prepared | None = None) -> Recording:
        """Start a file, which `prepared` has made already. Waits OPEN_S at most. Raises StoreError where it can't be
        made."""
        future = prepared or self.prepare(path, channels)
        try:
            file = future.result(OPEN_S if self.trouble is None else OPEN_S / 10)
        except OSError as error:  # TimeoutError is one
            self.abandon(future, path)
            raise StoreError(
                "A recording can't be written.",
                where=Mark(str(path)),
                read=error.strerror or "the disk does not answer",
                do="check the data folder's owner and free space",
            ) from None
        recording = Recording(path, file, self.rate, channels, self._post)
        with self._work:
            self._live.add(recording)
        return recording

    def close(self) -> None:
        """Write what waits and end the thread. Blocks for the disk, CLOSE_S at most."""
        with self._work:
            thread, self._thread = self._thread, None
            self._closing = True
        self._due.set()
        if thread is not None:
            thread.join(CLOSE_S)
            if thread.is_alive():
                log.error("Recordings were left unfinished", extra={"fields": {"recordings": len(self._live)}})

    # --- handing over ---------------------------------------------------------------------------------------------

    def _post(self, recording: Recording, item: Item) -> None:
        with self._work:
            if recording not in self._live:
                return
            waiting = recording.waiting
            if isinstance(item, bytes) and recording.held + len(item) > HELD_S * recording.rate * recording.width:
                item = Skip(len(item) // recording.width)
                self._ails(recording, item.frames, "the disk is too slow")
            if isinstance(item, Skip) and waiting and isinstance(before := waiting[-1], Skip):
                waiting[-1] = Skip(before.frames + item.frames)
                return
            if isinstance(item, bytes):
                recording.held += len(item)
            if not waiting and not recording.busy:
                self._ready.append(recording)
            waiting.append(item)
        self._wake()

    def _ails(self, recording: Recording, frames: int, why: str) -> None:
        self.failed += not recording.failed
        recording.failed = True
        recording.lost += frames
        self.lost_s += frames / recording.rate
        if not self._ailing:
            log.error(
                "Recordings can't be written; what is missing is silence in them",
                extra={"fields": {"path": str(recording.path), "why": why}},
            )
        self._ailing.add(recording)
        self.trouble = why

    def _heals(self, recording: Recording) -> None:
        self._ailing.discard(recording)
        if self.trouble is not None and not self._ailing:
            self.trouble = None
            log.warning(
                "Recordings lost sound",
                extra={"fields": {"recordings": self.failed, "seconds": round(self.lost_s, 1)}},
            )

    # --- the writer's thread --------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._due.is_set():
            self._due.set()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            closing = self._closing
            while self._step():
                pass
            if closing:
                self._finish()
                return
            time.sleep(GATHER_S)

    def _step(self) -> bool:
        """One file opened or one item written; False where nothing waits."""
        with self._work:
            opening = self._opening.popleft() if self._opening else None
            recording = self._ready.popleft() if self._ready and opening is None else None
            if recording is not None:
                recording.busy = True
                item = recording.waiting.popleft()
        if opening is not None:
            self._open(*opening)
        elif recording is not None:
            self._carry_out(recording, item)
        return opening is not None or recording is not None

    def _open(self, future: Prepared, path: Path, channels: int) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            future.set_result(FORMATS[path.suffix].create(path, self.rate, channels))
        except OSError as error:
            future.set_exception(error)

    def _carry_out(self, recording: Recording, item: Item) -> None:
        error = None
        before = recording.file.lost
        try:
            for blank in recording.owed if item is None else ():
                _write(recording.file, blank)
            recording.owed = [] if item is None else recording.owed
        except OSError as refused:
            error = refused
        try:
            _write(recording.file, item)
        except OSError as refused:
            error = refused
        with self._work:
            self._carried_out(recording, item, error, recording.file.lost - before)

    def _carried_out(self, recording: Recording, item: Item, error: OSError | None, lost: int) -> None:
        if isinstance(item, bytes):
            recording.held -= len(item)
        if error is not None:
            self._ails(recording, lost, error.strerror or str(error))
            if isinstance(item, Blank):
                recording.owed.append(item)
        recording.busy = False
        if recording.waiting:
            self._ready.append(recording)
        if item is None:
            self._live.discard(recording)
            if recording.owed:
                log.error("A recording holds what should be silenced", extra={"fields": {"path": str(recording.path)}})
        if item is None or (error is None and not recording.waiting):
            self._heals(recording)

    def _finish(self) -> None:
        """The gateway ends: what was not closed is closed now."""
        for recording in list(self._live):
            with contextlib.suppress(OSError):
                recording.file.close()
        self._live.clear()


def _write(file: File, item: Item) -> None:
    match item:
        case bytes():
            file.append(item)
        case Skip(frames):
            file.skip(frames)
        case Blank(first, last):
            file.blank(first, last)
        case None:
            file.close()


def _abandon(future: Prepared, path: Path) -> None:
    """A file that was made too late for its call."""
    if future.exception() is None:
        with contextlib.suppress(OSError):
            future.result().close()
            path.unlink()
