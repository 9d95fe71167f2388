# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The engine's datagrams for Python: tests and benchmarks of `native/io.pyx`."""

import os
import socket
import statistics
import time
from functools import cache

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from native.clib cimport CLOCK_MONOTONIC, TIMER_ABSTIME, clock_nanosleep, now_ns, timespec
from native.io cimport (
    IO_PLAIN, IO_URING, ROOM, Io, io_close, io_connect, io_flush, io_forget, io_open, io_poll, io_room, io_send, io_watch,
)
from native.net cimport Address, address_fill, address_same

from native.net import text_of
from native.uring import uring_refused

SOCKETS = 40
"""What a sub-tick serves when an engine carries 800 legs."""

ROUNDS = 20
WORTH = 0.95
"""io_uring is taken where it needs at most so much of what plain calls need."""


@cache
def costs():
    """{kind: ns for a packet in and one out} on loopback, of the kinds this kernel has. Some 20 ms, once a process.

    Raises OSError where 127.0.0.1 has no sockets to give.
    """
    peer = udp()
    loops = {kind: (IoLoop(kind, 40 * SOCKETS), [udp() for _ in range(SOCKETS)]) for kind in kinds()}
    taken = {kind: [] for kind in loops}
    for loop, socks in loops.values():
        for k, sock in enumerate(socks):
            loop.watch(40 * k, sock.fileno())
    for _ in range(ROUNDS):
        for kind, (loop, socks) in loops.items():
            for sock in socks:
                peer.sendto(bytes(172), sock.getsockname())
            began = time.thread_time_ns()
            answered = loop.echo(0.001, connects=True, paced=False)
            taken[kind].append((time.thread_time_ns() - began) / max(1, answered))
            for _ in range(answered):
                peer.recv(ROOM)
    for sock in [peer, *(sock for _, socks in loops.values() for sock in socks)]:
        sock.close()
    return {kind: statistics.median(values) for kind, values in taken.items()}


def kinds():
    """The kinds of loop this kernel has."""
    return ("plain",) if uring_refused() else ("plain", "uring")


def cheapest():
    """The kind to take: "uring" where it is clearly cheaper than "plain", measured here."""
    if len(kinds()) == 1:
        return "plain"
    try:
        found = costs()
    except OSError:
        return "plain"
    return "uring" if found["uring"] < WORTH * found["plain"] else "plain"


def udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("127.0.0.1", 0))
    return sock


cdef struct Heard:          # one packet, in a list that grows
    uint32_t tag
    int n
    int64_t at
    Address source
    uint8_t octets[ROOM]

cdef struct Pile:
    Heard *heard
    int n
    int room


cdef void keep(void *owner, uint32_t tag, const uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil:
    cdef Pile *pile = <Pile *>owner
    cdef Heard *more
    if pile.n == pile.room:
        more = <Heard *>realloc(pile.heard, (2 * pile.room + 64) * sizeof(Heard))
        if more == NULL:
            return
        pile.heard = more
        pile.room = 2 * pile.room + 64
    pile.heard[pile.n].tag = tag
    pile.heard[pile.n].n = n
    pile.heard[pile.n].at = now
    pile.heard[pile.n].source = source[0]
    memcpy(pile.heard[pile.n].octets, octets, n)
    pile.n += 1


cdef struct Echo:
    Io *io
    bint connects
    int64_t answered


cdef void answer(void *owner, uint32_t tag, const uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil:
    cdef Echo *echo = <Echo *>owner
    if n == 1:
        io_forget(echo.io, tag)
        return
    memcpy(io_room(echo.io), octets, n)
    io_send(echo.io, tag, n, source)
    if echo.connects and not address_same(&echo.io.tags[tag].peer, source):
        io_connect(echo.io, tag, source)
    echo.answered += 1


cdef void echo_run(Echo *echo, int64_t ticks, bint paced) noexcept nogil:
    cdef int64_t due = now_ns(), number
    cdef timespec until
    for number in range(ticks):
        due += 1000000
        if paced:
            until.tv_sec = due // 1000000000
            until.tv_nsec = due % 1000000000
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)
        io_poll(echo.io, number, now_ns(), echo, answer)
        io_flush(echo.io)


cdef class IoLoop:
    """The engine's datagram loop by itself, for tests and benchmarks. All calls from one thread."""

    cdef Io io
    cdef Pile pile
    cdef readonly list arrivals
    """CLOCK_MONOTONIC in ns of each packet the last `poll` gave."""

    def __init__(self, str kind="plain", int max_tags=1024):
        """`kind`: "plain" or "uring". Raises OSError where the kernel refuses it, ValueError for another kind."""
        cdef int failed
        if kind not in ("plain", "uring"):
            raise ValueError(f"{kind!r} is not a kind of loop: expected 'plain' or 'uring'")
        io_close(&self.io)
        self.arrivals = []
        failed = io_open(&self.io, IO_URING if kind == "uring" else IO_PLAIN, max_tags)
        if failed:
            raise OSError(-failed, os.strerror(-failed))

    def __dealloc__(self):
        io_close(&self.io)
        free(self.pile.heard)

    def close(self):
        """Nothing is watched any more; the sockets stay open. May be called twice."""
        io_close(&self.io)

    def watch(self, uint32_t tag, int fd):
        """Raises OSError where the tag is out of range or in use."""
        cdef int failed = io_watch(&self.io, tag, fd)
        if failed:
            raise OSError(-failed, os.strerror(-failed))

    def connect(self, uint32_t tag, str ip="", int port=0):
        """Only `ip` and `port` are heard, and sends to them get cheaper; without an address all are heard again.

        Raises OSError where the tag is not watched or the kernel refuses.
        """
        cdef Address to
        cdef int failed
        to.size = 0
        if ip:
            address_fill(&to, ip, port)
        failed = io_connect(&self.io, tag, &to)
        if failed:
            raise OSError(-failed, os.strerror(-failed))

    def forget(self, uint32_t tag):
        io_forget(&self.io, tag)

    def poll(self, int64_t number):
        """What sub-tick `number` reads: a list of (tag, octets, (ip, port))."""
        cdef Heard *h
        cdef int k
        self.pile.n = 0
        self.arrivals = []
        with nogil:
            io_poll(&self.io, number, now_ns(), &self.pile, keep)
        out = []
        for k in range(self.pile.n):
            h = &self.pile.heard[k]
            self.arrivals.append(h.at)
            out.append((h.tag, (<char *>h.octets)[:h.n], text_of((<char *>h.source.octets)[:h.source.size])))
        return out

    def send(self, uint32_t tag, const uint8_t[::1] octets not None, str ip, int port):
        """Queues one packet of 1..2048 octets."""
        cdef Address to
        address_fill(&to, ip, port)
        if self.io.outbox.rooms == NULL:
            raise ValueError("the loop is closed")
        if not 1 <= octets.shape[0] <= ROOM:
            raise ValueError(f"a packet has 1 to {ROOM} octets, not {octets.shape[0]}")
        memcpy(io_room(&self.io), &octets[0], octets.shape[0])
        io_send(&self.io, tag, <int>octets.shape[0], &to)

    def flush(self):
        """Gives the sends that failed so far."""
        return io_flush(&self.io)

    @property
    def kind(self):
        """"plain" or "uring": what is in use now."""
        return "uring" if self.io.kind == IO_URING else "plain"

    def echo(self, double seconds, bint connects=False, bint paced=True):
        """Sub-ticks of 1 ms in which every packet goes back where it came from, and one of a single octet makes its tag
        forgotten. `connects`: sockets are connected to whoever they answer; not `paced`: nothing sleeps. Gives how many
        packets were answered.
        """
        cdef Echo echo = Echo(&self.io, connects, 0)
        with nogil:
            echo_run(&echo, <int64_t>(seconds * 1000), paced)
        return echo.answered

    def counters(self):
        """Packets received, sent, failed to leave, truncated; errors that receives reported; reads a flood filled."""
        return self.io.counted
