"""Certificates: whom they convince, by which name, how they are replaced, what is said of those that can't be used."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.sip.certificates import Certificate, Contexts, Pair
from gateway.sip.tls import Tls
from tests.sip.certs import Authority


def meet(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "sip.test") -> tuple[Tls, Tls]:
    """Both sides after their handshake, come of it what may."""
    ours, theirs = Tls(server, server=True), Tls(client, server=False, name=name)
    for _ in range(6):
        ours.receive(theirs.output)
        theirs.receive(ours.output)
    return ours, theirs


def server_of(contexts: Contexts) -> ssl.SSLContext:
    assert contexts.server
    return contexts.server


def shown(side: Tls) -> set[str]:
    names = side.peer().get("subjectAltName", ())
    assert isinstance(names, tuple)
    return {value for _, value in names}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_both_sides_understand_each_other(authority: Authority) -> None:
    contexts = Contexts(authority.certificate("sip.test"))
    ours, theirs = meet(server_of(contexts), contexts.client)
    assert ours.ready
    assert theirs.ready
    assert shown(theirs) == {"sip.test"}
    theirs.send(b"INVITE" * 10_000)
    heard = b""
    while data := theirs.output:
        heard += ours.receive(data)
    assert heard == b"INVITE" * 10_000
    ours.close()
    assert theirs.receive(ours.output) == b""
    assert (theirs.over, theirs.trouble) == (True, "")


@pytest.mark.parametrize(
    ("name", "ready", "trouble"),
    [("sip.test", True, ""), ("192.0.2.1", False, "ip address mismatch"), ("other.test", False, "hostname mismatch")],
)
def test_the_name_has_to_be_in_the_certificate(authority: Authority, name: str, ready: bool, trouble: str) -> None:
    contexts = Contexts(authority.certificate("sip.test"))
    _, theirs = meet(server_of(contexts), contexts.client, name)
    assert theirs.ready is ready
    assert trouble in theirs.trouble


def test_an_authority_nobody_trusts_does_not_convince(authority: Authority, tmp_path: Path) -> None:
    stranger = Contexts(Authority(tmp_path / "other", "stranger").certificate("sip.test"))
    ours, theirs = meet(server_of(stranger), Contexts(authority.certificate("sip.test")).client)
    assert "unable to get local issuer certificate" in theirs.trouble
    assert "unknown ca" in ours.trouble
    blind = Contexts(Certificate(verify="none")).client
    assert meet(server_of(stranger), blind)[1].ready


def test_mutual_asks_for_a_certificate(authority: Authority, tmp_path: Path) -> None:
    mutual = Contexts(authority.certificate("sip.test", verify="mutual"))
    ours, _ = meet(server_of(mutual), mutual.client)
    assert shown(ours) == {"sip.test"}
    ours, _ = meet(server_of(mutual), Contexts(Certificate((), authority.file)).client)
    assert "peer did not return a certificate" in ours.trouble
    stranger = Certificate((Authority(tmp_path / "other", "stranger").pair("sip.test"),), authority.file)
    ours, _ = meet(server_of(mutual), Contexts(stranger).client)
    assert not ours.ready


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(authority: Authority, version: ssl.TLSVersion) -> None:
    contexts = Contexts(authority.certificate("sip.test"))
    old = contexts.client
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = version, version
    ours, theirs = meet(server_of(contexts), old)
    assert not ours.ready
    assert not theirs.ready


def test_each_name_is_shown_its_certificate(authority: Authority) -> None:
    pairs = [authority.pair("one.test", "alias.test"), authority.pair("two.test"), authority.pair("*.three.test")]
    contexts = Contexts(Certificate(tuple(pairs), authority.file))
    for name, expected in (
        ("one.test", "one.test"),
        ("ALIAS.test", "one.test"),
        ("two.test", "two.test"),
        ("a.three.test", "*.three.test"),
    ):
        _, theirs = meet(server_of(contexts), contexts.client, name)
        assert expected in shown(theirs), name
    blind = Contexts(Certificate(verify="none")).client
    for unknown in ("four.test", "192.0.2.1"):
        ours, theirs = meet(server_of(contexts), blind, unknown)
        assert ours.ready
        assert theirs.ready


def touched(pair: Pair, seconds: float) -> None:
    for path in (pair.certificate, pair.key):
        os.utime(path, (time.time() + seconds,) * 2)


def test_new_files_serve_new_connections_and_the_old_ones_live_on(authority: Authority) -> None:
    contexts = Contexts(authority.certificate("sip.test"))
    ours, theirs = meet(server_of(contexts), contexts.client)
    assert not contexts.refresh(10.0)
    touched(authority.pair("new.test", file="sip.test"), 5)
    assert not contexts.refresh(20.0)  # it may be half written
    assert contexts.refresh(30.0)
    assert not contexts.refresh(40.0)
    assert shown(meet(server_of(contexts), contexts.client, "new.test")[1]) == {"new.test"}
    theirs.send(b"still here")
    assert ours.receive(theirs.output) == b"still here"


def test_new_files_that_are_broken_change_nothing(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    contexts = Contexts(authority.certificate("sip.test"))
    pair = contexts.certificate.pairs[0]
    pair.key.write_text("no key")
    touched(pair, 5)
    assert not any(contexts.refresh(now) for now in (10.0, 20.0, 30.0))
    assert len(caplog.records) == 1
    assert meet(server_of(contexts), contexts.client)[1].ready
    touched(authority.pair("sip.test"), 10)
    assert [contexts.refresh(now) for now in (40.0, 50.0)] == [False, True]


# --- errors for people ------------------------------------------------------------------------------------------------


def said(certificate: Certificate) -> str:
    with pytest.raises(ConfigError) as caught:
        Contexts(certificate)
    return str(caught.value)


def test_files_that_are_missing_or_no_pem(authority: Authority, tmp_path: Path) -> None:
    pair = authority.pair("sip.test")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    gone = tmp_path / "gone.pem"
    assert f"certificate {gone} can't be used: no such file" in said(Certificate((Pair(gone, pair.key),)))
    assert f"key {gone} can't be used: no such file" in said(Certificate((Pair(pair.certificate, gone),)))
    assert f"authorities {gone} can't be used: no such file" in said(Certificate((), gone))
    assert "PEM" in said(Certificate((Pair(empty, pair.key),)))
    assert "PEM" in said(Certificate((), empty))


def test_a_key_of_another_certificate(authority: Authority) -> None:
    one, two = authority.pair("one.test"), authority.pair("two.test")
    assert "the key does not belong to the certificate" in said(Certificate((Pair(one.certificate, two.key),)))


def test_a_key_with_a_passphrase(authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization

    pair = authority.pair("sip.test")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    assert "is locked with a passphrase" in said(Certificate((pair,)))


def test_days_left_are_told_before_and_after(authority: Authority) -> None:
    now = time.time()
    contexts = Contexts(Certificate((authority.pair("a.test", days=40), authority.pair("b.test", days=9))))
    assert [one.days_left(now) for one in contexts.shown] == pytest.approx([40, 9], abs=0.01)
    (trouble,) = contexts.trouble(now)
    assert "b.test.crt expires in 9 days" in trouble
    assert "expired 3 days ago" in contexts.trouble(now + 12 * 86400)[0]
    gone = Contexts(Certificate((authority.pair("c.test", days=-5),)))
    assert "c.test.crt expired 5 days ago" in gone.trouble(now)[0]
