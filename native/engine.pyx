# cython: language_level=3
"""The engine as Python sees it: handles, commands in, events and audio out. Called from one thread; never blocks."""

import errno
import os
import socket
import threading

import numpy as np

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from native.clib cimport ACQUIRE, EFD_CLOEXEC, EFD_NONBLOCK, RELEASE, eventfd, htons, load32, load64, now_ns, store32
from native.ears cimport ears_open
from native.leg cimport (
    KEYS, LEG_FREE, LEG_GONE, LEG_TAKEN, Event, Leg,
)
from native.jitter cimport jitter_open
from native.loop cimport (
    BUCKETS, Command, DO_BRIDGE, DO_CLOSE, DO_FREE_PROMPT, DO_KEYS, DO_LISTEN, DO_MASK, DO_OPEN, DO_PLAY, DO_REMOTE, DO_RESUME,
    DO_STOP, DO_TAP, DO_UNBRIDGE, Machine, NAMED, machine_run, obey,
)
from native.playout cimport PLAY_BARGE, PLAY_KEYS, PLAY_LOOP, Prompt
from native.rings cimport Ring, ring_close, ring_drop, ring_fill, ring_open, ring_put, ring_take
from native.rtp cimport source_lost
from native.vad cimport vad_close, vad_open

cdef enum:
    MAX_PROMPTS = 16384
    EVENTS = 8192
    COMMANDS = 1024
    UP_SAMPLES = 131072         # 8.2 s at 16 kHz
    DOWN_SAMPLES = 65536        # 8.2 s at 8 kHz
    TAP_SAMPLES = 131072        # 16.4 s at 8 kHz, pairs

DIGITS = "0123456789*#ABCD"


class EngineError(Exception):
    """The engine refused: a stale handle, a bad argument, no free leg, or a full command ring."""


cdef class Engine:
    """RTP legs on a native thread of their own.

    `max_legs`: legs open at once; `seed`: where SSRCs, sequence numbers and timestamps begin; `vad_mode`: 0..3, how strict
    the WebRTC VAD is. `fd` is an eventfd, readable when events wait. Times are CLOCK_MONOTONIC nanoseconds.
    """

    cdef Machine m
    cdef object thread, random, sockets, remotes, prompt_ids
    cdef int vad_mode
    cdef int64_t[::1] late_read
    cdef list generations, waiting
    cdef readonly int fd

    def __cinit__(self, max_legs=256, seed=0, vad_mode=3):
        if not 1 <= max_legs <= 32768 or not 0 <= vad_mode <= 3:
            raise EngineError("max_legs must be 1..32768 and vad_mode 0..3")
        memset(&self.m, 0, sizeof(Machine))
        self.m.desk.max_legs = max_legs
        self.m.desk.legs = <Leg **>calloc(max_legs, sizeof(Leg *))
        self.m.desk.prompts = <Prompt *>calloc(MAX_PROMPTS, sizeof(Prompt))
        if (
            self.m.desk.legs == NULL or self.m.desk.prompts == NULL
            or ring_open(&self.m.desk.events, EVENTS, sizeof(Event)) or ring_open(&self.m.commands, COMMANDS, sizeof(Command))
        ):
            raise MemoryError
        self.m.eventfd = self.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.vad_mode = vad_mode
        self.thread = None
        self.sockets = {}
        self.remotes = {}
        self.prompt_ids = set()
        self.generations = [0] * max_legs
        self.waiting = []
        self.late_read = np.zeros(BUCKETS, np.int64)

    def __dealloc__(self):
        cdef int32_t k
        cdef Leg *l
        for k in range(self.m.top):
            l = self.m.desk.legs[k]
            vad_close(l.webrtc)
            ring_close(&l.up)
            ring_close(&l.down)
            ring_close(&l.taps)
            free(l)
        if self.m.desk.prompts != NULL:
            for k in range(MAX_PROMPTS):
                free(self.m.desk.prompts[k].pcm)
        free(self.m.desk.legs)
        free(self.m.desk.prompts)
        ring_close(&self.m.desk.events)
        ring_close(&self.m.commands)
        if self.fd > 0:
            os.close(self.fd)

    # --- the thread ---------------------------------------------------------------------------------------------

    def start(self):
        """Starts the native thread."""
        if self.thread is not None:
            raise EngineError("the engine already runs")
        store32(&self.m.stopping, 0, RELEASE)
        self.thread = threading.Thread(target=self._run, name="trunkline-media", daemon=True)
        self.thread.start()

    def _run(self):
        with nogil:
            machine_run(&self.m)

    def stop(self):
        """Ends the native thread and closes every socket. May be called twice."""
        cdef int k
        if self.thread is not None:
            store32(&self.m.stopping, 1, RELEASE)
            self.thread.join()
            self.thread = None
        for sock in self.sockets.values():
            sock.close()
        for k in range(self.m.top):
            store32(&self.m.desk.legs[k].state, LEG_FREE, RELEASE)
        self.waiting.clear()
        self.sockets.clear()
        self.remotes.clear()

    cdef int command(self, Command *c) except -1:
        if self.thread is None:
            obey(&self.m, c, now_ns())
        elif not ring_put(&self.m.commands, c, 1):
            raise EngineError("the command ring is full")
        return 0

    cdef int simple(self, int what, object leg, int a) except -1:
        cdef Command c
        memset(&c, 0, sizeof(Command))
        c.what = what
        c.slot = self.slot(leg)
        c.a = a
        self.command(&c)
        return c.slot

    cdef int slot(self, object leg) except -1:
        if leg not in self.sockets:
            raise EngineError(f"leg {leg} is not open")
        return leg & 0xFFFF

    # --- legs ---------------------------------------------------------------------------------------------------

    cdef int reclaim(self) except -1:
        """Takes back the legs the engine let go of: their sockets are closed, their slots are free."""
        cdef Leg *l
        for leg in list(self.waiting):
            l = self.m.desk.legs[<int>(leg & 0xFFFF)]
            if load32(&l.state, ACQUIRE) == LEG_GONE:
                self.sockets.pop(("closing", leg)).close()
                store32(&l.state, LEG_FREE, RELEASE)
                self.waiting.remove(leg)
        return 0

    cdef int free_slot(self) except -1:
        cdef int k
        for k in range(self.m.top):
            if load32(&self.m.desk.legs[k].state, ACQUIRE) == LEG_FREE:
                return k
        if self.m.top == self.m.desk.max_legs:
            raise EngineError(f"all {self.m.desk.max_legs} legs are in use")
        self.m.desk.legs[self.m.top] = self.new_leg(self.m.top)
        store32(&self.m.top, self.m.top + 1, RELEASE)
        return self.m.top - 1

    cdef Leg *new_leg(self, int slot) except NULL:
        cdef Leg *l = <Leg *>calloc(1, sizeof(Leg))
        if l == NULL or ring_open(&l.up, UP_SAMPLES, 2) or ring_open(&l.down, DOWN_SAMPLES, 2) or ring_open(&l.taps, TAP_SAMPLES, 4):
            raise MemoryError
        l.slot = slot
        l.fd = -1
        l.webrtc = vad_open(self.vad_mode)
        return l

    def open_leg(self, str bind_ip, int port=0):
        """Binds a UDP socket: the given port, or an even one the system chose. Gives (leg, port).

        Raises OSError where the port is taken and EngineError where no leg is free.
        """
        cdef Command c
        cdef Leg *l
        cdef int slot
        self.reclaim()
        slot = self.free_slot()
        sock, bound = bind(bind_ip, port)
        l = self.m.desk.legs[slot]
        self.generations[slot] = (self.generations[slot] + 1) & 0x7FFF or 1
        leg = slot | self.generations[slot] << 16
        clear_leg(l, self.vad_mode)
        l.handle = leg
        l.fd = sock.fileno()
        store32(&l.state, LEG_TAKEN, RELEASE)
        l.wire.ssrc, l.wire.stamp = (int(v) for v in self.random.integers(0, 1 << 32, 2))
        l.wire.seq = int(self.random.integers(0, 1 << 16))
        self.sockets[leg] = sock
        memset(&c, 0, sizeof(Command))
        c.what = DO_OPEN
        c.slot = slot
        try:
            self.command(&c)
        except EngineError:
            self.sockets.pop(leg).close()
            store32(&l.state, LEG_FREE, RELEASE)
            raise
        return leg, bound

    def close_leg(self, leg):
        """The handle is dead from now on; the socket closes as soon as the engine let go of it."""
        self.simple(DO_CLOSE, leg, 0)
        self.sockets[("closing", leg)] = self.sockets.pop(leg)
        self.remotes.pop(leg, None)
        self.waiting.append(leg)
        self.reclaim()

    def set_remote(self, leg, str ip, int port, int payload=0, int dtmf_payload=-1, bint send=True, bint receive=True):
        """Where to send (until the first valid packets say better) and which payload types: 0 PCMU or 8 PCMA, and the
        RFC 4733 type or -1."""
        cdef Command c
        if payload not in (0, 8) or not 0 < port < 65536 or not -1 <= dtmf_payload < 128:
            raise EngineError(f"payload {payload}, DTMF payload {dtmf_payload} or port {port} can't be used")
        try:
            address = socket.inet_aton(ip)
        except OSError:
            raise EngineError(f"{ip!r} is not an IPv4 address") from None
        memset(&c, 0, sizeof(Command))
        c.what = DO_REMOTE
        c.slot = self.slot(leg)
        c.a = payload
        c.b = dtmf_payload
        c.flags = send | receive << 1
        c.port = htons(<uint16_t>port)
        memcpy(&c.ip, <char *>(<bytes>address), 4)
        self.command(&c)
        self.remotes[leg] = dtmf_payload

    def bridge(self, a, b):
        """Each hears the other, until `unbridge` or the end of either."""
        if a == b:
            raise EngineError("a leg can't be bridged with itself")
        self.simple(DO_BRIDGE, a, self.slot(b))

    def unbridge(self, a):
        self.simple(DO_UNBRIDGE, a, 0)

    def send_dtmf(self, leg, str digits, int ms=100):
        """Queues RFC 4733 events of `ms` (40..8000) each, 60 ms apart; at most 64 digits."""
        cdef Command c
        codes = [DIGITS.find(d) for d in digits.upper()]
        if -1 in codes or not 1 <= len(codes) <= KEYS or not 40 <= ms <= 8000:
            raise EngineError(f"digits must be 1..{KEYS} of {DIGITS} and ms 40..8000")
        if self.remotes.get(leg, -1) < 0:
            self.slot(leg)
            raise EngineError(f"leg {leg} has no DTMF payload type")
        memset(&c, 0, sizeof(Command))
        c.what = DO_KEYS
        c.slot = self.slot(leg)
        c.a = ms * 8
        c.n = len(codes)
        for k, code in enumerate(codes):
            c.ids[k] = code
        self.command(&c)

    # --- prompts ------------------------------------------------------------------------------------------------

    def load_prompt(self, pcm):
        """Copies int16 8 kHz samples (at least one); gives an id any leg may play."""
        cdef Prompt *p
        cdef const int16_t[::1] samples = np.ascontiguousarray(pcm, dtype=np.int16).reshape(-1)
        cdef int k
        if samples.shape[0] == 0:
            raise EngineError("a prompt needs at least one sample")
        for k in range(MAX_PROMPTS):
            p = &self.m.desk.prompts[k]
            if p.pcm != NULL and load32(&p.gone, ACQUIRE):
                free(p.pcm)
                memset(p, 0, sizeof(Prompt))
            if p.pcm == NULL:
                break
        else:
            raise EngineError(f"all {MAX_PROMPTS} prompts are in use")
        p.pcm = <int16_t *>malloc(samples.shape[0] * 2)
        if p.pcm == NULL:
            raise MemoryError
        memcpy(p.pcm, &samples[0], samples.shape[0] * 2)
        p.samples = <int32_t>samples.shape[0]
        self.prompt_ids.add(k)
        return k

    def free_prompt(self, int prompt):
        """The id is dead from now on; legs that play it still do to the end."""
        cdef Command c
        if prompt not in self.prompt_ids:
            raise EngineError(f"prompt {prompt} is not loaded")
        memset(&c, 0, sizeof(Command))
        c.what = DO_FREE_PROMPT
        c.a = prompt
        self.command(&c)
        self.prompt_ids.discard(prompt)

    def play(self, leg, prompts, token, bint loop=False, bint barge_in=False, bint keys_stop=False, bint append=False):
        """Plays prompts (1..64 ids) one after the other in place of what plays, or after it.

        Gives PROMPT_STARTED and PROMPT_DONE with `token`. `loop`: from the start again, until something is appended.
        """
        cdef Command c
        cdef int slot = self.slot(leg)
        ids = list(prompts)
        if not 1 <= len(ids) <= NAMED:
            raise EngineError(f"1..{NAMED} prompts can be played at once, not {len(ids)}")
        unknown = [i for i in ids if i not in self.prompt_ids]
        if unknown:
            raise EngineError(f"prompt {unknown[0]} is not loaded")
        memset(&c, 0, sizeof(Command))
        c.what = DO_PLAY
        c.slot = slot
        c.token = token
        c.a = append
        c.flags = (PLAY_LOOP if loop else 0) | (PLAY_BARGE if barge_in else 0) | (PLAY_KEYS if keys_stop else 0)
        c.n = len(ids)
        for k, prompt in enumerate(ids):
            c.ids[k] = prompt
        self.command(&c)

    def resume(self, leg):
        """A prompt muted by speech goes on where it was muted."""
        self.simple(DO_RESUME, leg, 0)

    def stop_play(self, leg):
        self.simple(DO_STOP, leg, 0)

    # --- audio --------------------------------------------------------------------------------------------------

    def listen(self, leg, bint on):
        """Arms the gate: from the next speech on, 400 ms before it and every frame after it can be read."""
        cdef int slot = self.simple(DO_LISTEN, leg, on)
        ring_drop(&self.m.desk.legs[slot].up)

    def read(self, leg, int16_t[::1] out not None):
        """Copies 16 kHz samples into `out`; gives how many."""
        cdef Leg *l = self.m.desk.legs[self.slot(leg)]
        cdef uint64_t floor = load64(&l.up_floor, ACQUIRE)
        if out.shape[0] == 0:
            return 0
        if l.up.tail < floor:
            ring_take_until(&l.up, floor)
        return ring_take(&l.up, &out[0], <uint32_t>out.shape[0])

    def write(self, leg, const int16_t[::1] pcm not None):
        """Live audio, 8 kHz, heard where no prompt plays and no peer is bridged; gives how many samples fitted."""
        cdef Leg *l = self.m.desk.legs[self.slot(leg)]
        return ring_fill(&l.down, &pcm[0], <uint32_t>pcm.shape[0]) if pcm.shape[0] else 0

    def tap(self, leg, bint on):
        """Recording of what the leg says (left) and hears (right), 160 pairs a tick at 8 kHz."""
        self.simple(DO_TAP, leg, on)

    def mask(self, leg, bint on):
        """While on, the tap is silent and keys are marked."""
        self.simple(DO_MASK, leg, on)

    def read_tap(self, leg, int16_t[:, ::1] out not None):
        """Copies pairs into `out` (n, 2); gives how many."""
        cdef Leg *l = self.m.desk.legs[self.slot(leg)]
        if out.shape[1] != 2:
            raise EngineError("the tap is read into an array of shape (n, 2)")
        return ring_take(&l.taps, &out[0, 0], <uint32_t>out.shape[0]) if out.shape[0] else 0

    # --- what happened ------------------------------------------------------------------------------------------

    def events(self):
        """All events that wait, as (kind, leg, at_ns, a, b); empties `fd`."""
        cdef Event e
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            pass
        out = []
        while ring_take(&self.m.desk.events, &e, 1):
            out.append((e.kind, e.leg, e.at, e.a, e.b))
        if self.waiting:
            self.reclaim()
        return out

    def stats(self, leg):
        """Counters of one leg; `jitter_ms` as in RFC 3550, `remote` as (ip, port)."""
        cdef Leg *l = self.m.desk.legs[self.slot(leg)]
        cdef bytes address = (<char *>&l.wire.to.sin_addr.s_addr)[:4]
        return {
            "packets_sent": l.wire.packets, "octets_sent": l.wire.octets, "send_failed": l.wire.failed,
            "packets_received": l.source.received, "octets_received": l.octets_in, "lost": source_lost(&l.source),
            "duplicate": l.source.duplicate, "late": l.jitter.late, "discarded": l.discarded,
            "concealed_samples": l.jitter.concealed, "jitter_ms": l.source.jitter / 8.0,
            "remote": (socket.inet_ntoa(address), htons(l.wire.to.sin_port)) if l.wire.known or l.latch.done else None,
            "latched": bool(l.latch.done), "muted_frames": l.playout.muted_frames,
            "voiced_frames": l.ears.voiced_total // 2, "up_refused": l.up.refused // 320, "tap_refused": l.taps.refused // 160,
            "down_refused": l.down.refused, "ssrc": l.wire.ssrc,
        }

    def lateness(self):
        """Packets sent by lateness in 100 us buckets since the last call; int64, the last bucket is 50 ms or more."""
        cdef int64_t now
        cdef int k
        out = np.zeros(BUCKETS, np.int64)
        for k in range(BUCKETS):
            now = self.m.late[k]
            out[k] = now - self.late_read[k]
            self.late_read[k] = now
        return out

    def counters(self):
        """Totals of the engine: sub-ticks of 1 ms, those that began one or more late or never, CPU nanoseconds, and so on."""
        return {
            "ticks": self.m.ticks, "overruns": self.m.overruns, "skipped": self.m.skipped, "cpu_ns": self.m.busy_ns,
            "realtime": bool(self.m.realtime), "garbage": self.m.desk.garbage, "ring_full": self.m.desk.ring_full,
            "events_refused": self.m.desk.events_refused, "legs": len(self.sockets) - len(self.waiting),
        }


cdef void ring_take_until(Ring *r, uint64_t floor) noexcept nogil:
    cdef int16_t sink[256]
    cdef uint64_t left
    while r.tail < floor:
        left = floor - r.tail
        ring_take(r, sink, <uint32_t>(left if left < 256 else 256))


cdef int clear_leg(Leg *l, int vad_mode) except -1:
    """A leg as good as new; its rings are kept."""
    cdef Ring up = l.up, down = l.down, taps = l.taps
    cdef void *webrtc = l.webrtc
    cdef int slot = l.slot
    vad_close(webrtc)
    memset(l, 0, sizeof(Leg))
    l.slot = slot
    l.webrtc = vad_open(vad_mode)
    l.up = up
    l.down = down
    l.taps = taps
    ring_drop(&l.up)
    ring_drop(&l.down)
    ring_drop(&l.taps)
    l.up.refused = l.down.refused = l.taps.refused = 0
    l.peer = -1
    l.wire.key_payload = -1
    l.wire.fresh = True
    jitter_open(&l.jitter, 8000)
    ears_open(&l.ears, l.webrtc)
    return 0


def bind(ip, port):
    """A UDP socket on an even port; the system's choice where `port` is 0."""
    for attempt in range(64):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind((ip, port))
        except OSError:
            sock.close()
            raise
        bound = sock.getsockname()[1]
        if bound % 2 == 0 or port:
            return sock, bound
        sock.close()
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.bind((ip, bound - 1))
            return sock, bound - 1
        except OSError:
            sock.close()
    raise OSError(errno.EADDRINUSE, "no even port is free")
