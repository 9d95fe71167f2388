"""Real questions to a DNS server of our own on the loopback."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.sip import resolver as module
from gateway.sip.locate import Query
from gateway.sip.resolver import DnsResolver
from gateway.sip.uri import parse_uri
from tests.sip.name_server import NameServer

ZONE = {
    ("example.test", "NAPTR"): [
        '10 50 "s" "SIPS+D2T" "" _sips._tcp.example.test.',
        '20 50 "s" "SIP+D2U" "" _sip._udp.Example.test.',
    ],
    ("_sips._tcp.example.test", "SRV"): ["0 0 5061 one.test."],
    ("_sip._udp.example.test", "SRV"): ["0 0 5070 one.test.", "1 0 5071 two.test."],
    ("one.test", "A"): ["127.0.0.1"],
    ("one.test", "AAAA"): ["::1"],
    ("two.test", "A"): ["127.0.0.2"],
    ("none.test", "SRV"): ["0 0 0 ."],
}


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    server = await NameServer.start(ZONE)
    yield server
    server.close()


class Clock:
    """`time.monotonic` in the tests' hands."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def resolver(server: NameServer, tmp_path: Path, **more: object) -> tuple[DnsResolver, Counter[str]]:
    counted: Counter[str] = Counter()
    hosts = tmp_path / "hosts"
    settings = {"transports": ("udp", "tcp", "tls"), "servers": [server.at], "hosts": hosts, **more}
    return DnsResolver(**settings, count=lambda name: counted.update([name])), counted


async def where(found: DnsResolver, text: str) -> list[str]:
    return [f"{p.transport} {p.ip} {p.port}" for p in await found.locate(parse_uri(text))]


async def test_naptr_srv_and_addresses(server: NameServer, tmp_path: Path) -> None:
    dns, _ = resolver(server, tmp_path, families=("A", "AAAA"))
    assert await where(dns, "sip:example.test") == [
        "tls 127.0.0.1 5061",
        "tls ::1 5061",
        "udp 127.0.0.1 5070",
        "udp ::1 5070",
        "udp 127.0.0.2 5071",
    ]
    (place, *_) = await dns.locate(parse_uri("sips:example.test"))
    assert place.name == "example.test"


async def test_answers_are_kept_for_their_time(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    dns, counted = resolver(server, tmp_path)
    for _ in range(3):
        assert await where(dns, "sip:two.test:5060") == ["udp 127.0.0.2 5060"]
    assert counted["dns_queries"] == 1
    clock.now += 301
    await where(dns, "sip:two.test:5060")
    assert counted["dns_queries"] == 2
    server.zone["two.test", "A"] = ["127.0.0.3"]
    assert await where(dns, "sip:two.test:5060") == ["udp 127.0.0.2 5060"]
    clock.now += 301
    assert await where(dns, "sip:two.test:5060") == ["udp 127.0.0.3 5060"]


async def test_a_name_that_does_not_exist_is_remembered_as_such(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    dns, counted = resolver(server, tmp_path)
    for _ in range(3):
        assert await where(dns, "sip:gone.test:5060") == []
    assert (counted["dns_queries"], counted["dns_failures"]) == (1, 0)
    clock.now += 61  # the zone's own time for what isn't there
    server.zone["gone.test", "A"] = ["127.0.0.9"]
    assert await where(dns, "sip:gone.test:5060") == ["udp 127.0.0.9 5060"]
    server.soa = False  # without the zone's word it is not believed for long
    assert await where(dns, "sip:lost.test:5060") == []
    server.zone["lost.test", "A"] = ["127.0.0.9"]
    clock.now += module.FAILED_S + 1
    assert await where(dns, "sip:lost.test:5060") == ["udp 127.0.0.9 5060"]


async def test_old_answers_serve_while_no_server_does(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    dns, counted = resolver(server, tmp_path, timeout=0.3)
    await where(dns, "sip:two.test:5060")
    clock.now += 400
    server.failing = True
    assert await where(dns, "sip:two.test:5060") == ["udp 127.0.0.2 5060"]
    assert counted["dns_stale"] == 1
    assert await where(dns, "sip:one.test:5060") == []
    clock.now += module.STALE_S
    assert await where(dns, "sip:two.test:5060") == []


async def test_a_server_that_says_nothing_is_given_up(server: NameServer, tmp_path: Path) -> None:
    server.mute = True
    dns, counted = resolver(server, tmp_path, timeout=0.3)
    assert await where(dns, "sip:one.test:5060") == []
    assert counted["dns_failures"] == 1
    assert await where(dns, "sip:one.test:5060") == []
    assert counted["dns_queries"] == 1  # not asked again at once


async def test_the_second_server_answers_for_the_first(server: NameServer, tmp_path: Path) -> None:
    silent = await NameServer.start({})
    silent.failing = True
    dns, _ = resolver(server, tmp_path, servers=[silent.at, server.at])
    assert await where(dns, "sip:two.test:5060") == ["udp 127.0.0.2 5060"]
    assert silent.asked["two.test", "A"] >= 1
    silent.close()


async def test_one_question_serves_all_who_ask_at_once(server: NameServer, tmp_path: Path) -> None:
    dns, counted = resolver(server, tmp_path)
    found = await asyncio.gather(*[where(dns, "sip:two.test:5060") for _ in range(50)])
    assert found == [["udp 127.0.0.2 5060"]] * 50
    assert counted["dns_queries"] == 1


async def test_questions_and_answers_are_bounded(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 8)
    monkeypatch.setattr(module, "CACHED", 16)
    dns, counted = resolver(server, tmp_path)
    await asyncio.gather(*[where(dns, f"sip:n{n}.test:5060") for n in range(40)])
    assert counted["dns_refused"] == 32
    for n in range(40):
        await where(dns, f"sip:m{n}.test:5060")
    assert len(dns._kept) == 16
    assert dns._asking == {}


async def test_one_who_stops_waiting_takes_nothing_from_the_others(server: NameServer, tmp_path: Path) -> None:
    dns, _ = resolver(server, tmp_path)
    first = asyncio.create_task(dns.ask(Query("two.test", "A")))
    second = asyncio.create_task(dns.ask(Query("two.test", "A")))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ("127.0.0.2",)
    await dns.close()


async def test_the_hosts_file_goes_before_dns(server: NameServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.7  Two.test pbx # the old one\n::1 pbx\nrubbish\n\n")
    dns, counted = resolver(server, tmp_path, hosts=hosts, families=("A", "AAAA"))
    assert await where(dns, "sip:pbx") == ["udp 127.0.0.7 5060", "udp ::1 5060"]
    assert await where(dns, "sip:two.test") == ["udp 127.0.0.7 5060"]
    assert await where(dns, "sip:localhost:5099") == ["udp 127.0.0.1 5099", "udp ::1 5099"]
    assert await where(dns, "sip:phone.localhost;transport=tcp") == ["tcp 127.0.0.1 5060", "tcp ::1 5060"]
    assert counted["dns_queries"] == 0
    hosts.unlink()
    assert await where(dns, "sip:two.test:5060") == ["udp 127.0.0.2 5060"]


@pytest.mark.parametrize("host", ["a" * 64 + ".test", ".".join(["abc"] * 80), "a_b.test", "x-.test", "0x7f.1"])
async def test_a_strange_name_leads_nowhere(server: NameServer, tmp_path: Path, host: str) -> None:
    dns, _ = resolver(server, tmp_path)
    assert await where(dns, f"sip:{host}") == []


async def test_no_configured_server_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unconfigured(self: object, filename: object) -> None:
        raise module.dns.resolver.NoResolverConfiguration

    monkeypatch.setattr("dns.resolver.BaseResolver.read_resolv_conf", unconfigured)
    counted: Counter[str] = Counter()
    dns = DnsResolver(hosts=tmp_path / "hosts", count=lambda name: counted.update([name]))
    assert await where(dns, "sip:one.test:5060") == []
    assert counted["dns_failures"] == 1


async def test_an_alias_is_followed(server: NameServer, tmp_path: Path) -> None:
    server.zone["alias.test", "CNAME"] = ["two.test."]
    dns, _ = resolver(server, tmp_path)
    assert await where(dns, "sip:alias.test:5060") == ["udp 127.0.0.2 5060"]
    server.zone["round.test", "CNAME"] = ["about.test."]
    server.zone["about.test", "CNAME"] = ["round.test."]
    assert await where(dns, "sip:round.test:5060") == []


async def test_damaged_answers_lead_nowhere_and_raise_nothing(server: NameServer, tmp_path: Path) -> None:
    rng, dns = random.Random(3), resolver(server, tmp_path, timeout=0.05)[0]

    def spoil(wire: bytes) -> bytes:
        made = bytearray(wire)
        for _ in range(rng.randrange(1, 6)):
            made[rng.randrange(2, len(made))] = rng.randrange(256)  # the id stays, or nobody would look at it
        return bytes(made[: rng.randrange(12, len(made) + 1)] if rng.random() < 0.3 else made)

    server.spoil = spoil
    for _ in range(20):
        dns._kept.clear()
        for place in await dns.locate(parse_uri("sip:example.test")):
            assert place.transport in ("udp", "tcp", "tls")
    assert dns._asking == {}
