"""Recordings as Ogg Opus (RFC 7845). All packets hold 20 ms and have one size, so have all pages: where a moment lies
follows from its number, as in a WAV. A page goes to the disk each half second; a stretch that is to be silent has its
packets replaced in place by packets of silence and its pages' checksums made anew."""

from __future__ import annotations

import functools
import os
import random
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.core.errors import Mark, StoreError
from gateway.media.libopus import FRAMES_A_SECOND, Decoder, Encoder
from gateway.media.recording_ogg import FIRST, HEADER_BYTES, LAST, Page, pages

SUFFIX = ".opus"

CLOCK = 48000
"""Granule positions count samples of this rate whatever the sound's own (RFC 7845 section 4)."""

TICK = CLOCK // FRAMES_A_SECOND

PAGE = 25
"""Packets on a page: half a second."""

OCTETS = 40
"""A packet's size for each channel: 16 kbit/s."""

COMPLEXITY = 1
"""Of libopus: 0.09 ms of CPU for 20 ms of stereo; 5 takes 2.5 times that."""

VENDOR = b"trunkline"

_HEAD = struct.Struct("<8sBBHIhB")


def head_packet(rate: int, channels: int, skip: int) -> bytes:
    """The identification header (RFC 7845 section 5.1); `skip`: samples of 48 kHz to leave out at the beginning."""
    return _HEAD.pack(b"OpusHead", 1, channels, skip, rate, 0, 0)


def tags_packet() -> bytes:
    """The comment header (RFC 7845 section 5.2), without comments."""
    return b"OpusTags" + len(VENDOR).to_bytes(4, "little") + VENDOR + bytes(4)


class OpusFile:
    """A recording being written. Methods raise OSError; a page that the disk refused is silence, later ones keep their
    place. `lost` counts frames of refused pages. Raises ModelMissing without libopus."""

    def __init__(self, path: Path, rate: int, channels: int = 2) -> None:
        self.frames = 0
        self.lost = 0
        self._encoder = Encoder(rate, channels, OCTETS * channels, COMPLEXITY)
        self._step = rate // FRAMES_A_SECOND
        self._width = 2 * channels
        self._skip = self._encoder.lookahead * (CLOCK // rate)
        self._silence = _silence(rate, channels)
        self._serial = random.getrandbits(32)
        self._pcm = bytearray()  # less than a packet
        self._packets: list[bytes] = []  # less than a page
        self._page = 0  # pages complete
        self._there = 0  # pages on the disk
        self._muted = 0  # packets before this one are silence
        heads = (head_packet(rate, channels, self._skip), FIRST), (tags_packet(), 0)
        octets = b"".join(Page(self._serial, n, 0, (head,), flags).octets() for n, (head, flags) in enumerate(heads))
        self._first = len(octets)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            self._write(octets, 0)
        except OSError:
            os.close(self._fd)
            path.unlink(missing_ok=True)
            raise

    def append(self, pcm: bytes) -> None:
        """Add int16 frames."""
        self.frames += len(pcm) // self._width
        self._pcm += pcm
        size = self._step * self._width
        for at in range(0, len(self._pcm) - size + 1, size):
            self._encode(bytes(self._pcm[at : at + size]))
        del self._pcm[: len(self._pcm) // size * size]
        self._settle()

    def skip(self, frames: int) -> None:
        """Add silence. Whole pages of it are written with the next page that has sound."""
        half = PAGE * self._step
        while frames:
            if frames >= half and not self._pcm and not self._packets:
                step = frames // half * half
                self._page += frames // half
                self.frames += step
            elif frames >= self._step and not self._pcm:
                step = self._step
                self.frames += step
                self._packets.append(self._silence)
                self._settle(PAGE - 1 if frames > half else PAGE)
            else:
                step = min(frames, self._step - len(self._pcm) // self._width)
                self.append(bytes(step * self._width))
            frames -= step
        self._encoder.reset()

    def blank(self, first: int, last: int) -> None:
        """Frames `first` up to `last` (not included) become silence, for good: their packets, and the two after them,
        which still hold some of it."""
        start, end = first // self._step, -(-last // self._step) + 2
        self._muted = max(self._muted, end)
        done = self._page * PAGE
        for at in range(max(start, done), min(end, done + len(self._packets))):
            self._packets[at - done] = self._silence
        for number in range(start // PAGE, min(-(-end // PAGE), self._there)):
            self._silence_page(number, max(start - number * PAGE, 0), min(end - number * PAGE, PAGE))

    def close(self) -> None:
        """What is left, and a last page that says where the sound ends."""
        granule = self._skip + self.frames * TICK // self._step
        left = bytes(self._pcm).ljust(self._step * self._width, b"\0")
        try:
            while (self._page * PAGE + len(self._packets)) * TICK < granule:
                self._encode(left)
                left = bytes(len(left))
            try:
                self._settle()
            finally:
                self._flush(self._packets, granule, LAST)
        finally:
            os.close(self._fd)

    # --- pages ----------------------------------------------------------------------------------------------------

    def _encode(self, pcm: bytes) -> None:
        packet = self._encoder.packet(pcm)
        number = self._page * PAGE + len(self._packets)
        self._packets.append(self._silence if number < self._muted else packet)

    def _settle(self, beyond: int = PAGE) -> None:
        """Full pages go to the disk once a packet follows them, so that one is left for the last page."""
        refused = None
        while len(self._packets) > beyond:
            packets, self._packets = self._packets[:PAGE], self._packets[PAGE:]
            try:
                self._flush(packets, (self._page + 1) * PAGE * TICK)
            except OSError as error:
                refused = error
        if refused is not None:
            raise refused

    def _flush(self, packets: Sequence[bytes], granule: int, flags: int = 0) -> None:
        number = self._page
        self._page += 1
        try:
            for missing in range(self._there, number):
                self._put(missing, [self._silence] * PAGE, (missing + 1) * PAGE * TICK)
            self._put(number, packets, granule, flags)
        except OSError:
            self.lost += len(packets) * self._step
            raise

    def _put(self, number: int, packets: Sequence[bytes], granule: int, flags: int = 0) -> None:
        self._write(Page(self._serial, 2 + number, granule, packets, flags).octets(), self._place(number))
        self._there = number + 1

    def _silence_page(self, number: int, first: int, last: int) -> None:
        data = os.pread(self._fd, self._page_bytes, self._place(number))
        ((_, page),) = pages(data)
        packets = list(page.packets)
        packets[first:last] = [self._silence] * len(packets[first:last])
        self._write(Page(page.serial, page.number, page.granule, packets, page.flags).octets(), self._place(number))

    @property
    def _page_bytes(self) -> int:
        return HEADER_BYTES + PAGE + PAGE * len(self._silence)

    def _place(self, number: int) -> int:
        return self._first + number * self._page_bytes

    def _write(self, data: bytes, at: int) -> None:
        view = memoryview(data)
        while view:  # a full disk may take a part only
            taken = os.pwrite(self._fd, view, at)
            at += taken
            view = view[taken:]


@functools.cache
def _silence(rate: int, channels: int) -> bytes:
    """A packet of silence as it comes after other silence."""
    encoder = Encoder(rate, channels, OCTETS * channels, COMPLEXITY)
    nothing = bytes(rate // FRAMES_A_SECOND * channels * 2)
    for _ in range(10):
        packet = encoder.packet(nothing)
    return packet


def _stream(data: bytes) -> tuple[int, int, int, list[tuple[int, Page]]]:
    """(rate, channels, samples to leave out, pages with their places). Raises ValueError for another kind of file."""
    found = list(pages(data))
    if not found or not found[0][1].packets or not found[0][1].packets[0].startswith(b"OpusHead"):
        raise ValueError("not an Ogg Opus file")
    _, version, channels, skip, rate, _, mapping = _HEAD.unpack_from(found[0][1].packets[0])
    if version >> 4 or mapping or channels not in (1, 2):
        raise ValueError("an Ogg Opus file of another kind than recordings are")
    return rate if rate in (8000, 16000) else 16000, channels, skip, found[2:]


def repair(path: Path) -> float:
    """Cut a half page off the end and mark the last whole one as the last; gives the seconds. Raises StoreError."""
    try:
        data = path.read_bytes()
        if not data:
            return 0.0
        _, _, skip, found = _stream(data)
        if not found:
            return 0.0
        at, last = found[-1]
        ended = Page(last.serial, last.number, last.granule, last.packets, last.flags | LAST).octets()
        with path.open("r+b") as file:
            file.seek(at)
            file.write(ended)
            file.truncate()
    except ValueError as error:
        raise StoreError("This is not a recording.", where=Mark(str(path)), read=str(error)) from None
    except OSError as error:
        raise StoreError("A recording can't be repaired.", where=Mark(str(path)), read=str(error.strerror)) from None
    return max(last.granule - skip, 0) / CLOCK


def read(path: Path) -> tuple[int, NDArray[np.int16]]:
    """Rate in Hz and int16 frames (n, channels); all that is there, also while the file is being written.

    Raises OSError, ValueError for another kind of file, and ModelMissing without libopus."""
    rate, channels, skip, found = _stream(path.read_bytes())
    decoder = Decoder(rate, channels)
    sound = [decoder.sound(packet) for _, page in found for packet in page.packets]
    whole = np.concatenate([np.zeros((0, channels), np.int16), *sound])
    granule = found[-1][1].granule if found else skip
    first, last = skip * rate // CLOCK, granule * rate // CLOCK
    return rate, whole[first:last]
