"""Digest, both ends."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import SipError
from gateway.sip import auth
from gateway.sip.auth import Account, Authenticator, Challenge, Verdict, credentials, read_challenges

ANN = Account("ann", "secret")


def authenticator(*algorithms: str, accounts: tuple[Account, ...] = (ANN,), life: float = 300.0) -> Authenticator:
    serial = itertools.count(1)
    return Authenticator("our.realm", accounts, lambda: f"{next(serial):016x}", life, algorithms or auth.ALGORITHMS)


def login(guard: Authenticator, now: float, account: Account = ANN, nc: int = 1, uri: str = "sip:us") -> str:
    challenge = read_challenges(guard.challenges(now), ())[0]
    value = credentials(challenge, account, "REGISTER", uri, nc, "0a4f113b")
    assert value
    return value


def test_the_example_of_rfc_7616() -> None:
    """Section 3.9.1, both algorithms."""
    nonce, cnonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    account = Account("Mufasa", "Circle of Life")
    for algorithm, expected in (
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        challenge = Challenge(
            "http-auth@example.org", nonce, algorithm, ("auth",), "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
        )
        value = credentials(challenge, account, "GET", "/dir/index.html", 1, cnonce)
        assert value
        assert auth.fields(value)["response"] == expected


def test_rfc_2069_without_qop() -> None:
    challenge = Challenge("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093")
    value = credentials(challenge, Account("Mufasa", "CircleOfLife"), "GET", "/dir/index.html", 1, "x")
    assert value
    assert "qop" not in value
    assert auth.fields(value)["response"] == "1949323746fe6a43ef61f9606e7febea"


@pytest.mark.parametrize("algorithm", auth.ALGORITHMS)
def test_good_credentials_once_per_count(algorithm: str) -> None:
    guard = authenticator(algorithm)
    challenge = read_challenges(guard.challenges(10.0), ())[0]
    for nc in (1, 2, 7):
        value = credentials(challenge, ANN, "REGISTER", "sip:us", nc, "c")
        assert guard.check([value], "REGISTER", 11.0) == (Verdict.GOOD, ANN)
        assert guard.check([value], "REGISTER", 11.0)[0] is Verdict.STALE
    value = credentials(challenge, ANN, "REGISTER", "sip:us", 3, "c")
    assert guard.check([value], "REGISTER", 11.0)[0] is Verdict.STALE


def test_without_qop_a_nonce_serves_once() -> None:
    guard = authenticator("MD5")
    challenge = read_challenges(guard.challenges(10.0), ())[0]
    old = Challenge(challenge.realm, challenge.nonce)
    value = credentials(old, ANN, "REGISTER", "sip:us", 1, "c")
    assert guard.check([value], "REGISTER", 11.0) == (Verdict.GOOD, ANN)
    assert guard.check([value], "REGISTER", 11.0)[0] is Verdict.STALE


def test_an_old_nonce_is_stale_and_the_next_challenge_says_so() -> None:
    guard = authenticator(life=60.0)
    value = login(guard, 10.0)
    assert guard.check([value], "REGISTER", 70.5)[0] is Verdict.STALE
    assert all("stale=true" in value for value in guard.challenges(71.0, stale=True))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("ann", "nobody"), Verdict.WRONG),
        (('response="', 'response="0'), Verdict.WRONG),
        (("nc=00000001", "nc=1"), Verdict.MALFORMED),
        (("nc=00000001", "nc=0000000g"), Verdict.MALFORMED),
        (('cnonce="0a4f113b"', 'cnonce=""'), Verdict.MALFORMED),
        (("qop=auth,", "qop=auth-int,"), Verdict.MALFORMED),
        (("Digest ", "Basic "), Verdict.MISSING),
        (('nonce="', 'nonce="f'), Verdict.STALE),
        (("our.realm", "their.realm"), Verdict.MISSING),
        (("SHA-256", "SHA-512"), Verdict.MISSING),
        (('uri="sip:us"', ""), Verdict.MALFORMED),
        (("Digest ", "Digest realm=x, "), Verdict.MALFORMED),
    ],
)
def test_credentials_that_do_not_serve(change: tuple[str, str], expected: Verdict) -> None:
    guard = authenticator()
    value = login(guard, 10.0).replace(*change)
    assert guard.check([value], "REGISTER", 11.0) == (expected, None)


def test_another_method_or_realm_of_ours_among_several() -> None:
    guard = authenticator()
    value = login(guard, 10.0)
    assert guard.check([value], "INVITE", 11.0)[0] is Verdict.WRONG
    theirs = 'Digest realm="elsewhere", username="x"'
    assert guard.check([theirs, value], "REGISTER", 11.0)[0] is Verdict.GOOD
    assert guard.check([], "REGISTER", 11.0)[0] is Verdict.MISSING


def test_hashed_passwords_serve_for_their_algorithm_only() -> None:
    hashed = Account("ann", ha1={"MD5": auth.digest("MD5", "ann:our.realm:secret").upper()})
    assert (
        authenticator("MD5", accounts=(hashed,)).check([login(authenticator("MD5"), 10.0)], "REGISTER", 11.0)[0]
        is Verdict.GOOD
    )
    guard = authenticator("SHA-256", accounts=(hashed,))
    assert guard.check([login(guard, 10.0)], "REGISTER", 11.0)[0] is Verdict.WRONG
    assert credentials(Challenge("r", "n", "SHA-256"), hashed, "A", "b", 1, "c") is None


def test_used_nonces_are_forgotten_when_they_are_too_old() -> None:
    guard = authenticator(life=60.0)
    for second in range(1000):
        assert guard.check([login(guard, float(second))], "REGISTER", float(second))[0] is Verdict.GOOD
    assert len(guard._counts) <= 62


def test_the_strongest_challenge_that_can_be_answered_comes_first() -> None:
    found = read_challenges(
        [
            'Digest realm="a", nonce="1", algorithm=MD5',
            'Digest realm="a", nonce="1", algorithm=SHA-256, qop="auth,auth-int"',
        ],
        [
            'Digest realm="p", nonce="2", stale=TRUE',
            "Basic x",
            'Digest realm="q", nonce="3", qop="auth-int"',
            "Digest nonsense",
        ],
    )
    assert [(c.algorithm, c.realm, c.proxy, c.stale) for c in found] == [
        ("SHA-256", "a", False, False),
        ("MD5", "a", False, False),
        ("MD5", "p", True, True),
    ]


@given(st.text(max_size=60))
def test_any_header_is_read_or_refused(text: str) -> None:
    guard = authenticator()
    assert guard.check([f"Digest {text}", text], "REGISTER", 1.0)[0] in (Verdict.MISSING, Verdict.MALFORMED)
    try:
        auth.fields(text)
    except SipError:
        return


@given(st.text(min_size=1, max_size=20), st.text(max_size=20), st.sampled_from(auth.ALGORITHMS))
def test_any_name_and_password_pass(user: str, password: str, algorithm: str) -> None:
    user = "".join(c for c in user if c.isprintable()).strip() or "u"
    account = Account(user, password)
    guard = authenticator(algorithm, accounts=(account,))
    assert guard.check([login(guard, 5.0, account)], "REGISTER", 5.0) == (Verdict.GOOD, account)
