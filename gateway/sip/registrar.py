"""Where phones are: contacts of each address of record and the way to each (RFC 3261 section 10, 3327, 5626, 5627)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.message import Request
from gateway.sip.place import Place
from gateway.sip.uri import Address, Uri, ip_of, parse_address

_INSTANCE = re.compile(r"<([A-Za-z0-9:._\-]{1,128})>")
"""A +sip.instance that a GRUU can be made of: a URN in angle brackets."""

_LONGEST_PATH = 8


@dataclass(frozen=True, slots=True)
class RegistrarSettings:
    """Times in seconds. `expires` is what a phone gets that asks for nothing, `contacts` how many one address of record
    may have. `keepalive`: how phones over UDP are kept reachable, by `options`, `crlf` or `off`, each `every` seconds;
    `whom`: those behind a NAT (`nat`) or `all`. `flow_timer`: how often a phone with outbound is asked to say that its
    connection lives. `algorithms`: digests offered, in this order; nothing: one, by what the phone is known to take.
    `nonce_life`: how long a challenge can be answered. `third_party`: users who may register others."""

    expires: int = 3600
    min_expires: int = 30
    max_expires: int = 3600
    contacts: int = 8
    keepalive: str = "options"
    every: float = 25.0
    whom: str = "nat"
    flow_timer: int = 90
    algorithms: tuple[str, ...] = ()
    nonce_life: float = 300.0
    third_party: tuple[str, ...] = ()


class Refused(Exception):
    """A REGISTER that changes nothing, with the status it gets."""

    def __init__(self, status: int, reason: str | None = None) -> None:
        super().__init__(reason or str(status))
        self.status = status
        self.reason = reason


class Route(NamedTuple):
    """How a request gets to a phone: its Request-URI, its Route headers, and where it goes first."""

    target: Uri
    routes: tuple[str, ...]
    to: Place | Uri


@dataclass(frozen=True, slots=True)
class Binding:
    """One phone, or one of its flows. `number` stays the same through refreshes. `source`: where its REGISTER came
    from, a connection of its own where it is one; `expires_at`, `registered`, `updated` monotonic seconds; `q` its own
    liking from 0 to 1; `instance`: its +sip.instance, that stays when its port changes; `reg_id`: which of the
    instance's flows (0: the phone does not do outbound, RFC 5626); `path`: proxies on the way (RFC 3327); `gruu`: the
    address of this very phone (RFC 5627); `agent`: its User-Agent."""

    aor: str
    contact: Uri
    source: Place
    expires_at: float
    call_id: str
    cseq: int
    q: float = 1.0
    instance: str | None = None
    reg_id: int = 0
    path: tuple[str, ...] = ()
    gruu: str = ""
    agent: str = ""
    registered: float = 0.0
    updated: float = 0.0
    number: int = 0

    def same(self, other: Binding) -> bool:
        """Whether the other one takes this one's place: the same flow of an instance, else the same address."""
        if self.instance and other.instance:
            flows = self.reg_id, other.reg_id
            return self.instance == other.instance and (0 in flows or flows[0] == flows[1])
        return self.contact.same(other.contact)

    @property
    def behind_nat(self) -> bool:
        """Whether its requests come from another address than its Contact names."""
        return (ip_of(self.contact.host), self.contact.port or 5060) != (self.source.ip, self.source.port)

    def route(self) -> Route:
        """Through the proxies of its Path, else straight to where it registered from."""
        if self.path:
            return Route(self.contact, self.path, parse_address(self.path[0]).uri)
        return Route(self.contact, (), self.source)


@dataclass(frozen=True, slots=True)
class Change:
    """A contact that came (`up`) or went, why, and how many its address of record has left. `refreshed` is up as it was
    before."""

    up: bool
    binding: Binding
    reason: str
    left: int


class Registrar:
    """Bindings by address of record. Pure: `now` in monotonic seconds is handed in. `revision` grows with every
    change."""

    def __init__(self, settings: RegistrarSettings | None = None) -> None:
        self.settings = settings or RegistrarSettings()
        self.revision = 0
        self._bindings: dict[str, list[Binding]] = {}
        self._numbers = count(1)

    def lookup(self, aor: str, now: float) -> list[Binding]:
        """Live contacts, best liked first, then the newest."""
        live = [b for b in self._bindings.get(aor, ()) if b.expires_at > now]
        return sorted(live, key=lambda b: (-b.q, -b.updated))

    def all(self) -> list[Binding]:
        return [b for bindings in self._bindings.values() for b in bindings]

    def __len__(self) -> int:
        return sum(len(bindings) for bindings in self._bindings.values())

    @property
    def next_expiry(self) -> float | None:
        """When the next contact expires, unless it is refreshed."""
        return min((b.expires_at for b in self.all()), default=None)

    def expire(self, now: float) -> list[Change]:
        """Drops what has expired."""
        gone = [b for b in self.all() if b.expires_at <= now]
        return [self._drop(b, "expired") for b in gone]

    def drop(self, aor: str, reason: str) -> list[Change]:
        return [self._drop(b, reason) for b in list(self._bindings.get(aor, ()))]

    def drop_at(self, place: Place, reason: str) -> list[Change]:
        """Drops what was registered from a place, over that very connection where it is one."""
        return [self._drop(b, reason) for b in self.all() if b.source[:4] == place[:4]]

    def drop_number(self, number: int, reason: str) -> list[Change]:
        return [self._drop(b, reason) for b in self.all() if b.number == number]

    # --- REGISTER -------------------------------------------------------------------------------------------------

    def register(self, aor: str, request: Request, source: Place, now: float) -> list[Change]:
        """Carries out a REGISTER that was allowed, all of it or nothing (10.3 step 7). Raises Refused."""
        header = grammar.number(request.get("Expires"), 2**32)
        if request.get("Contact") == "*":
            if header != 0:
                raise Refused(400, "A * Contact Needs Expires 0")
            mine = list(self._bindings.get(aor, ()))
            _check_order(mine, request)
            return [self._drop(b, "unregistered") for b in mine]
        contacts = request.contacts
        if len(contacts) > self.settings.contacts:
            raise Refused(403, "Too Many Contacts")
        path = _path(request)
        wanted = [self._wanted(aor, c, header, request, path, source, now) for c in contacts]
        known = self._bindings.get(aor, [])
        for binding in wanted:
            _check_order([b for b in known if b.same(binding)], request)
        return [change for binding in wanted for change in self._apply(binding, now)]

    def _wanted(
        self,
        aor: str,
        contact: Address,
        header: int | None,
        request: Request,
        path: tuple[str, ...],
        source: Place,
        now: float,
    ) -> Binding:
        schemes = ("sip", "sips") if source.transport in ("tls", "wss") else ("sip",)
        if contact.uri.scheme not in schemes or not contact.uri.host:
            raise Refused(400, "Bad Contact")
        asked = grammar.number(contact.param("expires"), 2**32)
        seconds = next((v for v in (asked, header) if v is not None), self.settings.expires)
        if 0 < seconds < self.settings.min_expires:
            raise Refused(423)
        instance = grammar.clean(grammar.unquote(contact.param("+sip.instance") or ""))[:200] or None
        return Binding(
            aor,
            contact.uri,
            source,
            now + min(seconds, self.settings.max_expires),
            request.call_id,
            request.cseq[0],
            grammar.liking(contact.param("q")),
            instance,
            _reg_id(contact, instance, request, path),
            path,
            _gruu(aor, instance) if "gruu" in request.tokens("Supported") else "",
            grammar.clean(request.get("User-Agent") or "")[:120],
            now,
            now,
        )

    def _apply(self, binding: Binding, now: float) -> list[Change]:
        bindings = self._bindings.setdefault(binding.aor, [])
        old = [b for b in bindings if b.same(binding)]
        if binding.expires_at <= now:
            if not bindings:
                del self._bindings[binding.aor]
            return [self._drop(b, "unregistered") for b in old]
        self.revision += 1
        if old:
            first = old[0]
            binding = replace(binding, number=first.number, registered=first.registered)
            bindings[bindings.index(first)] = binding
            gone = [self._drop(b, "replaced") for b in old[1:]]  # one by its instance, another by its address
            moved = first.contact != binding.contact or first.source != binding.source
            return [*gone, Change(True, binding, "moved" if moved else "refreshed", len(bindings))]
        binding = replace(binding, number=next(self._numbers))
        changes = []
        if len(bindings) >= self.settings.contacts:
            changes.append(self._drop(min(bindings, key=lambda b: b.updated), "pushed out by a newer contact"))
            bindings = self._bindings.setdefault(binding.aor, [])
        bindings.append(binding)
        return [*changes, Change(True, binding, "registered", len(bindings))]

    def _drop(self, binding: Binding, reason: str) -> Change:
        self.revision += 1
        bindings = self._bindings.get(binding.aor, [])
        if binding in bindings:
            bindings.remove(binding)
        if not bindings:
            self._bindings.pop(binding.aor, None)
        return Change(False, binding, reason, len(bindings))

    def restore(self, bindings: Iterable[Binding], now: float) -> list[Change]:
        """Takes up contacts of an earlier run that have not expired."""
        live = [replace(b, registered=now, updated=now) for b in bindings if b.expires_at > now]
        changes = [change for binding in live for change in self._apply(binding, now)]
        return [replace(change, reason="restored") if change.up else change for change in changes]


def _check_order(bindings: Sequence[Binding], request: Request) -> None:
    if any(b.call_id == request.call_id and request.cseq[0] <= b.cseq for b in bindings):
        raise Refused(500, "REGISTER Out Of Order")


def _path(request: Request) -> tuple[str, ...]:
    """The proxies a REGISTER came through, the nearest first (RFC 3327 section 5.3). Raises Refused."""
    path = tuple(request.items("Path"))
    if len(path) > _LONGEST_PATH:
        raise Refused(400, "Path Too Long")
    for value in path:
        try:
            uri = parse_address(value).uri
        except SipError:
            raise Refused(400, "Bad Path") from None
        if uri.scheme not in ("sip", "sips") or uri.param("lr") is None:
            raise Refused(400, "Bad Path")
    return path


def _reg_id(contact: Address, instance: str | None, request: Request, path: Sequence[str]) -> int:
    """The flow a contact names, 0 where outbound is not done: it needs an instance, and a first hop that keeps flows
    (RFC 5626 section 6): we ourselves, or an edge proxy that says `ob`. Where that lacks we don't answer 439, which
    browser phones take for the end: the phone is then registered as any other."""
    number = grammar.number(contact.param("reg-id")) or 0
    if not instance or "outbound" not in request.tokens("Supported"):
        return 0
    direct = len(request.items("Via")) == 1
    return number if direct or (path and parse_address(path[-1]).uri.param("ob") is not None) else 0


def _gruu(aor: str, instance: str | None) -> str:
    """The public GRUU of an instance (RFC 5627 section 3.1.1), "" where its id can't be part of one."""
    match = _INSTANCE.fullmatch(instance or "")
    return f"{aor};gr={match[1]}" if match else ""
