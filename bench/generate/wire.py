"""Many datagrams in one system call: sendmmsg and recvmmsg on arrays that are prepared once."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
SLOT = 1536
CONTROL = 64
BATCH = 512
MOST = 1024  # messages one sendmmsg takes (UIO_MAXIOV)
TIMER_ABSTIME = 1
PR_SET_TIMERSLACK = 29

# struct mmsghdr and struct iovec of a 64-bit Linux
MESSAGE = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen", "control", "controllen", "flags", "size"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
PIECE = np.dtype([("at", "u8"), ("size", "u8")])

libc = ctypes.CDLL(None, use_errno=True)
for _call in (libc.sendmmsg, libc.recvmmsg):
    _call.restype = ctypes.c_int
libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
libc.recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
libc.clock_nanosleep.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


class Timer:
    """Sleeps until a time on CLOCK_MONOTONIC, without slack."""

    def __init__(self) -> None:
        libc.prctl(PR_SET_TIMERSLACK, 1)
        self._spec = (ctypes.c_int64 * 2)()
        self._at = ctypes.addressof(self._spec)

    def until(self, due: int) -> None:
        """Returns at `due` (ns) or, where that is past, at once."""
        self._spec[0], self._spec[1] = divmod(due, 1_000_000_000)
        libc.clock_nanosleep(time.CLOCK_MONOTONIC, TIMER_ABSTIME, self._at, None)


def real_time(priority: int) -> bool:
    """SCHED_FIFO for this thread; False where the system does not grant it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError:
        return False
    return True


def bound(ip: str = "127.0.0.1", buffer: int = 32 << 20) -> socket.socket:
    """A UDP socket with kernel receive times and as much of `buffer` octets as the system gives."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind((ip, 0))
    return sock


class Sender:
    """One message for each address; `pieces` says where each one's octets are and how many."""

    def __init__(self, sock: socket.socket, to: Sequence[tuple[str, int]]) -> None:
        self._fd = sock.fileno()
        n = len(to)
        names = b"".join(struct.pack("=H", socket.AF_INET) + port.to_bytes(2, "big") + socket.inet_aton(ip) + bytes(8)
                         for ip, port in to)  # fmt: skip
        self._names = np.frombuffer(names, np.uint8).copy()
        self.pieces = np.zeros(n, PIECE)
        self._messages = np.zeros(n, MESSAGE)
        self._messages["name"] = self._names.ctypes.data + 16 * np.arange(n)
        self._messages["namelen"] = 16
        self._messages["iov"] = self.pieces.ctypes.data + PIECE.itemsize * np.arange(n)
        self._messages["iovlen"] = 1
        self._at = self._messages.ctypes.data
        self.failed = 0

    def send(self, first: int, last: int) -> None:
        """Messages `first` up to `last`, not included. One that the kernel refuses is counted and left out."""
        while first < last:
            sent = libc.sendmmsg(self._fd, self._at + MESSAGE.itemsize * first, min(MOST, last - first), 0)
            if sent < 0:
                if ctypes.get_errno() == errno.EINTR:
                    continue
                self.failed += 1
                sent = 1
            first += sent


class Receiver:
    """Reads up to BATCH datagrams at once into `octets`; the other views say from where, when and how long."""

    def __init__(self, sock: socket.socket) -> None:
        self._fd = sock.fileno()
        self.octets = np.zeros((BATCH, SLOT), np.uint8)
        self._names = np.zeros((BATCH, 16), np.uint8)
        self._control = np.zeros((BATCH, CONTROL), np.uint8)
        self._pieces = np.zeros(BATCH, PIECE)
        self._pieces["at"] = self.octets.ctypes.data + SLOT * np.arange(BATCH)
        self._pieces["size"] = SLOT
        self._messages = np.zeros(BATCH, MESSAGE)
        self._messages["name"] = self._names.ctypes.data + 16 * np.arange(BATCH)
        self._messages["iov"] = self._pieces.ctypes.data + PIECE.itemsize * np.arange(BATCH)
        self._messages["iovlen"] = 1
        self._messages["control"] = self._control.ctypes.data + CONTROL * np.arange(BATCH)
        self._at = self._messages.ctypes.data
        self._reset(BATCH)
        self.ports: NDArray[np.uint16] = self._names.view(">u2")[:, 1]
        self.times: NDArray[np.int64] = self._control.view(np.int64)[:, 2:4]
        """Seconds and nanoseconds of CLOCK_REALTIME, behind the control message's header of 16 octets."""
        self.sizes: NDArray[np.uint32] = self._messages["size"]

    def _reset(self, n: int) -> None:
        self._messages["namelen"][:n] = 16
        self._messages["controllen"][:n] = CONTROL

    def receive(self) -> int:
        """How many datagrams were waiting, BATCH at most; never blocks."""
        n = libc.recvmmsg(self._fd, self._at, BATCH, socket.MSG_DONTWAIT, None)
        if n <= 0:
            return 0
        self._reset(n)
        return int(n)
