"""Legs with SRTP: the far end is libsrtp itself; what is forged or replayed is counted and heard by nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pylibsrtp
import pytest

import native

from .wire import SILENCE, Phone, converse, tone, tones_in, wait_for

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30, 10),
    "AES_CM_128_HMAC_SHA1_32": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30, 4),
    "AEAD_AES_128_GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28, 16),
}
"""libsrtp's number; octets of key and salt; octets that sealing adds."""


def secure(engine: native.Engine, profile: str = "AES_CM_128_HMAC_SHA1_80", **agreed: Any) -> Phone:
    """A phone whose leg has keys, and which has them too."""
    number, octets, _ = PROFILES[profile]
    ours, theirs = (np.random.default_rng(seed).bytes(octets) for seed in (1, 2))
    phone = Phone(engine, signal=False)
    engine.set_keys(phone.leg, profile, ours, theirs)
    policy = pylibsrtp.Policy
    out = pylibsrtp.Session(policy(theirs, policy.SSRC_ANY_OUTBOUND, srtp_profile=number))
    into = pylibsrtp.Session(policy(ours, policy.SSRC_ANY_INBOUND, srtp_profile=number))
    phone.seal, phone.seal_control = out.protect, out.protect_rtcp
    phone.unseal, phone.unseal_control = into.unprotect, into.unprotect_rtcp
    engine.set_remote(phone.leg, phone.ip, phone.address[1], 0, 101, **agreed)
    return phone


@pytest.mark.parametrize("profile", PROFILES)
def test_audio_is_sealed_both_ways(engine: native.Engine, profile: str) -> None:
    phone = secure(engine, profile)
    assert len(phone.socket.recv(2048)) == 172 + PROFILES[profile][2]
    engine.tap(phone.leg, True)
    engine.play(phone.leg, [engine.load_prompt(tone(700, 60, 4000))], 1)
    (heard,) = converse([phone], [tone(1100, 30, 4000)])
    out = np.zeros((32000, 2), np.int16)
    left = out[: engine.read_tap(phone.leg, out), 0]
    assert tones_in(heard[-15:], [700, 1100]) == {700}
    assert tones_in(left[-15 * 160 :], [700, 1100]) == {1100}
    stats = engine.stats(phone.leg)
    assert (stats["srtp_forged"], stats["srtp_replayed"], stats["lost"]) == (0, 0, 0)


def test_a_secure_and_a_plain_leg_hear_each_other(engine: native.Engine) -> None:
    phones = [secure(engine), Phone(engine)]
    engine.bridge(phones[0].leg, phones[1].leg)
    heard = converse(phones, [tone(700, 30, 4000), tone(1100, 30, 4000)])
    assert [tones_in(h[-12:], [700, 1100]) for h in heard] == [{1100}, {700}]


def test_what_is_forged_or_replayed_is_counted_and_not_heard(engine: native.Engine) -> None:
    phone = secure(engine)
    phone.hear(3)
    octets = phone.audio(SILENCE)
    phone.send(octets)
    phone.send(octets)
    loud = phone.audio(tone(500, 1))
    phone.send(loud[:-1] + bytes([loud[-1] ^ 1]))
    phone.send(b"\x80\x00" + b"\x55" * 170)
    phone.hear(5)
    stats = engine.stats(phone.leg)
    assert (stats["srtp_replayed"], stats["srtp_forged"]) == (1, 2)
    assert stats["duplicate"] == 0
    assert stats["packets_received"] in (8, 9)


def test_only_authentic_packets_teach_an_address(engine: native.Engine) -> None:
    phone = secure(engine)
    phone.receive()
    stranger = phone.bind()
    seal, phone.seal = phone.seal, bytes
    for _ in range(6):
        stranger.sendto(phone.audio(SILENCE), (phone.ip, phone.port))
        phone.receive()
    assert not [e for e in engine.events() if e[0] == native.RTP_LATCHED]
    assert engine.stats(phone.leg)["srtp_forged"] == 6
    phone.seal = seal
    moved = phone.bind()
    for _ in range(3):
        moved.sendto(phone.audio(SILENCE), (phone.ip, phone.port))
    event = next(e for e in wait_for(engine, [native.RTP_LATCHED]) if e[0] == native.RTP_LATCHED)
    assert event[4] == moved.getsockname()[1]


def test_keys_of_the_telephone_are_sealed_too(engine: native.Engine) -> None:
    phone = secure(engine)
    phone.hear(3)
    phone.send(phone.packet(b"\x05\x0a\x00\xa0", 101, marker=True))
    event = next(e for e in wait_for(engine, [native.KEY]) if e[0] == native.KEY)
    assert chr(event[3]) == "5"


def test_keys_that_can_not_be_are_refused(engine: native.Engine) -> None:
    leg, _ = engine.open_leg("127.0.0.1")
    for profile, own, peer in (
        ("AES_CM_256", bytes(30), bytes(30)),
        ("AES_CM_128_HMAC_SHA1_80", bytes(28), bytes(30)),
        ("AEAD_AES_128_GCM", bytes(28), bytes(30)),
    ):
        with pytest.raises(native.EngineError):
            engine.set_keys(leg, profile, own, peer)
    with pytest.raises(native.EngineError, match="not open"):
        engine.set_keys(leg + 1, "AEAD_AES_128_GCM", bytes(28), bytes(28))
