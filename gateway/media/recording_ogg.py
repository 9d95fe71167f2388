"""Ogg pages (RFC 3533) whose packets end on the page they begin on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HEADER_BYTES = 27

FIRST, LAST = 2, 4
"""Header type flags of a stream's first and last page."""

_HEADER = struct.Struct("<4sBBqIIIB")
_REVERSED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def checksum(data: bytes) -> int:
    """CRC-32 of a page whose own checksum field is zero: polynomial 04c11db7, most significant bit first, from 0."""
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_REVERSED), "big")


@dataclass(frozen=True, slots=True)
class Page:
    """`granule`: samples up to the end of its last packet; `number`: pages of the stream before it."""

    serial: int
    number: int
    granule: int
    packets: Sequence[bytes]
    flags: int = 0

    def octets(self) -> bytes:
        """As in a file. Raises ValueError for more than 255 lacing values."""
        lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in self.packets)
        if len(lacing) > 255:
            raise ValueError(f"{len(lacing)} lacing values on a page")
        head = _HEADER.pack(b"OggS", 0, self.flags, self.granule, self.serial, self.number, 0, len(lacing))
        whole = b"".join((head, lacing, *self.packets))
        return whole[:22] + checksum(whole).to_bytes(4, "little") + whole[26:]


def pages(data: bytes) -> Iterator[tuple[int, Page]]:
    """The whole pages at the front of `data`, each with where it begins; what is damaged or cut off ends it."""
    at = 0
    while at + HEADER_BYTES <= len(data):
        magic, version, flags, granule, serial, number, crc, count = _HEADER.unpack_from(data, at)
        lacing = data[at + HEADER_BYTES : at + HEADER_BYTES + count]
        body = at + HEADER_BYTES + count
        end = body + sum(lacing)
        if magic != b"OggS" or version != 0 or len(lacing) < count or end > len(data):
            return
        if checksum(data[at : at + 22] + bytes(4) + data[at + 26 : end]) != crc:
            return
        yield at, Page(serial, number, granule, _split(data[body:end], lacing), flags)
        at = end


def _split(body: bytes, lacing: bytes) -> tuple[bytes, ...]:
    packets, start, at = [], 0, 0
    for value in lacing:
        at += value
        if value < 255:
            packets.append(body[start:at])
            start = at
    return tuple(packets)
