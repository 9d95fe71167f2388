"""Identifiers. Call ids are UUIDv7 (RFC 9562 section 5.7): they sort by time and are unique across nodes."""

from __future__ import annotations

import os
import socket
import time


def uuid7(unix_ms: int | None = None) -> str:
    """A new UUIDv7 as 36 lower-case characters; `unix_ms` (milliseconds since 1970) is for tests."""
    ms = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    luck = int.from_bytes(os.urandom(10), "big")
    value = (ms & (1 << 48) - 1) << 80 | 0x7 << 76 | (luck >> 64 & 0xFFF) << 64 | 0b10 << 62 | luck & (1 << 62) - 1
    h = f"{value:032x}"
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def node_id() -> str:
    """This gateway node's name: TRUNKLINE_NODE, or the host's name."""
    return os.environ.get("TRUNKLINE_NODE") or socket.gethostname()
