"""SRTP through libsrtp: against pylibsrtp's own face, and against RFC 3711 with nothing of libsrtp."""

from __future__ import annotations

import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import foreign_srtp, srtp

from . import rfc3711

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


def test_the_standards_own_vectors() -> None:
    """FIPS 197 appendix C.1, RFC 3711 appendix B.2 and B.3, RFC 7714 section 16.1.1: what the checks below stand on."""
    take = bytes.fromhex
    assert rfc3711.aes(bytes(range(16)), take("00112233445566778899aabbccddeeff")) == take(
        "69c4e0d86a7b0430d8cdb78070b4c55a"
    )
    stream = rfc3711.counter_mode(
        take("2b7e151628aed2a6abf7158809cf4f3c"), int("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000", 16), bytes(32)
    )
    assert stream == take("e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab")
    key, salt = take("e1f97a0d3e018be0d64fa32c06de4139"), take("0ec675ad498afeebb6960b3aabe6")
    assert rfc3711.derive(key, salt, 0, 16) == take("c61e7a93744f39ee10734afe3ff7a087")
    assert rfc3711.derive(key, salt, 2, 14) == take("30cbbc08863d8c85d49db34a9ae1")
    assert rfc3711.derive(key, salt, 1, 20) == take("cebe321f6ff7716b6fd4ab49af256a156d38baa4")
    head, body = take("8040f17b8041f8d35501a0b2"), b"Gallia est omnis divisa in partes tres"
    assert rfc3711.gcm(bytes(range(16)), take("51753c6580c2726f20718414"), body, head) == take(
        "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce"
    )


def test_a_packet_known_to_the_octet() -> None:
    """The key of RFC 3711 appendix B.3 and the packet libsrtp's own tests seal with it."""
    key = bytes.fromhex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6")
    plain = bytes.fromhex("800f1234decafbadcafebabe") + b"\xab" * 16
    sealed = bytes.fromhex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb")
    assert srtp.SrtpPair("AES_CM_128_HMAC_SHA1_80", key, key).protect(plain) == sealed
    assert srtp.SrtpPair("AES_CM_128_HMAC_SHA1_80", key, key).unprotect(sealed) == plain


@pytest.mark.parametrize("profile", PROFILES)
@given(
    body=st.binary(max_size=50),
    seq=st.integers(0, 32767),
    ssrc=st.integers(0, 2**32 - 1),
    key=st.binary(min_size=30, max_size=30),
)
def test_packets_are_what_the_standards_say(profile: str, body: bytes, seq: int, ssrc: int, key: bytes) -> None:
    key = key[: PROFILES[profile][0]]
    ours = srtp.SrtpPair(profile, key, key)
    assert ours.protect(rtp(seq, ssrc, body)) == rfc3711.protect(profile, key, rtp(seq, ssrc, body))
    for index in (1, 2):
        assert ours.protect_rtcp(rr(ssrc) + body) == rfc3711.protect_rtcp(profile, key, rr(ssrc) + body, index)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_rollover_counter_goes_on_after_65536_packets(profile: str) -> None:
    ours, peer = pair(profile)
    own, _ = keys(profile)
    for seq in range(65530, 2 * 65536 + 10):
        sealed = ours.protect(rtp(seq, payload=b"x"))
        if seq % 65536 in (65535, 0, 1):
            assert sealed == rfc3711.protect(profile, own, rtp(seq, payload=b"x"), seq >> 16)
        if seq % 3 or seq % 65536 < 10:
            assert peer.unprotect(sealed) == rtp(seq, payload=b"x")
    assert peer.counters["forged"] == peer.counters["replayed"] == 0


@pytest.mark.parametrize("profile", PROFILES)
def test_a_thousand_packets_may_come_late_and_each_but_once(profile: str) -> None:
    ours, peer = pair(profile)
    sealed = [ours.protect(rtp(seq)) for seq in range(65000, 65000 + 3000)]  # the number wraps on the way
    assert peer.unprotect(sealed[0]) == rtp(65000)
    assert peer.unprotect(sealed[2999]) == rtp(67999)
    assert peer.unprotect(sealed[2999 - 1024]) == -2
    for back in range(1, 1024):
        assert peer.unprotect(sealed[2999 - back]) == rtp(67999 - back)
    assert {peer.unprotect(sealed[2999 - back]) for back in range(1025)} == {-2}
    report = ours.protect_rtcp(rr())
    assert peer.unprotect_rtcp(report) == rr()
    assert peer.unprotect_rtcp(report) == -2


@pytest.mark.parametrize("profile", PROFILES)
def test_a_peer_may_change_its_ssrc_but_not_for_ever(profile: str) -> None:
    ours, peer = pair(profile)
    for ssrc in range(200):
        forged = rtp(1, 1000 + ssrc) + bytes(PROFILES[profile][1])
        assert peer.unprotect(forged) == -1  # a stranger takes no place
    for ssrc in range(64):
        assert peer.unprotect(ours.protect(rtp(1, ssrc))) == rtp(1, ssrc)
    assert peer.unprotect(ours.protect(rtp(1, 64))) == -1
    assert peer.unprotect_rtcp(ours.protect_rtcp(rr(65))) == -1
    for ssrc in range(64):
        assert peer.unprotect(ours.protect(rtp(2, ssrc))) == rtp(2, ssrc)
        assert peer.unprotect(ours.protect(rtp(2, ssrc)) or b"") == -1
    assert ours.counters["unsealed"] == 64


@pytest.mark.parametrize("profile", PROFILES)
def test_new_keys_take_over_and_an_old_one_that_stays_goes_on(profile: str) -> None:
    ours, peer = pair(profile)
    own, theirs = keys(profile)
    other, _ = keys(profile, 99)
    sealed = b""
    for seq in range(65500, 65600):
        sealed = ours.protect(rtp(seq))
        assert peer.unprotect(sealed) == rtp(seq)
    fresh = srtp.SrtpPair(profile, own, other)  # the peer's key alone is new
    fresh.adopt(ours)
    assert fresh.protect(rtp(65600)) == rfc3711.protect(profile, own, rtp(65600), 1)
    assert fresh.counters["sealed"] == 101
    assert fresh.unprotect(srtp.SrtpPair(profile, other, other).protect(rtp(7))) == rtp(7)
    assert fresh.unprotect(srtp.SrtpPair(profile, theirs, theirs).protect(rtp(8))) == -1
    again = srtp.SrtpPair(profile, theirs, own)
    again.adopt(peer)
    assert again.unprotect(sealed) == -2  # what was replayed before is replayed now
    assert ours.protect(rtp(1)) is None
    assert ours.unprotect(rtp(1)) == -1


@pytest.mark.parametrize("profile", PROFILES)
@given(cut=st.integers(0, 60), flip=st.integers(0, 700), control=st.booleans())
def test_whatever_happens_to_a_packet_it_is_refused(profile: str, cut: int, flip: int, control: bool) -> None:
    ours, peer = pair(profile)
    plain = rr() + bytes(20) if control else rtp(2, payload=bytes(20))
    peer.unprotect(ours.protect(rtp(1)))
    sealed = bytearray((ours.protect_rtcp if control else ours.protect)(plain))
    if flip < 8 * len(sealed):
        sealed[flip // 8] ^= 1 << flip % 8
    elif cut:
        del sealed[-cut:]
    opened = (peer.unprotect_rtcp if control else peer.unprotect)(bytes(sealed))
    assert opened == -1 if flip < 8 * len(sealed) or cut else opened == plain


@pytest.mark.parametrize("profile", PROFILES)
@given(packet=st.binary(max_size=64), control=st.booleans(), version=st.booleans())
def test_garbage_is_refused(profile: str, packet: bytes, control: bool, version: bool) -> None:
    ours, _ = pair(profile)
    packet = b"\x80" + packet[1:] if version else packet
    assert (ours.unprotect_rtcp if control else ours.unprotect)(packet) == -1
    assert ours.counters["forged"] == 1


def test_oversized_packets_are_refused() -> None:
    ours, peer = pair("AEAD_AES_128_GCM")
    assert ours.protect(rtp(1, payload=bytes(65535))) is None
    assert ours.protect(rtp(1)[:11]) is None
    assert ours.protect_rtcp(rr()[:7]) is None
    assert peer.unprotect(rtp(1, payload=bytes(65535))) == -1
    whole = ours.protect(rtp(1, payload=bytes(65000)))
    assert peer.unprotect(whole) == rtp(1, payload=bytes(65000))


def test_pairs_on_several_threads_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        costs = list(pool.map(lambda profile: srtp.cost(profile, 172, 5000), [*PROFILES, *PROFILES]))
    assert len(costs) == 6


class Without:
    """pylibsrtp's binding as if libsrtp had been built without GCM."""

    def __init__(self) -> None:
        self.real = sys.modules["pylibsrtp._binding"]
        self.ffi, self.lib = self, SimpleNamespace(**{n: getattr(self.real.lib, n) for n in dir(self.real.lib)})
        self.lib.srtp_crypto_policy_set_from_profile_for_rtp = self.refuse

    def __getattr__(self, name: str) -> object:
        return getattr(self.real.ffi, name)

    def addressof(self, what: object, *name: str) -> object:
        return self.real.ffi.addressof(self.real.lib if what is self.lib else what, *name)

    def refuse(self, policy: object, profile: int) -> int:
        if profile == self.real.lib.srtp_profile_aead_aes_128_gcm:
            return 2
        return int(self.real.lib.srtp_crypto_policy_set_from_profile_for_rtp(policy, profile))


def test_a_profile_the_library_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcmless", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "gcmless._binding", Without())
    found = foreign_srtp.find("gcmless")
    assert found.why == ""
    assert list(found.missing) == ["AEAD_AES_128_GCM"]
    assert "install pylibsrtp" in found.missing["AEAD_AES_128_GCM"]
    assert [bool(sending) for sending, _ in found.policies] == [True, True, False]


def test_a_missing_or_another_library_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = foreign_srtp.find("no_such_package")
    assert "can't be imported" in missing.why
    assert "install pylibsrtp" in missing.why
    monkeypatch.setitem(foreign_srtp.SIGNATURES, "srtp_protect", "int(*)(void *, size_t)")
    other = foreign_srtp.find()
    assert "srtp_protect is srtp_err_status_t" in other.why
    assert not other.addresses


def test_what_cannot_be_used_is_said() -> None:
    with pytest.raises(ValueError, match="30 octets"):
        srtp.SrtpPair("AES_CM_128_HMAC_SHA1_80", bytes(29), bytes(30))
    with pytest.raises(ValueError, match="AEAD_AES_128_GCM"):
        srtp.SrtpPair("F8_128_HMAC_SHA1_80", bytes(30), bytes(30))
