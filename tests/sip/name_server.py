"""A DNS server of our own on the loopback: answers over UDP from a zone written in the test, and counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SOA = "ns.test. root.test. 1 3600 600 86400 60"


class NameServer(asyncio.DatagramProtocol):
    """`zone`: (name, kind) -> lines of record data, with a trailing dot on names. `mute`: answers nothing; `failing`:
    answers SERVFAIL. Everything under .test is ours; a name without any record does not exist."""

    def __init__(self, zone: dict[tuple[str, str], list[str]], ttl: int = 300) -> None:
        self.zone = {(name.lower(), kind): lines for (name, kind), lines in zone.items()}
        self.ttl = ttl
        self.mute = self.failing = False
        self.soa = True
        self.spoil: Callable[[bytes], bytes] = lambda wire: wire
        self.asked: Counter[tuple[str, str]] = Counter()
        self.port = 0
        self._transport: asyncio.DatagramTransport

    @classmethod
    async def start(cls, zone: dict[tuple[str, str], list[str]], ttl: int = 300) -> NameServer:
        loop = asyncio.get_running_loop()
        transport, self = await loop.create_datagram_endpoint(lambda: cls(zone, ttl), local_addr=("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        return self

    @property
    def at(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        if self.mute:
            return
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif lines := self.zone.get((name, kind)):
            response.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *lines))
        elif alias := self.zone.get((name, "CNAME")):
            response.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", "CNAME", *alias))
            target = alias[0].rstrip(".")
            if found := self.zone.get((target, kind)):
                response.answer.append(dns.rrset.from_text(alias[0], self.ttl, "IN", kind, *found))
            elif back := self.zone.get((target, "CNAME")):
                response.answer.append(dns.rrset.from_text(alias[0], self.ttl, "IN", "CNAME", *back))
        else:
            if not any(known == name for known, _ in self.zone):
                response.set_rcode(dns.rcode.NXDOMAIN)
            if self.soa:
                response.authority.append(dns.rrset.from_text("test.", self.ttl, "IN", "SOA", SOA))
        self._transport.sendto(self.spoil(response.to_wire()), source)

    def close(self) -> None:
        self._transport.close()
