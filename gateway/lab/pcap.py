"""SIP messages as a pcap file that Wireshark and tcpdump read: raw IPv4 and IPv6 packets, UDP or TCP.

What went over TLS or WebSocket is written as plain TCP from port 5060 or to it, since no dissector would find SIP on
their own ports without the wrapping that was taken off.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.observe.trace_files import Address, Line

MAGIC = 0xA1B2C3D4
RAW = 101
"""LINKTYPE_RAW: each packet begins with its IP header."""
_SNAP = 262_144
_UDP, _TCP = 17, 6
_SYN, _ACK, _PSH = 0x02, 0x10, 0x08
_TTL = 64
_SEGMENT = 65_000
_WRAPPED = ("tls", "ws", "wss")


@dataclass(slots=True)
class _Stream:
    """A TCP connection as far as a file needs one: the next sequence number of each side."""

    client: int = 1
    server: int = 1


class _Packets:
    def __init__(self) -> None:
        self.made: list[tuple[float, bytes]] = []
        self._streams: dict[tuple[Address, Address], _Stream] = {}

    def add(self, line: Line) -> None:
        local = (line.local[0], 5060) if line.transport in _WRAPPED else line.local
        source, target = (local, line.peer) if line.sent else (line.peer, local)
        if line.transport == "udp":
            head = struct.pack("!HHHH", source[1], target[1], 8 + len(line.data), 0)
            self._put(line.at, source, target, _UDP, head, line.data, 6)
            return
        known = (target, source) in self._streams
        key = (target, source) if known else (source, target)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream()
            self._open(line.at, source, target)
        for start in range(0, len(line.data), _SEGMENT):
            part = line.data[start : start + _SEGMENT]
            seq, ack = (stream.server, stream.client) if known else (stream.client, stream.server)
            self._segment(line.at, source, target, seq, ack, _PSH | _ACK, part)
            if known:
                stream.server += len(part)
            else:
                stream.client += len(part)

    def _open(self, at: float, client: Address, server: Address) -> None:
        self._segment(at, client, server, 0, 0, _SYN)
        self._segment(at, server, client, 0, 1, _SYN | _ACK)
        self._segment(at, client, server, 1, 1, _ACK)

    def _segment(
        self, at: float, source: Address, target: Address, seq: int, ack: int, flags: int, data: bytes = b""
    ) -> None:
        whole = 0xFFFFFFFF
        head = struct.pack("!HHIIBBHHH", source[1], target[1], seq & whole, ack & whole, 5 << 4, flags, 65535, 0, 0)
        self._put(at, source, target, _TCP, head, data, 16)

    def _put(
        self, at: float, source: Address, target: Address, protocol: int, head: bytes, data: bytes, checksum_at: int
    ) -> None:
        """One IP packet; the checksum of its UDP or TCP header stands `checksum_at` octets into it."""
        one, two = ipaddress.ip_address(source[0]), ipaddress.ip_address(target[0])
        size = len(head) + len(data)
        pseudo = one.packed + two.packed + struct.pack("!IHBB", size, 0, 0, protocol)
        checksum = _checksum(pseudo + head + data) or 0xFFFF
        head = head[:checksum_at] + struct.pack("!H", checksum) + head[checksum_at + 2 :]
        if one.version == 6:
            ip = struct.pack("!IHBB", 6 << 28, size, protocol, _TTL) + one.packed + two.packed
        else:
            parts = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, 0x4000, _TTL, protocol)
            addresses = one.packed + two.packed
            ip = parts + struct.pack("!H", _checksum(parts + b"\0\0" + addresses)) + addresses
        self.made.append((at, ip + head + data))


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pcap(lines: Iterable[Line]) -> bytes:
    """The file. Messages of 65,000 octets and more over UDP are cut."""
    packets = _Packets()
    for line in lines:
        packets.add(line)
    out = [struct.pack("!IHHiIII", MAGIC, 2, 4, 0, 0, _SNAP, RAW)]
    for at, packet in packets.made:
        seconds, micros = divmod(round(at * 1e6), 1_000_000)
        out.append(struct.pack("!IIII", seconds, micros, len(packet), len(packet)) + packet)
    return b"".join(out)
