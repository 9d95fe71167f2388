"""Which address a leg listens on, and which one a peer is told."""

from __future__ import annotations

import socket

import pytest

from gateway.core.errors import MediaError
from gateway.media.addresses import Addresses

V4, V6 = "127.0.0.1", "::1"


def test_a_gateway_on_all_addresses_speaks_both_versions() -> None:
    for hosts in (("0.0.0.0",), ("::",), ("0.0.0.0", "::")):
        everywhere = Addresses(hosts)
        assert (everywhere.bind("192.0.2.7"), everywhere.bind("2001:db8::7")) == ("0.0.0.0", "::")
        assert everywhere.towards(V4) == V4
        assert everywhere.towards(V6) == V6


def test_a_gateway_on_one_address_has_no_other() -> None:
    here = Addresses(("10.0.0.1",))
    assert (here.bind(V4), here.towards(V4)) == ("10.0.0.1", "10.0.0.1")
    for ask in (here.bind, here.towards):
        with pytest.raises(MediaError, match="IPv6"):
            ask(V6)
    both = Addresses(("10.0.0.1", "2001:db8::1"))
    assert (both.towards(V4), both.towards(V6)) == ("10.0.0.1", "2001:db8::1")


def test_what_is_told_holds_for_its_own_family() -> None:
    behind = Addresses(("0.0.0.0",), ("203.0.113.5",))
    assert behind.bind(V4) == "0.0.0.0"
    assert behind.towards(V4) == "203.0.113.5"
    assert behind.towards(V6) == V6


def test_a_peer_beyond_the_nat_is_told_another_address_than_one_on_this_side() -> None:
    behind = Addresses(("10.0.0.1",), outside=lambda peer: "203.0.113.5" if peer == "198.51.100.7" else "")
    assert (behind.towards("198.51.100.7"), behind.towards("10.0.0.9")) == ("203.0.113.5", "10.0.0.1")
    assert behind.own("198.51.100.7") == "10.0.0.1"


def test_no_way_there_tells_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert Addresses(("::",)).towards("2001:db8::7") == V6
    assert Addresses(("::",)).towards("192.0.2.7") == V4
