"""Where SIP is heard and what peers are told: `sip:` of gateway.yaml, and what is said about what can't be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import load_config
from gateway.config_listen import SipListen
from gateway.core.errors import Findings
from gateway.sip.certificates import Certificate, Pair
from gateway.sip.config import SipConfig
from gateway.sip.edge import Listen
from tests.sip.certs import Authority


def read(tmp_path: Path, text: str) -> SipListen:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return load_config(path).sip


def said(tmp_path: Path, text: str) -> str:
    with pytest.raises(Findings) as caught:
        read(tmp_path, text)
    return str(caught.value)


def test_an_address_means_udp_and_tcp(tmp_path: Path) -> None:
    assert read(tmp_path, "sip: {listen: '10.0.0.1:5070'}\n") == SipListen.at("10.0.0.1", 5070)
    assert read(tmp_path, "sip: {}\n").listen == (Listen("udp", "0.0.0.0", 5060), Listen("tcp", "0.0.0.0", 5060))


def test_a_list_of_transports(tmp_path: Path) -> None:
    pair = Authority(tmp_path).pair("sip.test", file="sip")
    found = read(
        tmp_path,
        "sip:\n  listen: [udp://0.0.0.0, 'tcp://[::]:5080', tls://10.0.0.1, ws://0.0.0.0:8088, WSS://0.0.0.0:8089]\n"
        "  tls: {certificate: sip.crt, key: sip.key, authorities: ca.pem, verify: mutual}\n"
        "  origins: [https://desk.example.com]\n"
        "  connections: {total: 50, per_address: 5, idle: 10m}\n",
    )
    assert [str(each) for each in found.listen] == [
        "udp://0.0.0.0:5060",
        "tcp://[::]:5080",
        "tls://10.0.0.1:5061",
        "ws://0.0.0.0:8088",
        "wss://0.0.0.0:8089",
    ]
    assert found.certificate == Certificate((pair,), tmp_path / "ca.pem", "mutual")
    assert found.origins == ("https://desk.example.com",)
    limits = found.connections
    assert (limits.total, limits.per_address, limits.idle) == (50, 5, 600.0)


def test_certificates_by_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.pair("one.test", file="one")
    authority.pair("two.test", file="two")
    found = read(
        tmp_path,
        "sip:\n  tls:\n    certificate: one.crt\n    key: one.key\n"
        "    names:\n      - {certificate: two.crt, key: two.key}\n",
    )
    assert found.certificate.pairs == (
        Pair(tmp_path / "one.crt", tmp_path / "one.key"),
        Pair(tmp_path / "two.crt", tmp_path / "two.key"),
    )


def test_everything_wrong_is_told_with_its_place(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.pair("one.test", file="one")
    authority.pair("two.test", file="two")
    shown = said(
        tmp_path,
        "sip:\n"
        "  listen:\n"
        "    - tpc://0.0.0.0:5060\n"
        "    - udp://sip.example.com:5060\n"
        "    - tcp://0.0.0.0:99999\n"
        "    - wss://0.0.0.0:8089\n"
        "    - tcp://0.0.0.0:5060\n"
        "    - ws://0.0.0.0:5060\n"
        "    - nowhere\n"
        "  local_networks: [10.0.0.0/33]\n"
        "  origins: [desk.example.com]\n"
        "  tls:\n"
        "    certificate: gone.crt\n"
        "    key: one.key\n"
        "    names:\n"
        "      - {certificate: one.crt, key: two.key}\n"
        "      - {certificate: one.crt}\n"
        "    authorities: none.pem\n"
        "    verify: mutal\n"
        "  connections: {total: 0, idle: 1s}\n",
    )
    for line in (
        ":3:7: unknown transport tpc",
        "did you mean: tcp",
        ":4:7: listen of sip can't be used\n  read: sip.example.com",
        ":5:7: listen of sip can't be used\n  read: tcp://0.0.0.0:99999",
        ":8:7: two listeners of sip want one port",
        ":9:7: listen of sip can't be used",
        ":10:19: local_networks of sip",
        ":11:12: origins of sip",
        f":13:18: certificate {tmp_path / 'gone.crt'} can't be used: no such file",
        f":16:23: certificate {tmp_path / 'one.crt'} can't be used: the key does not belong",
        ":17:9: a name of tls has no key",
        f":18:18: authorities {tmp_path / 'none.pem'} can't be used",
        ":19:13: verify of tls can't be used",
        "did you mean: mutual",
        ":20:24: total of connections",
        ":20:33: idle of connections",
    ):
        assert line in shown, shown
    assert "needs a certificate" not in shown  # it has one, which is told where it is named


def test_tls_without_a_certificate_is_told(tmp_path: Path) -> None:
    assert ":1:15: wss needs a certificate" in said(tmp_path, "sip: {listen: 'wss://0.0.0.0:8089'}\n")


@pytest.mark.parametrize("domain", ["''", "'a b'", "'a\"b;x'", "-x", "'x@y'"])
def test_a_domain_has_to_be_one(tmp_path: Path, domain: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"sip: {{domain: {domain}}}\n")
    with pytest.raises(Findings) as caught:
        load_config(path)
    assert ":1:15: domain of sip can't be used" in str(caught.value)


@pytest.mark.parametrize("address", ["0.0.0.0", "'::'", "224.0.0.1", "'tcp://0.0.0.0:5060'"])
def test_an_address_that_nobody_reaches_is_not_advertised(tmp_path: Path, address: str) -> None:
    shown = said(tmp_path, f"sip: {{advertise: {address}}}\n")
    assert ":1:18: advertise of sip can't be used" in shown
    assert "1 error" in shown


@pytest.mark.parametrize(
    "text", ["http: {listen: '127.0.0.1:²'}", "media: {ports: '²0000-30000'}", "sip: {dns: {servers: '1.2.3.4:²'}}"]
)
def test_digits_are_those_of_ascii(tmp_path: Path, text: str) -> None:
    assert "²" in said(tmp_path, text + "\n")


@pytest.mark.parametrize(
    ("advertise", "expected"),
    [
        ("203.0.113.5", {"udp": ("203.0.113.5", 5060), "tcp": ("203.0.113.5", 5070)}),
        ("sip.example.com", {"udp": ("sip.example.com", 5060), "tcp": ("sip.example.com", 5070)}),
        ("203.0.113.5:6060", {"udp": ("203.0.113.5", 6060), "tcp": ("203.0.113.5", 6060)}),
        ("[tcp://sip.example.com:443]", {"tcp": ("sip.example.com", 443)}),
    ],
)
def test_what_peers_on_the_other_side_of_a_nat_are_told(
    tmp_path: Path, advertise: str, expected: dict[str, tuple[str, int]]
) -> None:
    found = read(tmp_path, f"sip:\n  listen: [udp://10.0.0.1, tcp://10.0.0.1:5070]\n  advertise: {advertise}\n")
    assert found.advertise == expected


def test_what_can_not_be_advertised(tmp_path: Path) -> None:
    shown = said(tmp_path, "sip:\n  advertise: [udp://203.0.113.5, udp://203.0.113.6, 'a b', 'tcp://x_y:1']\n")
    for line in (":2:34: udp is advertised twice", ":2:53: advertise of sip", ":2:60: advertise of sip"):
        assert line in shown


def test_each_peer_is_told_the_address_it_can_reach() -> None:
    listen = (Listen("udp", "0.0.0.0", 5060), Listen("tcp", "::", 5070), Listen("tls", "10.0.0.1", 5061))
    sip = SipListen(listen, {"udp": ("203.0.113.5", 6060), "tls": ("sip.example.com", 443)})
    config = sip.applied(SipConfig(), lambda peer: "fd00::7" if ":" in peer else "10.0.0.7")
    assert config.told("udp", "10.0.0.99") == ("10.0.0.7", 5060)
    assert config.told("udp", "198.51.100.9") == ("203.0.113.5", 6060)
    assert config.told("tcp", "fd00::99") == ("fd00::7", 5070)
    assert config.told("tls", "198.51.100.9") == ("sip.example.com", 443)
    assert config.means_us("sip.example.com")
    assert config.means_us("localhost")
    assert sip.outside("198.51.100.9") == "203.0.113.5"
    assert sip.outside("192.168.1.9") == sip.outside("2001:db8::1") == ""
    assert replace(sip, local=("198.51.100.0/24",)).outside("198.51.100.9") == ""


def test_the_address_that_listeners_share() -> None:
    assert SipListen().host == "0.0.0.0"
    assert SipListen.at("10.0.0.1", 5060).host == "10.0.0.1"
    assert SipListen((Listen("udp", "10.0.0.1", 1), Listen("tcp", "10.0.0.2", 1))).host == "0.0.0.0"
    assert SipListen.at("::1", 5060).host == ""
