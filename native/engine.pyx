# cython: language_level=3
"""The engine as Python sees it: handles, commands in, audio out. Called from one thread; never blocks."""

import heapq
import os
import socket

import numpy as np

from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc
from libc.string cimport memset

from native.clib cimport ACQUIRE, RELEASE, load32, load64, store32
from native.codec cimport CODEC_OPUS, CODECS, coder_memory
from native.leg cimport KEYS, LEG_FREE, LEG_TAKEN, Leg, leg_clear
from native.loop cimport (
    Command, DO_CLOSE, DO_ECHO, DO_GAIN, DO_KEYS, DO_LISTEN, DO_MASK, DO_OPEN, DO_PLAY, DO_REMOTE, DO_RESUME, DO_SECURE, DO_STOP, DO_TAP, DO_TONES, NAMED,
)
from native.net cimport Address, address_fill
from native.playout cimport PLAY_BARGE, PLAY_KEYS, PLAY_LOOP, PLAY_OVER, Prompt, prompt_doom, prompt_let_go, prompt_take
from native.quality cimport quality_burst, quality_mos
from native.rings cimport Ring, ring_drop, ring_fill, ring_take
from native.rooms cimport Rooms
from native.rtp cimport source_lost
from native.rtcp cimport rtcp_open
from native.srtp cimport Srtp, srtp_create, srtp_profile
from native.vad cimport vad_close, vad_open

from native import codec, net
from native.machines import EngineError, free_plain, free_srtp
from native.ports import pair

cdef enum:
    MAX_PROMPTS = 16384

DIGITS = "0123456789*#ABCD"
AGREED = {0: "PCMU", 8: "PCMA", 9: "G722"}
"""What a peer may send where nothing else was agreed (RFC 3551)."""


CODEC_NAMES = {0: None} | {number: name for name, number in codec.NAMES.items()}


cdef class Engine(Rooms):
    """RTP legs on native threads of their own.

    `max_legs`: legs open at once; `seed`: where SSRCs, sequence numbers and timestamps begin; `vad_mode`: 0..3, how strict
    the WebRTC VAD is; `threads`: media threads; `io`: "plain", "uring", or "auto" for the best the kernel has. `fd` is an
    eventfd, readable when events wait. Times are CLOCK_MONOTONIC nanoseconds.
    """

    cdef object random, held
    cdef dict remotes

    def __init__(self, max_legs=256, seed=0, vad_mode=3, threads=1, io="auto"):
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.held = {}              # prompt -> the array it plays from
        self.remotes = {}           # leg -> payload of its keys

    # --- legs ---------------------------------------------------------------------------------------------------

    def open_leg(self, str bind_ip, int port=0, near=None):
        """Binds a UDP socket for RTP (the given port, or an even one the system chose) and one for RTCP above it.

        Gives (leg, port). `near`: a leg whose thread to share. Raises OSError where the port is taken and EngineError
        where no leg is free.
        """
        cdef Leg *l
        cdef int thread, index
        self.reclaim()
        thread = self.thread_of(near) if near in self.sockets else self.loads.index(min(self.loads))
        index = self.take_index(thread)
        try:
            rtp, rtcp, bound = pair(bind_ip, port)
        except OSError:
            heapq.heappush(self.free[thread], index)
            raise
        slot = index * self.threads + thread
        self.generations[slot] = (self.generations.get(slot, 0) + 1) & 0x7FFF or 1
        leg = slot | self.generations[slot] << 16
        l = self.machines[thread].legs[index]
        vad_close(l.webrtc)
        l.webrtc = vad_open(self.vad_mode)
        ring_renew(&l.up)
        ring_renew(&l.down)
        ring_renew(&l.taps)
        leg_clear(l, leg)
        l.fd = rtp.fileno()
        l.narrowly = bind_ip not in ("0.0.0.0", "::", "")
        l.control_fd = rtcp.fileno() if rtcp is not None else -1
        l.wire.ssrc, l.wire.stamp = (int(v) for v in self.random.integers(0, 1 << 32, 2))
        l.wire.seq = int(self.random.integers(0, 1 << 15))
        rtcp_open(&l.rtcp, int.from_bytes(os.urandom(8), "little"))
        store32(&l.state, LEG_TAKEN, RELEASE)
        self.sockets[leg] = (rtp, rtcp)
        self.loads[thread] += 1
        try:
            self.simple(DO_OPEN, leg)
        except EngineError:
            for sock in self.sockets.pop(leg):
                if sock is not None:
                    sock.close()
            store32(&l.state, LEG_FREE, RELEASE)
            self.loads[thread] -= 1
            heapq.heappush(self.free[thread], index)
            raise
        return leg, bound

    def close_leg(self, leg):
        """The handle is dead from now on; the sockets close as soon as the engine let go of them."""
        self.leg(leg)
        self.need(3)
        self.leave(leg)
        self.simple(DO_CLOSE, leg)
        self.loads[self.thread_of(leg)] -= 1
        self.closing[leg] = self.sockets.pop(leg)
        self.remotes.pop(leg, None)
        self.reclaim()

    def set_remote(
        self, leg, str ip, int port, int payload=0, int dtmf_payload=-1, bint send=True, bint receive=True, codecs=None,
        int noise_payload=-1, rtcp_port=None,
    ):
        """What was agreed with the peer: where to send (until the first valid packets say better) and which payload types.

        `payload`: the one to send, whose codec decides the leg's rate (8 or 16 kHz); `codecs`: what may come, {payload:
        "PCMU" | "PCMA" | "G722" | "L16/8000" | "L16/16000" | "opus"}; `dtmf_payload`: RFC 4733, -1 keys go in the audio;
        `noise_payload`: 13 where RFC 3389 was agreed; `rtcp_port`: None one above, 0 on the same port, -1 no RTCP.
        """
        cdef Command c
        cdef Leg *l = self.leg(leg)
        agreed = dict(AGREED if codecs is None else codecs)
        if payload not in agreed or not 0 < port < 65536 or not -1 <= dtmf_payload < 128 or not -1 <= noise_payload < 128:
            raise EngineError(f"payload {payload}, DTMF payload {dtmf_payload}, noise payload {noise_payload} or port {port} can't be used")
        memset(&c, 0, sizeof(Command))
        c.what = DO_REMOTE
        c.index = l.index
        for number, name in agreed.items():
            if not 0 <= number < 128:
                raise EngineError(f"{number} is no payload number")
            c.detail.wire.codecs[<int>number] = self.codec_of(l, name)
        try:
            address_fill(&c.detail.wire.signalled, ip, port)
            self.control_address(&c.detail.wire.control, ip, port, rtcp_port)
        except ValueError as error:
            raise EngineError(str(error)) from None
        if (self.sockets[leg][0].family == socket.AF_INET6) != (c.detail.wire.signalled.size == 28):
            raise EngineError(f"a leg bound to {self.sockets[leg][0].getsockname()[0]} can't send to {ip}")
        c.detail.wire.payload = payload
        c.detail.wire.codec = c.detail.wire.codecs[payload]
        c.detail.wire.key_payload = dtmf_payload
        c.detail.wire.noise_payload = noise_payload
        c.detail.wire.reports = 2 if rtcp_port == 0 or (rtcp_port is not None and rtcp_port == port) else 0 if rtcp_port == -1 else 1
        if c.detail.wire.reports == 1 and l.control_fd < 0:
            c.detail.wire.reports = 0
        c.detail.wire.send = send
        c.detail.wire.receive = receive
        self.command(self.thread_of(leg), &c)
        self.remotes[leg] = dtmf_payload

    cdef int codec_of(self, Leg *l, name) except -1:
        """A codec by its name; memory for Opus is taken here, never on the engine's thread."""
        found = codec.NAMES.get(name)
        if found is None:
            raise EngineError(f"the codec {name!r} is none of {', '.join(codec.NAMES)}")
        missing = codec.available()[name]
        if missing:
            raise EngineError(missing)
        if found == CODEC_OPUS and (coder_memory(&l.coder_in) or coder_memory(&l.coder_out)):
            raise MemoryError
        return found

    cdef int control_address(self, Address *to, str ip, int port, rtcp_port) except -1:
        if rtcp_port is None:
            rtcp_port = port + 1 if port < 65535 else port
        address_fill(to, ip, port if rtcp_port <= 0 else rtcp_port)
        return 0

    def set_keys(self, leg, str profile, const uint8_t[::1] own not None, const uint8_t[::1] peer not None):
        """SRTP from now on: `profile` as in RFC 4568 and RFC 7714, master key and salt of each side (30 octets, 28 for GCM)."""
        cdef Command c
        cdef Leg *l = self.leg(leg)
        cdef Srtp *s
        cdef int number
        try:
            number = srtp_profile(profile)
        except ValueError as error:
            raise EngineError(str(error)) from None
        if not own.shape[0] or not peer.shape[0]:
            raise EngineError(f"the keys are not right for {profile}: {own.shape[0]} and {peer.shape[0]} octets")
        s = <Srtp *>calloc(1, sizeof(Srtp))
        if s == NULL:
            raise MemoryError
        if srtp_create(s, number, &own[0], <int>own.shape[0], &peer[0], <int>peer.shape[0]):
            free_plain(<uintptr_t>s)
            raise EngineError(f"the keys are not right for {profile}: {own.shape[0]} and {peer.shape[0]} octets")
        memset(&c, 0, sizeof(Command))
        c.what = DO_SECURE
        c.index = l.index
        c.srtp = s
        try:
            self.command(self.thread_of(leg), &c)
        except EngineError:
            free_srtp(<uintptr_t>s)
            raise
        self.buried[<uintptr_t>s] = (1, free_srtp)

    def send_dtmf(self, leg, str digits, int ms=100):
        """Queues keys of `ms` (40..8000) each, 60 ms apart; at most 64. RFC 4733 where it was agreed, tones otherwise."""
        cdef Command c
        codes = [DIGITS.find(d) for d in digits.upper()]
        if -1 in codes or not 1 <= len(codes) <= KEYS or not 40 <= ms <= 8000:
            raise EngineError(f"digits must be 1..{KEYS} of {DIGITS} and ms 40..8000")
        memset(&c, 0, sizeof(Command))
        c.what = DO_KEYS
        c.index = self.leg(leg).index
        if leg not in self.remotes:
            raise EngineError(f"leg {leg} has no peer yet")
        c.a = ms
        c.n = len(codes)
        for k, code in enumerate(codes):
            c.detail.ids[k] = code
        self.command(self.thread_of(leg), &c)

    def inband_dtmf(self, leg, bint on):
        """Keys are looked for in the audio; by itself so where `set_remote` named no telephone-event."""
        self.simple(DO_TONES, leg, on)

    def auto_gain(self, leg, bint on):
        """A quiet caller is made louder for everybody who listens."""
        self.simple(DO_GAIN, leg, on)

    def echo(self, leg, bint on):
        """What is heard, after the jitter buffer, is said again at -1 dB."""
        self.simple(DO_ECHO, leg, on)

    # --- prompts ------------------------------------------------------------------------------------------------

    def load_prompt(self, pcm, int rate=8000):
        """int16 samples at 8 or 16 kHz, shared, not copied: they must not change while the prompt is loaded. Gives an id any
        leg may play; a leg of the other rate converts it as it plays."""
        cdef const int16_t[::1] samples
        cdef Prompt *p
        array = np.ascontiguousarray(pcm, dtype=np.int16).reshape(-1)
        if rate not in (8000, 16000):
            raise EngineError(f"a prompt has 8000 or 16000 samples a second, not {rate}")
        array = array[: len(array) // 2 * 2] if rate == 16000 else array
        if len(array) == 0:
            raise EngineError("a prompt needs at least one sample")
        samples = array
        for k in range(MAX_PROMPTS):
            p = &self.prompts[<int>k]
            if p.pcm != NULL and load32(&p.gone, ACQUIRE):
                memset(p, 0, sizeof(Prompt))
                self.held.pop(k, None)
            if p.pcm == NULL:
                break
        else:
            raise EngineError(f"all {MAX_PROMPTS} prompts are in use")
        self.held[k] = (array, True)
        p.samples = <int>samples.shape[0]
        p.wide = rate == 16000
        p.pcm = &samples[0]
        return k

    def free_prompt(self, int prompt):
        """The id is dead from now on; legs that play it still do to the end."""
        if not self.held.get(prompt, (None, False))[1]:
            raise EngineError(f"prompt {prompt} is not loaded")
        self.held[prompt] = (self.held[prompt][0], False)
        prompt_doom(&self.prompts[prompt])

    def play(self, leg, prompts, token, bint loop=False, bint barge_in=False, bint keys_stop=False, bint append=False, bint over=False):
        """Plays prompts (1..64 ids) one after the other in place of what plays, or after it.

        Gives PROMPT_STARTED and PROMPT_DONE with `token`. `loop`: from the start again, until something is appended. `over`:
        mixed over what the leg hears from its room, in place of nothing.
        """
        cdef Command c
        cdef Leg *l = self.leg(leg)
        ids = list(prompts)
        if not 1 <= len(ids) <= NAMED:
            raise EngineError(f"1..{NAMED} prompts can be played at once, not {len(ids)}")
        unknown = [i for i in ids if not self.held.get(i, (None, False))[1]]
        if unknown:
            raise EngineError(f"prompt {unknown[0]} is not loaded")
        memset(&c, 0, sizeof(Command))
        c.what = DO_PLAY
        c.index = l.index
        c.token = token
        c.a = append
        c.flags = (
            (PLAY_LOOP if loop else 0) | (PLAY_BARGE if barge_in else 0) | (PLAY_KEYS if keys_stop else 0) | (PLAY_OVER if over else 0)
        )
        c.n = len(ids)
        for k, prompt in enumerate(ids):
            c.detail.ids[k] = prompt
            prompt_take(&self.prompts[<int>prompt], 1)
        try:
            self.command(self.thread_of(leg), &c)
        except EngineError:
            for prompt in ids:
                prompt_let_go(&self.prompts[<int>prompt])
            raise

    def resume(self, leg):
        """A prompt muted by speech goes on where it was muted."""
        self.simple(DO_RESUME, leg)

    def stop_play(self, leg):
        self.simple(DO_STOP, leg)

    # --- audio --------------------------------------------------------------------------------------------------

    def listen(self, leg, bint on):
        """Arms the gate: from the next speech on, 400 ms before it and every frame after it can be read."""
        self.simple(DO_LISTEN, leg, on)
        ring_drop(&self.leg(leg).up)

    def read(self, leg, int16_t[::1] out not None):
        """Copies 16 kHz samples into `out`; gives how many."""
        cdef Leg *l = self.leg(leg)
        cdef uint64_t floor = load64(&l.up_floor, ACQUIRE)
        if out.shape[0] == 0:
            return 0
        if l.up.tail < floor:
            ring_take_until(&l.up, floor)
        return ring_take(&l.up, &out[0], <uint32_t>out.shape[0])

    def write(self, leg, const int16_t[::1] pcm not None):
        """Live audio, 8 kHz, heard where no prompt plays and the leg is in no room; gives how many samples fitted."""
        cdef Leg *l = self.leg(leg)
        return ring_fill(&l.down, &pcm[0], <uint32_t>pcm.shape[0]) if pcm.shape[0] else 0

    def tap(self, leg, bint on, int rate=8000):
        """Recording of what the leg says (left) and hears (right), 20 ms of pairs a tick at 8 or 16 kHz."""
        if rate not in (8000, 16000):
            raise EngineError(f"a recording has 8000 or 16000 samples a second, not {rate}")
        self.simple(DO_TAP, leg, on, rate == 16000)

    def mask(self, leg, bint on):
        """While on, the tap is silent and keys are marked."""
        self.simple(DO_MASK, leg, on)

    def read_tap(self, leg, int16_t[:, ::1] out not None):
        """Copies pairs into `out` (n, 2); gives how many."""
        cdef Leg *l = self.leg(leg)
        if out.shape[1] != 2:
            raise EngineError("the tap is read into an array of shape (n, 2)")
        return ring_take(&l.taps, &out[0, 0], <uint32_t>out.shape[0]) if out.shape[0] else 0

    # --- figures ------------------------------------------------------------------------------------------------

    def stats(self, leg):
        """Counters of one leg. `jitter_ms` as in RFC 3550, `remote` as (ip, port); `rtt_ms`, `remote_lost`,
        `remote_fraction_lost` and `remote_jitter_ms` as the peer's newest RTCP says, None before; `mos` by the E-model."""
        cdef Leg *l = self.leg(leg)
        cdef int clock = CODECS[l.timeline.codec].clock if l.timeline.codec else 8000
        cdef int64_t lost = source_lost(&l.source), late = l.jitter.late
        cdef double expected = l.source.received + lost
        cdef double missing = 100.0 * (lost + late) / expected if expected else 0.0
        cdef double burst = quality_burst(<int64_t>expected, lost, l.source.gaps) if lost and l.source.gaps else 1.0
        reported = l.rtcp.reported
        rtt = l.rtcp.rtt / 1e6 if l.rtcp.rtt >= 0 else None
        delay = l.jitter.delay_ms + 20.0 + (rtt or 0.0) / 2
        return {
            "packets_sent": l.wire.packets, "octets_sent": l.wire.octets, "send_failed": l.wire.failed,
            "packets_received": l.source.received, "octets_received": l.octets_in, "lost": lost,
            "duplicate": l.source.duplicate, "late": late, "discarded": l.discarded,
            "concealed_samples": l.jitter.concealed, "jitter_ms": l.source.jitter * 1000.0 / clock,
            "remote": net.text_of((<char *>l.wire.to.octets)[: l.wire.to.size]) if l.wire.to.size else None,
            "latched": bool(l.latch.done), "muted_frames": l.playout.muted_frames,
            "voiced_frames": l.ears.voiced_total // 2, "up_refused": l.up.refused // 320, "tap_refused": l.taps.refused // 160,
            "down_refused": l.down.refused, "ssrc": l.wire.ssrc, "rate": 16000 if l.wide else 8000,
            "codec": CODEC_NAMES[l.wire.codec], "delay_ms": l.jitter.delay_ms, "target_ms": l.jitter.target_ms,
            "stretched": l.jitter.stretched, "dropped": l.jitter.dropped, "noise_frames": l.jitter.noise_frames,
            "level_dbm0": l.gain.level_dbm0, "srtp_replayed": l.srtp.replayed if l.srtp != NULL else 0,
            "srtp_forged": l.srtp.forged if l.srtp != NULL else 0, "rtt_ms": rtt,
            "remote_lost": l.rtcp.remote_lost if reported else None,
            "remote_fraction_lost": float(l.rtcp.remote_fraction) if reported else None,
            "remote_jitter_ms": l.rtcp.remote_jitter * 1000.0 / CODECS[l.wire.codec].clock if reported and l.wire.codec else None,
            "mos": quality_mos(l.timeline.codec or l.wire.codec, missing, burst, delay),
        }


cdef void ring_renew(Ring *r):
    ring_drop(r)
    r.refused = 0


cdef void ring_take_until(Ring *r, uint64_t floor) noexcept nogil:
    cdef int16_t sink[256]
    cdef uint64_t left
    while r.tail < floor:
        left = floor - r.tail
        ring_take(r, sink, <uint32_t>(left if left < 256 else 256))
