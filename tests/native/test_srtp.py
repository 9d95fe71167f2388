"""SRTP through libsrtp: against pylibsrtp's own face, and against RFC 3711 with nothing of libsrtp."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import srtp

if reason := srtp.why_not("AES_CM_128_HMAC_SHA1_80"):
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)

import pylibsrtp

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": (30, 10, 10, pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80),
    "AES_CM_128_HMAC_SHA1_32": (30, 4, 10, pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32),
    "AEAD_AES_128_GCM": (28, 16, 16, pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM),
}


def rtp(seq: int, ssrc: int = 0xCAFEBABE, payload: bytes = bytes(160)) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, seq & 0xFFFF, seq * 160 & 0xFFFFFFFF, ssrc) + payload


def rr(ssrc: int = 0xCAFEBABE) -> bytes:
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc)


def keys(profile: str, seed: int = 1) -> tuple[bytes, bytes]:
    n = PROFILES[profile][0]
    return bytes((seed + k) % 256 for k in range(n)), bytes((seed + 7 * k) % 256 for k in range(n))


def pair(profile: str) -> tuple[srtp.SrtpPair, srtp.SrtpPair]:
    own, peer = keys(profile)
    return srtp.SrtpPair(profile, own, peer), srtp.SrtpPair(profile, peer, own)


def binding(profile: str, key: bytes, kind: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=PROFILES[profile][3])
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


@pytest.mark.parametrize("profile", PROFILES)
def test_there_and_back_with_pylibsrtps_own_face(profile: str) -> None:
    own, peer = keys(profile)
    ours = srtp.SrtpPair(profile, own, peer)
    hears = binding(profile, own, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    says = binding(profile, peer, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    _, tag, control_tag, _ = PROFILES[profile]
    for seq in range(50):
        plain = rtp(seq, payload=os.urandom(seq * 5))
        sealed = ours.protect(plain)
        assert len(sealed) == len(plain) + tag
        assert hears.unprotect(sealed) == plain
        assert ours.unprotect(says.protect(plain)) == plain
        report = rr() + os.urandom(4 * seq)
        sealed = ours.protect_rtcp(report)
        assert len(sealed) == len(report) + 4 + control_tag
        assert hears.unprotect_rtcp(sealed) == report
        assert ours.unprotect_rtcp(says.protect_rtcp(report)) == report
    assert ours.counters == {"sealed": 100, "unsealed": 0, "opened": 100, "replayed": 0, "forged": 0}


@pytest.mark.parametrize("profile", PROFILES)
def test_replays_and_forgeries_are_refused_and_counted(profile: str) -> None:
    ours, peer = pair(profile)
    first, second = ours.protect(rtp(1)), ours.protect(rtp(2))
    assert peer.unprotect(first) == rtp(1)
    assert peer.unprotect(first) == -2
    for at in (0, 8, 20, len(second) - 1):
        bad = bytearray(second)
        bad[at] ^= 1
        assert peer.unprotect(bytes(bad)) == -1
    assert peer.unprotect(second) == rtp(2)
    assert peer.counters["replayed"] == 1
    assert peer.counters["forged"] == 4
    assert ours.protect(rtp(2)) is None
    assert ours.counters["unsealed"] == 1


@pytest.mark.parametrize("profile", PROFILES)
@given(packet=st.binary(max_size=64), control=st.booleans(), version=st.booleans())
def test_garbage_is_refused(profile: str, packet: bytes, control: bool, version: bool) -> None:
    ours, _ = pair(profile)
    packet = b"\x80" + packet[1:] if version else packet
    assert (ours.unprotect_rtcp if control else ours.unprotect)(packet) == -1
    assert ours.counters["forged"] == 1


def test_what_cannot_be_used_is_said() -> None:
    with pytest.raises(ValueError, match="30 octets"):
        srtp.SrtpPair("AES_CM_128_HMAC_SHA1_80", bytes(29), bytes(30))
    with pytest.raises(ValueError, match="AEAD_AES_128_GCM"):
        srtp.SrtpPair("F8_128_HMAC_SHA1_80", bytes(30), bytes(30))
