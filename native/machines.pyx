# cython: language_level=3
"""Native threads: started, commanded, stopped. Called from one Python thread; never blocks but in `stop`."""

import heapq
import os
import threading

import numpy as np

from libc.stdint cimport int64_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native.clib cimport (
    ACQUIRE, EFD_CLOEXEC, EFD_NONBLOCK, MADV_HUGEPAGE, RELEASE, eventfd, load32, madvise, now_ns, posix_memalign, store32,
)
from native.codec cimport coder_close
from native.desk cimport Event
from native.io cimport IO_PLAIN, IO_URING, io_close, io_open
from native.leg cimport LEG_FREE, LEG_GONE, Leg
from native.loop cimport BUCKETS, Command, Machine, machine_run, obey
from native.playout cimport Prompt
from native.rings cimport ring_close, ring_open, ring_put, ring_room, ring_take
from native.room cimport Link, Room
from native.srtp cimport Srtp, srtp_destroy
from native.vad cimport vad_close, vad_open

from native.ioloop import cheapest

cdef enum:
    MAX_PROMPTS = 16384
    EVENTS = 8192
    COMMANDS = 1024
    GRAVES = 16384
    UP_SAMPLES = 65536          # 4.1 s at 16 kHz
    DOWN_SAMPLES = 32768        # 4.1 s at 8 kHz
    TAP_SAMPLES = 65536         # 8.2 s at 8 kHz, pairs
    BLOCK = 2097152             # a large page

IO = {"plain": IO_PLAIN, "uring": IO_URING}


class EngineError(Exception):
    """The engine refused: a stale handle, a bad argument, no free leg, or a full command ring."""


cdef class Machines:
    """`threads` media threads that share prompts and an eventfd. A leg's handle is slot + generation; slot s stands on thread
    s % threads."""

    def __cinit__(self, max_legs=256, seed=0, vad_mode=3, threads=1, io="auto"):
        cdef int k
        if not 1 <= max_legs <= 32768 or not 0 <= vad_mode <= 3 or not 1 <= threads <= 64:
            raise EngineError("max_legs must be 1..32768, vad_mode 0..3 and threads 1..64")
        if io not in ("auto", "plain", "uring"):
            raise EngineError(f"io must be auto, plain or uring, not {io!r}")
        self.threads = threads
        self.max_legs = max_legs
        self.vad_mode = vad_mode
        self.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        self.prompts = <Prompt *>calloc(MAX_PROMPTS, sizeof(Prompt))
        self.machines = <Machine **>calloc(threads, sizeof(Machine *))
        if self.prompts == NULL or self.machines == NULL:
            raise MemoryError
        for k in range(threads):
            self.machines[k] = new_machine(self.prompts, self.fd, -(-max_legs // threads))
        self.kinds = [io] * threads
        self.spare, self.blocks = [[] for _ in range(threads)], []
        self.running = []
        self.free = [[] for _ in range(threads)]
        self.loads = [0] * threads
        self.sockets, self.generations, self.closing, self.buried = {}, {}, {}, {}
        self.late_read = np.zeros(BUCKETS, np.int64)

    def __dealloc__(self):
        cdef int k
        if self.machines != NULL:
            for k in range(self.threads):
                end_machine(self.machines[k])
        for at in self.blocks or ():
            free_plain(at)
        free(self.machines)
        free(self.prompts)
        if self.fd > 0:
            os.close(self.fd)

    # --- threads ------------------------------------------------------------------------------------------------

    def start(self):
        """Starts the native threads. Raises EngineError where io_uring was asked for and is refused."""
        cdef int64_t epoch = now_ns()
        cdef int k
        if self.running:
            raise EngineError("the engine already runs")
        for k in range(self.threads):
            self.kinds[k] = self.open_io(k)
        for k in range(self.threads):
            self.machines[k].epoch = epoch
            store32(&self.machines[k].stopping, 0, RELEASE)
            thread = threading.Thread(target=self._run, args=(k,), name=f"trunkline-media-{k}", daemon=True)
            self.running.append(thread)
            thread.start()

    def open_io(self, int k):
        """Opens a thread's way to its sockets: what was asked for, or the best there is."""
        cdef Machine *m = self.machines[k]
        cdef int error = 0, tags = 2 * m.max_legs
        wanted = self.kinds[k]
        for name in (cheapest(), "plain") if wanted == "auto" else (wanted,):
            error = io_open(&m.io, IO[name], tags)
            if error == 0:
                return name
        raise EngineError(f"{wanted} input and output can't be used here: {os.strerror(-error)}")

    def _run(self, int k):
        cdef Machine *m = self.machines[k]
        with nogil:
            machine_run(m)

    def stop(self):
        """Ends the native threads, closes every leg and frees what they held. May be called twice."""
        cdef int k
        for k in range(self.threads):
            store32(&self.machines[k].stopping, 1, RELEASE)
        for k, thread in enumerate(self.running):
            thread.join()
            io_close(&self.machines[k].io)
        self.running.clear()
        for leg in list(self.sockets):          # nobody runs: commands are carried out at once
            self.close_leg(leg)
        self.reclaim()
        for k in range(self.threads):
            self.machines[k].far_rooms = 0
        for at, (_, end) in list(self.buried.items()):
            end(at)
        self.buried.clear()

    cdef int command(self, int thread, Command *c) except -1:
        if not self.running:
            obey(self.machines[thread], c, now_ns())
        elif not ring_put(&self.machines[thread].commands, c, 1):
            raise EngineError("the command ring is full")
        return 0

    cdef int need(self, int n) except -1:
        """Refuses where a thread could not take `n` commands now; nothing is half done then."""
        cdef int k
        for k in range(self.threads):
            if self.running and ring_room(&self.machines[k].commands) < <uint32_t>n:
                raise EngineError("the command ring is full")
        return 0

    cdef int simple(self, int what, object leg, int a=0, int b=0) except -1:
        cdef Command c
        memset(&c, 0, sizeof(Command))
        c.what = what
        c.index = self.leg(leg).index
        c.a = a
        c.b = b
        return self.command(self.thread_of(leg), &c)

    # --- legs ---------------------------------------------------------------------------------------------------

    cdef int thread_of(self, object leg) except -1:
        return (leg & 0xFFFF) % self.threads

    cdef Leg *leg(self, object handle) except NULL:
        if handle not in self.sockets:
            raise EngineError(f"leg {handle} is not open")
        return self.machines[(handle & 0xFFFF) % self.threads].legs[(handle & 0xFFFF) // self.threads]

    cdef int take_index(self, int thread) except -1:
        """A leg of this thread that nobody uses."""
        cdef Machine *m = self.machines[thread]
        if self.free[thread]:
            return heapq.heappop(self.free[thread])
        if m.top == m.max_legs or len(self.sockets) + len(self.closing) >= self.max_legs:
            raise EngineError(f"all {self.max_legs} legs are in use")
        m.legs[m.top] = self.new_leg(thread, m.top)
        store32(&m.top, m.top + 1, RELEASE)
        return m.top - 1

    cdef Leg *new_leg(self, int thread, int index) except NULL:
        """Memory of a leg. Legs of one thread share large pages: a tick walks over all of them, and an address that is not in
        the processor's page table cache costs as much as its data."""
        cdef void *memory = NULL
        cdef Leg *l
        cdef size_t size = (sizeof(Leg) + 4095) // 4096 * 4096 + 4 * 64, at
        if not self.spare[thread]:
            if posix_memalign(&memory, BLOCK, BLOCK):
                raise MemoryError
            madvise(memory, BLOCK, MADV_HUGEPAGE)
            memset(memory, 0, BLOCK)
            self.blocks.append(<uintptr_t>memory)
            self.spare[thread] = [<uintptr_t>memory + at for at in range(0, BLOCK - size + 1, size)][::-1]
        l = <Leg *><uintptr_t>self.spare[thread].pop()
        if ring_open(&l.up, UP_SAMPLES, 2) or ring_open(&l.down, DOWN_SAMPLES, 2) or ring_open(&l.taps, TAP_SAMPLES, 4):
            raise MemoryError
        l.index = index
        l.webrtc = vad_open(self.vad_mode)
        return l

    cdef int reclaim(self) except -1:
        """Takes back the legs the engine let go of: their sockets are closed, their slots are free."""
        cdef Leg *l
        cdef int thread, index
        for leg in list(self.closing):
            thread, index = (leg & 0xFFFF) % self.threads, (leg & 0xFFFF) // self.threads
            l = self.machines[thread].legs[index]
            if load32(&l.state, ACQUIRE) == LEG_GONE:
                for sock in self.closing.pop(leg):
                    if sock is not None:
                        sock.close()
                store32(&l.state, LEG_FREE, RELEASE)
                heapq.heappush(self.free[thread], index)
        return self.dig()

    cdef int dig(self) except -1:
        """Frees what every thread that knew it has let go of."""
        cdef void *memory
        cdef int k
        for k in range(self.threads):
            while ring_take(&self.machines[k].graves, &memory, 1):
                at = <uintptr_t>memory
                left = self.buried.pop(at, (1, free_plain))
                if left[0] > 1:
                    self.buried[at] = (left[0] - 1, left[1])
                else:
                    left[1](at)
        return 0

    # --- what happened ------------------------------------------------------------------------------------------

    @property
    def io(self):
        """How each thread reads and writes its sockets: "plain" or "uring" ("auto" before `start`)."""
        return list(self.kinds)

    def events(self):
        """All events that wait, as (kind, leg, at_ns, a, b); empties `fd`."""
        cdef Event e
        cdef int k
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            pass
        out = []
        for k in range(self.threads):
            while ring_take(&self.machines[k].desk.events, &e, 1):
                out.append((e.kind, e.leg, e.at, e.a, e.b))
        if self.closing or self.buried:
            self.reclaim()
        return out

    def lateness(self):
        """Packets sent by lateness in 100 us buckets since the last call; int64, the last bucket is 50 ms or more."""
        cdef int64_t now
        cdef int k, i
        out = np.zeros(BUCKETS, np.int64)
        for i in range(BUCKETS):
            now = 0
            for k in range(self.threads):
                now += self.machines[k].late[i]
            out[i] = now - self.late_read[i]
            self.late_read[i] = now
        return out

    def counters(self):
        """Totals of the engine: sub-ticks of 1 ms, those that began one or more late or never, CPU nanoseconds, and so on."""
        cdef int k
        cdef Machine *m
        total = dict.fromkeys(
            ("ticks", "overruns", "skipped", "cpu_ns", "garbage", "ring_full", "events_refused", "send_failed", "floods"), 0
        )
        realtime = True
        for k in range(self.threads):
            m = self.machines[k]
            found = (
                m.ticks, m.overruns, m.skipped, m.busy_ns, m.desk.garbage, m.desk.ring_full, m.desk.events_refused, m.failed,
                m.io.counted.floods,
            )
            for name, value in zip(total, found, strict=True):
                total[name] += value
            realtime = realtime and bool(m.realtime)
        return total | {"realtime": realtime, "legs": len(self.sockets)}


def free_plain(at):
    free(<void *><uintptr_t>at)


def free_link(at):
    """A link between threads: its rings, then itself."""
    cdef Link *link = <Link *><uintptr_t>at
    ring_close(&link.to_room)
    ring_close(&link.to_leg)
    free(link)


def free_srtp(at):
    srtp_destroy(<Srtp *><uintptr_t>at)
    free(<void *><uintptr_t>at)


cdef Machine *new_machine(Prompt *prompts, int fd, int max_legs) except NULL:
    cdef Machine *m = <Machine *>calloc(1, sizeof(Machine))
    if m == NULL:
        raise MemoryError
    m.desk.prompts = prompts
    m.eventfd = fd
    m.max_legs = max_legs
    m.legs = <Leg **>calloc(max_legs, sizeof(Leg *))
    m.rooms = <Room **>calloc(max_legs, sizeof(Room *))
    if (
        m.legs == NULL or m.rooms == NULL or ring_open(&m.desk.events, EVENTS, sizeof(Event))
        or ring_open(&m.commands, COMMANDS, sizeof(Command)) or ring_open(&m.graves, GRAVES, sizeof(void *))
    ):
        raise MemoryError
    return m


cdef void end_machine(Machine *m):
    cdef int k
    cdef Leg *l
    if m == NULL:
        return
    for k in range(m.top):
        l = m.legs[k]
        vad_close(l.webrtc)
        coder_close(&l.coder_in)
        coder_close(&l.coder_out)
        ring_close(&l.up)
        ring_close(&l.down)
        ring_close(&l.taps)
    ring_close(&m.desk.events)
    ring_close(&m.commands)
    ring_close(&m.graves)
    free(m.legs)
    free(m.rooms)
    free(m)
