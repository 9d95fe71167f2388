"""RFC 3263 as a table: a URI and a zone in, places in order out. Nobody is asked, no clock runs."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.locate import MAX_PLACES, Naptr, Query, Record, Srv, locate
from gateway.sip.place import Place
from gateway.sip.uri import Uri, parse_uri

ALL = ("udp", "tcp", "tls", "ws", "wss")
Zone = dict[tuple[str, str], list[Record]]


def find(
    text: str | Uri,
    zone: Zone | None = None,
    transports: tuple[str, ...] = ALL[:3],
    families: tuple[str, ...] = ("A",),
    seed: int = 1,
) -> tuple[list[Place], list[Query]]:
    """Places found and every question asked on the way."""
    uri = parse_uri(text) if isinstance(text, str) else text
    steps, asked = locate(uri, transports, families, random.Random(seed)), []
    try:
        wanted = next(steps)
        while True:
            asked += wanted
            wanted = steps.send({q: (zone or {})[q.name, q.kind] for q in wanted if (q.name, q.kind) in (zone or {})})
    except StopIteration as done:
        return done.value, asked


def shown(places: list[Place]) -> list[str]:
    return [f"{p.transport} {p.ip} {p.port}" + (f" {p.name}" if p.name else "") for p in places]


HOST: Zone = {("box.test", "A"): ["10.0.0.1"]}
SRVS: Zone = {
    ("_sip._udp.example.test", "SRV"): [Srv(10, 0, 5070, "a.test"), Srv(20, 0, 5071, "b.test")],
    ("_sip._tcp.example.test", "SRV"): [Srv(10, 0, 5072, "b.test")],
    ("_sips._tcp.example.test", "SRV"): [Srv(10, 0, 5073, "c.test")],
    ("a.test", "A"): ["10.0.0.1", "10.0.0.2"],
    ("b.test", "A"): ["10.0.0.3"],
    ("c.test", "A"): ["10.0.0.4"],
    ("example.test", "A"): ["10.9.9.9"],
}
NAPTRS: Zone = {
    **SRVS,
    ("example.test", "NAPTR"): [
        Naptr(90, 50, "s", "SIP+D2T", "_sip._tcp.example.test"),
        Naptr(50, 60, "s", "SIP+D2U", "_sip._udp.example.test"),
        Naptr(50, 50, "S", "sips+d2t", "_sips._tcp.example.test"),
        Naptr(10, 50, "s", "SIP+D2S", "_sip._sctp.example.test"),
        Naptr(10, 50, "u", "E2U+sip", ""),
    ],
}
NOT_HERE: Zone = {
    ("_sip._udp.example.test", "SRV"): [Srv(0, 0, 0, "")],
    ("example.test", "A"): ["10.9.9.9"],
}

TABLE: dict[str, tuple[str, Zone, list[str]]] = {
    # an address: nobody is asked
    "an address": ("sip:10.0.0.1", {}, ["udp 10.0.0.1 5060"]),
    "an address and port": ("sip:10.0.0.1:5099", {}, ["udp 10.0.0.1 5099"]),
    "an IPv6 address": ("sip:[2001:db8::1]:5099", {}, ["udp 2001:db8::1 5099"]),
    "an address over TCP": ("sip:10.0.0.1;transport=TCP", {}, ["tcp 10.0.0.1 5060"]),
    "an address over TLS": ("sip:10.0.0.1;transport=tls", {}, ["tls 10.0.0.1 5061 10.0.0.1"]),
    "a secure address": ("sips:10.0.0.1", {}, ["tls 10.0.0.1 5061 10.0.0.1"]),
    "a secure address over TCP": ("sips:10.0.0.1:5090;transport=tcp", {}, ["tls 10.0.0.1 5090 10.0.0.1"]),
    "maddr goes before the host": ("sip:example.test;maddr=10.0.0.7", {}, ["udp 10.0.0.7 5060"]),
    # what can't be sent
    "sips over UDP": ("sips:example.test;transport=udp", SRVS, []),
    "SCTP": ("sip:example.test;transport=sctp", SRVS, []),
    "tel": ("tel:+491234", {}, []),
    "a group's address": ("sip:224.0.1.75", {}, []),
    "no address at all": ("sip:0.0.0.0", {}, []),
    "everybody": ("sip:255.255.255.255", {}, []),
    "a mapped group": ("sip:[::ffff:224.0.1.75]", {}, []),
    "a name that leads to everybody": (
        "sip:x.test:1",
        {("x.test", "A"): ["255.255.255.255", "10.1.1.1"]},
        ["udp 10.1.1.1 1"],
    ),
    # a name and a port: addresses alone
    "a name and port": ("sip:box.test:5099", HOST, ["udp 10.0.0.1 5099"]),
    "a name and port, secure": ("sips:BOX.test.:5099", HOST, ["tls 10.0.0.1 5099 box.test"]),
    "a name, port and transport": ("sip:box.test:5099;transport=tcp", HOST, ["tcp 10.0.0.1 5099"]),
    # a name
    "a name without any records": ("sip:nowhere.test", {}, []),
    "a name with an address only": ("sip:box.test", HOST, ["udp 10.0.0.1 5060"]),
    "a secure name with an address only": ("sips:box.test", HOST, ["tls 10.0.0.1 5061 box.test"]),
    "SRV, our transports in order": (
        "sip:example.test",
        SRVS,
        ["udp 10.0.0.1 5070", "udp 10.0.0.2 5070", "udp 10.0.0.3 5071", "tcp 10.0.0.3 5072"],
    ),
    "SRV of a transport": ("sip:example.test;transport=tcp", SRVS, ["tcp 10.0.0.3 5072"]),
    "SRV, secure": ("sips:example.test", SRVS, ["tls 10.0.0.4 5073 example.test"]),
    "a transport without SRV": ("sip:example.test;transport=ws", SRVS, []),
    "NAPTR says the order": (
        "sip:example.test",
        NAPTRS,
        [
            "tls 10.0.0.4 5073 example.test",
            "udp 10.0.0.1 5070",
            "udp 10.0.0.2 5070",
            "udp 10.0.0.3 5071",
            "tcp 10.0.0.3 5072",
        ],
    ),
    "NAPTR, secure takes SIPS alone": ("sips:example.test", NAPTRS, ["tls 10.0.0.4 5073 example.test"]),
    "NAPTR is not asked for a named transport": (
        "sip:example.test;transport=udp",
        NAPTRS,
        ["udp 10.0.0.1 5070", "udp 10.0.0.2 5070", "udp 10.0.0.3 5071"],
    ),
    "NAPTR to another domain, whose name TLS is not held to": (
        "sip:example.test",
        {
            ("example.test", "NAPTR"): [Naptr(1, 1, "s", "SIPS+D2T", "_sips._tcp.host.test")],
            ("_sips._tcp.host.test", "SRV"): [Srv(1, 1, 5061, "c.test")],
            ("c.test", "A"): ["10.0.0.4"],
        },
        ["tls 10.0.0.4 5061 example.test"],
    ),
    "NAPTR to nothing: its transport at the name's own address": (
        "sip:box.test",
        {**HOST, ("box.test", "NAPTR"): [Naptr(1, 1, "s", "SIP+D2T", "_sip._tcp.gone.test")]},
        ["tcp 10.0.0.1 5060"],
    ),
    "not offered here": ("sip:example.test", NOT_HERE, []),
    "not offered over UDP": (
        "sip:example.test",
        {**NOT_HERE, ("_sip._tcp.example.test", "SRV"): [Srv(1, 1, 5060, "b.test")], ("b.test", "A"): ["10.0.0.3"]},
        ["tcp 10.0.0.3 5060"],
    ),
    "an SRV target without address": (
        "sip:example.test",
        {**SRVS, ("a.test", "A"): []},
        ["udp 10.0.0.3 5071", "tcp 10.0.0.3 5072"],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_uri_leads_to_places(name: str) -> None:
    uri, zone, expected = TABLE[name]
    assert shown(find(uri, zone)[0]) == expected


def test_only_what_is_needed_is_asked() -> None:
    assert find("sip:10.0.0.1")[1] == []
    assert find("sip:box.test:5060")[1] == [("box.test", "A")]
    assert find("sip:box.test;transport=tls")[1] == [("_sips._tcp.box.test", "SRV"), ("box.test", "A")]
    kinds = [kind for _, kind in find("sip:example.test", SRVS)[1]]
    assert kinds == ["NAPTR", "SRV", "SRV", "A", "A"]


def test_both_families_come_in_the_order_asked_for() -> None:
    zone: Zone = {("box.test", "A"): ["10.0.0.1"], ("box.test", "AAAA"): ["2001:db8::1"]}
    assert shown(find("sip:box.test:1", zone, families=("AAAA", "A"))[0]) == ["udp 2001:db8::1 1", "udp 10.0.0.1 1"]
    assert shown(find("sip:box.test:1", zone, families=("A", "AAAA"))[0]) == ["udp 10.0.0.1 1", "udp 2001:db8::1 1"]


def test_websocket_places_have_their_own_ports() -> None:
    assert shown(find("sip:10.0.0.1;transport=ws", transports=ALL)[0]) == ["ws 10.0.0.1 80"]
    assert shown(find("sips:10.0.0.1;transport=ws", transports=ALL)[0]) == ["wss 10.0.0.1 443 10.0.0.1"]
    zone: Zone = {
        ("web.test", "NAPTR"): [Naptr(1, 1, "s", "SIPS+D2W", "_sips._ws.web.test")],
        ("_sips._ws.web.test", "SRV"): [Srv(1, 1, 8443, "w.test")],
        ("w.test", "A"): ["10.0.0.8"],
    }
    assert shown(find("sip:web.test", zone, ALL)[0]) == ["wss 10.0.0.8 8443 web.test"]


def test_what_we_cannot_send_over_is_left_out() -> None:
    assert shown(find("sip:example.test", NAPTRS, ("tcp",))[0]) == ["tcp 10.0.0.3 5072"]
    assert shown(find("sip:10.0.0.1", {}, ("tcp",))[0]) == ["tcp 10.0.0.1 5060"]
    assert find("sips:example.test", NAPTRS, ("udp", "tcp")) == ([], [])
    assert find("sip:example.test", NAPTRS, ()) == ([], [])


def test_calls_are_spread_by_weight() -> None:
    zone: Zone = {
        ("_sip._udp.big.test", "SRV"): [
            Srv(5, 60, 1, "a.test"),
            Srv(5, 40, 2, "a.test"),
            Srv(5, 0, 3, "a.test"),
            Srv(4, 0, 4, "a.test"),
            Srv(6, 9, 5, "a.test"),
        ],
        ("a.test", "A"): ["10.0.0.1"],
    }
    orders = [[p.port for p in find("sip:big.test;transport=udp", zone, seed=seed)[0]] for seed in range(2000)]
    assert all(order[0] == 4 and order[4] == 5 and sorted(order) == [1, 2, 3, 4, 5] for order in orders)
    second = Counter(order[1] for order in orders)
    assert 1100 < second[1] < 1300
    assert 700 < second[2] < 900
    assert 0 < second[3] < 60


def test_equal_servers_without_weight_share_the_calls() -> None:
    zone: Zone = {
        ("_sip._udp.big.test", "SRV"): [Srv(5, 0, port, "a.test") for port in (1, 2, 3)],
        ("a.test", "A"): ["10.0.0.1"],
    }
    first = Counter(find("sip:big.test;transport=udp", zone, seed=seed)[0][0].port for seed in range(600))
    assert all(140 < first[port] < 260 for port in (1, 2, 3))


names = st.sampled_from(["a.test", "b.test", "c.test", "_sip._udp.a.test", "_sip._tcp.b.test", "a.test."])
numbers = st.integers(0, 65535)
records = st.one_of(
    st.builds(
        Naptr,
        numbers,
        numbers,
        st.sampled_from(["s", "S", "a", "u", ""]),
        st.sampled_from(["SIP+D2U", "SIPS+D2T", "x"]),
        names,
    ),
    st.builds(Srv, numbers, numbers, numbers, st.one_of(st.just(""), names)),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "224.0.0.1", "fe80::1"]),
)


@given(
    uri=st.sampled_from(
        ["sip:a.test", "sips:b.test", "sip:b.test;transport=tcp", "sip:c.test:99", "sip:a.test;maddr=b"]
    ),
    zone=st.functions(like=lambda query: None, returns=st.lists(records, max_size=200), pure=True),
    transports=st.lists(st.sampled_from(ALL), unique=True),
    families=st.lists(st.sampled_from(["A", "AAAA"]), unique=True),
)
def test_whatever_a_zone_says_ends_soon(uri, zone, transports, families) -> None:
    steps, rounds = locate(parse_uri(uri), transports, families, random.Random(1)), 0
    try:
        wanted = next(steps)
        while True:
            rounds += 1
            assert rounds <= 3
            assert len(wanted) <= 32
            wanted = steps.send({query: zone(query) for query in wanted})
    except StopIteration as done:
        places = done.value
    assert len(places) == len(set(places)) <= MAX_PLACES
    for place in places:
        assert place.transport in transports
        assert 0 < place.port < 65536
        assert not uri.startswith("sips") or place.transport in ("tls", "wss")
        assert (place.name != "") == (place.transport in ("tls", "wss"))
