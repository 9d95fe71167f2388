"""Asks DNS: runs the questions of `locate` through dnspython, with /etc/hosts first and a bounded cache behind."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from gateway.sip.locate import Naptr, Query, Record, Srv, locate
from gateway.sip.place import Place
from gateway.sip.uri import Uri, ip_of

log = logging.getLogger(__name__)

CACHED = 2048
"""Answers kept; the one used longest ago goes first."""

AT_ONCE = 128
"""Questions on their way at once; one more counts as unanswered."""

LONGEST_S = 3600.0
LONGEST_NONE_S = 300.0
FAILED_S = 5.0
STALE_S = 3600.0
"""How long an answer may be used whatever its TTL says, an answer "there is none", a question nobody answered, and an
answer that has run out while no server answers (RFC 2308, RFC 8767)."""

_SHORTEST_S = 1.0
_REREAD_S = 5.0
_MOST = 64


class _Kept(NamedTuple):
    records: tuple[Record, ...]
    until: float


class DnsResolver:
    """Never raises; finds no places where there is nothing to find. `transports` and `families` (A, AAAA): what we can
    send over, in order of liking. `servers`: IP addresses, or address and port, in place of the system's. `timeout`:
    seconds for one question, all servers and tries. `count` is told dns_queries, dns_failures, dns_stale, dns_refused.
    Times come from the monotonic clock."""

    def __init__(
        self,
        transports: Sequence[str] = ("udp",),
        families: Sequence[str] = ("A",),
        servers: Sequence[str | tuple[str, int]] = (),
        timeout: float = 4.0,
        hosts: Path = Path("/etc/hosts"),
        rng: random.Random | None = None,
        count: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.transports = tuple(transports)
        self.families = tuple(families)
        self.count = count
        self._servers = tuple((each, 53) if isinstance(each, str) else each for each in servers)
        self._timeout = timeout
        self._rng = rng or random.Random()
        self._hosts = _HostsFile(hosts)
        self._kept: OrderedDict[Query, _Kept] = OrderedDict()
        self._asking: dict[Query, asyncio.Task[tuple[Record, ...]]] = {}
        self._system: dns.asyncresolver.Resolver | None = None
        self._system_read = 0.0

    async def locate(self, uri: Uri) -> list[Place]:
        steps = locate(uri, self.transports, self.families, self._rng)
        try:
            asked = next(steps)
            while True:
                found = await asyncio.gather(*map(self.ask, asked))
                asked = steps.send(dict(zip(asked, found, strict=True)))
        except StopIteration as done:
            places: list[Place] = done.value
            return places

    async def ask(self, query: Query) -> tuple[Record, ...]:
        """The records there are, from the hosts file, the cache, or DNS. Empty where there are none or nobody says."""
        if query.kind in ("A", "AAAA") and (ip := ip_of(query.name)):
            return (ip,) if (":" in ip) == (query.kind == "AAAA") else ()
        local = self._hosts.find(query)
        if local is not None:
            return local
        kept = self._kept.get(query)
        if kept and kept.until > time.monotonic():
            self._kept.move_to_end(query)
            return kept.records
        asking = self._asking.get(query)
        if asking is None:
            if len(self._asking) >= AT_ONCE:
                self.count("dns_refused")
                return ()
            asking = asyncio.get_running_loop().create_task(self._fetch(query))
            self._asking[query] = asking
            asking.add_done_callback(lambda _: self._asking.pop(query, None))
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Gives up what is asked now."""
        for asking in (waiting := list(self._asking.values())):
            asking.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _fetch(self, query: Query) -> tuple[Record, ...]:
        self.count("dns_queries")
        try:
            records, life = await self._ask_servers(query)
        except Exception as error:  # whatever a hostile server's answer makes of the parser: nobody waits for ever
            self.count("dns_failures")
            log.debug("DNS does not answer", extra={"fields": {"name": query.name, "kind": query.kind, "why": error}})
            old = self._kept.get(query)
            usable = old is not None and old.until + STALE_S > time.monotonic()
            records, life = (old.records if old and usable else ()), FAILED_S
            if records:
                self.count("dns_stale")
                return records  # kept as it is: its own age decides how long it may still serve
        self._kept[query] = _Kept(records, time.monotonic() + life)
        self._kept.move_to_end(query)
        while len(self._kept) > CACHED:
            self._kept.popitem(last=False)
        return records

    async def _ask_servers(self, query: Query) -> tuple[tuple[Record, ...], float]:
        """Records and the seconds they may be kept. Raises DNSException, OSError."""
        name = dns.name.from_text(query.name, None)
        search = query.kind in ("A", "AAAA") and len(name) == 1
        if not search:
            name = name.concatenate(dns.name.root)
        try:
            answer = await self._stub().resolve(
                name, query.kind, search=search, lifetime=self._timeout, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN as error:
            responses: Mapping[object, dns.message.Message] = error.kwargs["responses"]
            return (), min(map(_none_for, responses.values()), default=FAILED_S)
        if answer.rrset is None:
            return (), _none_for(answer.response)
        records = tuple(_record(each) for each in islice(answer.rrset, _MOST))
        return records, min(max(answer.chaining_result.minimum_ttl, _SHORTEST_S), LONGEST_S)

    def _stub(self) -> dns.asyncresolver.Resolver:
        """dnspython's resolver; the system's servers are read anew now and then, since they move with the network.
        Raises NoResolverConfiguration."""
        now = time.monotonic()
        if self._system is None or (not self._servers and now - self._system_read > _REREAD_S):
            stub = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                stub.nameservers = [dns.nameserver.Do53Nameserver(ip, port) for ip, port in self._servers]
            stub.timeout = min(stub.timeout, self._timeout / 2)
            self._system, self._system_read = stub, now
        return self._system


def _none_for(response: dns.message.Message) -> float:
    """Seconds that "there is none" holds (RFC 2308): what the zone says, or not for long where it does not."""
    zone = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    if not zone or not isinstance(response, dns.message.QueryMessage):
        return FAILED_S
    return min(max(response.resolve_chaining().minimum_ttl, _SHORTEST_S), LONGEST_NONE_S)


def _record(record: dns.rdata.Rdata) -> Record:
    if isinstance(record, NAPTR):
        words = (record.flags.decode("ascii", "replace"), record.service.decode("ascii", "replace"))
        return Naptr(record.order, record.preference, *words, _text(record.replacement))
    if isinstance(record, SRV):
        return Srv(record.priority, record.weight, record.port, _text(record.target))
    return record.to_text()


def _text(name: dns.name.Name) -> str:
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


class _HostsFile:
    """/etc/hosts, read again when it was saved, and `localhost` (RFC 6761 section 6.3)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = -1.0
        self._addresses: dict[str, tuple[str, ...]] = {}

    def find(self, query: Query) -> tuple[Record, ...] | None:
        """None where the file does not know the name. A name it knows has addresses and no other records."""
        host = query.name.split(".", 2)[-1] if query.kind == "SRV" else query.name  # _service._protocol.host
        known = self._read().get(host)
        if known is None and host.rpartition(".")[2] == "localhost":
            known = ("127.0.0.1", "::1")
        if known is None:
            return None
        return tuple(ip for ip in known if query.kind == ("AAAA" if ":" in ip else "A"))

    def _read(self) -> dict[str, tuple[str, ...]]:
        try:
            saved = self._path.stat().st_mtime
            if saved != self._saved:
                self._saved, self._addresses = saved, _parse_hosts(self._path.read_text(errors="replace"))
        except OSError:
            self._addresses = {}
        return self._addresses


def _parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        ip = ip_of(address)
        for name in names if ip else ():
            key = name.rstrip(".").lower()
            found[key] = (*found.get(key, ()), ip) if ip else ()
    return found
