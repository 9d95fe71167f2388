"""Legs on IPv6: audio both ways, an address that is learnt, a bridge to IPv4."""

from __future__ import annotations

import socket

import numpy as np
import pytest

import native

from .wire import SILENCE, Phone, converse, tone, tones_in, wait_for


def test_ipv6_and_ipv4_hear_each_other(engine: native.Engine) -> None:
    new, old = Phone(engine, ip="::1"), Phone(engine)
    assert new.port % 2 == 0
    engine.bridge(new.leg, old.leg)
    heard = converse([new, old], [tone(700, 30, 4000), tone(1100, 30, 4000)])
    assert [tones_in(h[-12:], [700, 1100]) for h in heard] == [{1100}, {700}]
    assert engine.stats(new.leg)["remote"] == ("::1", new.address[1])
    assert engine.stats(old.leg)["remote"] == ("127.0.0.1", old.address[1])


def test_an_ipv6_address_is_learnt(engine: native.Engine) -> None:
    phone = Phone(engine, ip="::1")
    phone.receive()
    behind = phone.bind()
    behind.settimeout(5)
    for k in range(3):
        behind.sendto(phone.audio(SILENCE), ("::1", phone.port))
        if k < 2:
            phone.receive()
    event = next(e for e in wait_for(engine, [native.RTP_LATCHED]) if e[0] == native.RTP_LATCHED)
    assert event[1] == phone.leg
    assert event[4] == behind.getsockname()[1]
    assert behind.recv(2048)[0] == 0x80
    assert engine.stats(phone.leg)["remote"] == ("::1", behind.getsockname()[1])
    assert engine.stats(phone.leg)["latched"]


def test_a_taken_ipv6_port_and_no_address(engine: native.Engine) -> None:
    _, port = engine.open_leg("::1")
    with pytest.raises(OSError, match="in use"):
        engine.open_leg("::1", port)
    leg, _ = engine.open_leg("::1")
    for ip in ("::g", "nowhere", ""):
        with pytest.raises(native.EngineError):
            engine.set_remote(leg, ip, 4000)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as far:
        far.bind(("::1", 0))
        far.settimeout(5)
        engine.set_remote(leg, "0:0:0:0:0:0:0:1", far.getsockname()[1])
        assert len(far.recv(2048)) == 172
    assert engine.stats(leg)["remote"][0] == "::1"
    assert not np.any(engine.stats(leg)["send_failed"])
