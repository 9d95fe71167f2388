"""Reports of a leg while its call runs: what it tells, what it is told, and what it makes of both (RFC 3550)."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import native
from native import codec, quality
from native.twins import rtcp

from .test_secure_leg import secure
from .wire import Packet, Phone, tone


@dataclass
class Told:
    """A report, and how it stood with the far end when it came."""

    octets: bytes
    packets: list[rtcp.Packet]
    at: int
    audio: int
    stamp: int
    left_out: int


class Far:
    """A far end that says audio, leaves each `every`-th packet out, and keeps the reports that come."""

    def __init__(self, phone: Phone, reports: socket.socket | None = None, every: int = 0) -> None:
        self.phone, self.reports, self.every = phone, reports, every
        self.audio = self.left_out = self.stamp = 0
        self.told: list[Told] = []

    def turn(self) -> None:
        """One packet of the leg, and an answer to it where it was audio."""
        octets = self.phone.socket.recv(2048)
        if 192 <= octets[1] <= 223:
            self.keep(octets)
            return
        self.audio += 1
        self.stamp = Packet.read(octets).stamp
        mine = self.phone.audio(tone(500, 1))
        if self.every and self.audio % self.every == 0:
            self.left_out += 1
        else:
            self.phone.send(mine)
        if self.reports is not None:
            with contextlib.suppress(BlockingIOError):
                self.keep(self.reports.recv(2048))

    def keep(self, octets: bytes) -> None:
        packets = rtcp.read(self.phone.unseal_control(octets))
        assert packets is not None
        self.told.append(Told(octets, packets, time.monotonic_ns(), self.audio, self.stamp, self.left_out))


def control() -> tuple[socket.socket, int]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock, sock.getsockname()[1]


def run(fars: list[Far], until: Any, seconds: float = 12) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "no report came"
        for far in fars:
            far.turn()


def check(engine: native.Engine, far: Far) -> None:
    """The first report against what the far end saw."""
    told, ssrc = far.told[0], engine.stats(far.phone.leg)["ssrc"]
    report, name = told.packets[:2]
    assert (report.kind, name.kind, report.ssrcs) == (rtcp.SR, rtcp.SDES, [ssrc])
    assert name.cname
    assert report.sender is not None
    wall, stamp, packets, octets = report.sender
    assert abs((wall >> 32) - 2_208_988_800 - time.time()) < 15
    assert abs(told.audio - packets) <= 2
    assert octets == packets * 160
    assert (stamp - told.stamp + 800) % 2**32 <= 1600
    (block,) = report.blocks
    assert block.ssrc == far.phone.ssrc
    assert told.left_out - 1 <= block.lost <= told.left_out
    assert (block.fraction > 0) == bool(far.every)


def answer(engine: native.Engine, far: Far, trip: float = 0) -> bytes:
    """A receiver's report on what the leg says; its delay leaves `trip` seconds to the network."""
    (ssrc,), sender = far.told[0].packets[0].ssrcs, far.told[0].packets[0].sender
    assert sender is not None
    held_ns = time.time_ns() - ((sender[0] >> 32) - 2_208_988_800) * 10**9 - (sender[0] & 0xFFFFFFFF) * 10**9 // 2**32
    held_ns = max(0, held_ns - round(trip * 1e9))
    block = rtcp.Block(ssrc, 64, 12, 1000, 80, sender[0] >> 16 & 0xFFFFFFFF, held_ns * 65536 // 1_000_000_000)
    return rtcp.report(far.phone.ssrc, None, [block]) + rtcp.name(far.phone.ssrc, "far@end")


def test_reports_tell_both_sides_how_it_goes(engine: native.Engine) -> None:
    """Four legs at once: RTCP on a port of its own, on that of RTP, the same sealed, and none."""
    sock, port = control()
    own = Far(Phone(engine, rtcp_port=port), sock, every=3)
    mixed = Far(Phone(engine, rtcp_port=0))
    none = Far(Phone(engine, rtcp_port=-1))
    sealed = Far(secure(engine, rtcp_port=0))
    fars = [own, mixed, none, sealed]
    run(fars, lambda: own.told and mixed.told and sealed.told)
    for far in (own, mixed, sealed):
        check(engine, far)
    assert not none.told
    assert sealed.told[0].packets[1].cname.encode() not in sealed.told[0].octets, "others can't read it"

    arrived = own.told[0].at
    run(fars, lambda: time.monotonic_ns() - arrived > 300_000_000)
    for octets in (b"\x80", b"\x80\xc9\xff\xff", np.random.default_rng(1).bytes(60)):
        sock.sendto(octets, ("127.0.0.1", own.phone.port + 1))
    began = time.monotonic()
    sock.sendto(answer(engine, own, trip=0.1), ("127.0.0.1", own.phone.port + 1))
    mixed.phone.send(answer(engine, mixed))
    sealed.phone.send(answer(engine, sealed))
    run(fars, lambda: all(engine.stats(f.phone.leg)["remote_lost"] for f in (own, mixed)))
    stats, clean = engine.stats(own.phone.leg), engine.stats(mixed.phone.leg)
    assert (stats["remote_lost"], stats["remote_fraction_lost"]) == (12, 0.25)
    assert stats["remote_jitter_ms"] == pytest.approx(10)
    assert 95 <= stats["rtt_ms"] < 105 + (time.monotonic() - began) * 1000
    assert 1 <= stats["mos"] < clean["mos"] <= 4.5
    one_way = clean["delay_ms"] + 20 + clean["rtt_ms"] / 2
    if not clean["late"]:  # by a machine that stood still meanwhile
        assert clean["mos"] == pytest.approx(quality.mos(codec.NAMES["PCMU"], 0, 1, one_way), abs=0.01)
    assert (clean["discarded"], clean["lost"]) == (0, 0)
    assert engine.stats(sealed.phone.leg)["remote_lost"] is None, "a report that is not authentic is not believed"
    sealed.phone.send(sealed.phone.seal_control(answer(engine, sealed)))
    run(fars, lambda: engine.stats(sealed.phone.leg)["remote_lost"] == 12)
