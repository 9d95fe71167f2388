"""The table of connections: limits by address, in all and by rate; who is found for which place."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.connections import ConnectionLimits, Connections, source
from gateway.sip.place import Place


@dataclass(eq=False)
class One:
    place: Place
    opened: bool = False


def table(**limits: float) -> Connections[One]:
    return Connections(ConnectionLimits(**limits))


def added(connections: Connections[One], ip: str, port: int = 5060, name: str = "", opened: bool = False) -> One:
    one = One(Place(ip, port, "tls", connections.number(), name), opened)
    connections.add(one)
    return one


def test_a_connection_is_found_by_its_flow_or_its_peer_and_the_name_it_proved() -> None:
    connections = table()
    accepted, opened = added(connections, "192.0.2.1"), added(connections, "192.0.2.1", name="a.test", opened=True)
    assert connections.to(accepted.place) is accepted
    assert connections.to(Place("192.0.2.1", 5060, "tls")) is accepted
    assert connections.to(Place("192.0.2.1", 5060, "tls", 0, "a.test")) is opened
    for other in (
        Place("192.0.2.1", 5060, "tcp"),
        Place("192.0.2.1", 5061, "tls"),
        Place("192.0.2.1", 5060, "tls", 0, "b.test"),
        Place("192.0.2.1", 5060, "tls", 99),
    ):
        assert connections.to(other) is None
    connections.remove(accepted)
    connections.remove(accepted)
    assert connections.to(Place("192.0.2.1", 5060, "tls")) is None
    assert len(connections) == 1


def test_hosts_of_one_ipv6_network_count_together() -> None:
    assert source("2001:db8::1") == source("2001:db8::ffff:1") != source("2001:db8:0:1::1")
    assert source("fe80::1%eth0") == source("fe80::2%eth0")
    assert source("192.0.2.1") == "192.0.2.1"
    connections = table(per_address=2)
    added(connections, "2001:db8::1")
    added(connections, "2001:db8::2")
    assert connections.refuses("2001:db8::3", 0.0) == "connections_refused_address"
    assert connections.refuses("2001:db8:0:1::3", 0.0) is None


def test_connecting_again_and_again_is_slowed_down() -> None:
    connections = table(per_address=5, rate=1.0)
    asked = [connections.refuses("192.0.2.1", 0.0) for _ in range(7)]
    assert asked == [None] * 5 + ["connections_refused_rate"] * 2
    assert connections.refuses("192.0.2.2", 0.0) is None
    assert [connections.refuses("192.0.2.1", 2.0) for _ in range(3)] == [None, None, "connections_refused_rate"]


def test_strangers_go_in_the_order_they_came() -> None:
    connections = table(total=3)
    first, second = added(connections, "192.0.2.1"), added(connections, "192.0.2.2")
    assert not connections.full
    ours = added(connections, "192.0.2.3", opened=True)
    assert connections.full
    assert connections.stranger(lambda one: False) is first
    assert connections.stranger(lambda one: one is first) is second
    assert connections.stranger(lambda one: one is second) is None
    assert connections.to(ours.place) is ours


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.booleans()), max_size=60))
@settings(max_examples=200, deadline=None)
def test_what_was_added_and_removed_leaves_nothing(moves: list[tuple[int, int, bool]]) -> None:
    connections, there = table(), []
    for host, port, add in moves:
        if add:
            there.append(added(connections, f"192.0.2.{host}", port))
        elif there:
            connections.remove(there.pop(host % len(there)))
        assert len(connections) == len(there)
        assert all(connections.to(one.place) is one for one in there)
    for one in there:
        connections.remove(one)
    assert not connections._flows
    assert not connections._peers
    assert not connections._sources
    assert not connections._strangers


def test_rates_of_many_addresses_stay_within_memory() -> None:
    connections = table(rate=1.0)
    for i in range(30_000):
        connections.refuses(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", i * 0.001)
    assert len(connections._spent) <= 10_000
