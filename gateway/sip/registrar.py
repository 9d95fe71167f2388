"""Where phones are: contacts for each address of record, with the source they came from (RFC 3261 section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.sip import grammar
from gateway.sip.message import Request
from gateway.sip.place import Place
from gateway.sip.uri import Address, Uri

MAX_CONTACTS = 8
"""Contacts one address of record may have; one more pushes the oldest out."""


class Refused(Exception):
    """A REGISTER that changes nothing, with the status it gets."""

    def __init__(self, status: int, reason: str | None = None) -> None:
        super().__init__(reason or str(status))
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Binding:
    """One phone. `source`: where its REGISTER came from and where requests to it go; `expires_at` monotonic seconds;
    `q` its own liking from 0 to 1; `instance`: its +sip.instance, that stays when its port changes."""

    aor: str
    contact: Uri
    source: Place
    expires_at: float
    call_id: str
    cseq: int
    q: float = 1.0
    instance: str | None = None
    agent: str = ""
    updated: float = 0.0

    def same(self, other: Binding) -> bool:
        if self.instance and other.instance:
            return self.instance == other.instance
        return self.contact.same(other.contact)


@dataclass(frozen=True, slots=True)
class Change:
    """A contact that came (`up`) or went, why, and how many its address of record has left."""

    up: bool
    binding: Binding
    reason: str
    left: int


class Registrar:
    """Bindings by address of record. Pure: `now` in monotonic seconds is handed in."""

    def __init__(self, min_expires: int = 30, max_expires: int = 3600, default_expires: int = 3600) -> None:
        self.min_expires = min_expires
        self.max_expires = max_expires
        self.default_expires = default_expires
        self._bindings: dict[str, list[Binding]] = {}

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

    def drop_at(self, source: Place, reason: str) -> list[Change]:
        return [self._drop(b, reason) for b in self.all() if b.source == source]

    def register(self, aor: str, request: Request, source: Place, now: float) -> list[Change]:
        """Carries out a REGISTER that was allowed, all of it or nothing (10.3 step 7). Raises Refused."""
        cseq = request.cseq[0]
        header = grammar.number(request.get("Expires"), 2**32)
        if request.get("Contact") == "*":
            if header != 0:
                raise Refused(400, "A * Contact Needs Expires 0")
            mine = list(self._bindings.get(aor, ()))
            self._check_order(mine, request.call_id, cseq)
            return [self._drop(b, "unregistered") for b in mine]
        wanted = [self._wanted(aor, c, header, request, source, now) for c in request.contacts]
        known = self._bindings.get(aor, [])
        for binding in wanted:
            self._check_order([b for b in known if b.same(binding)], request.call_id, cseq)
        return [change for binding in wanted for change in self._apply(binding, now)]

    def _check_order(self, bindings: Sequence[Binding], call_id: str, cseq: int) -> None:
        if any(b.call_id == call_id and cseq <= b.cseq for b in bindings):
            raise Refused(500, "REGISTER Out Of Order")

    def _wanted(
        self, aor: str, contact: Address, header: int | None, request: Request, source: Place, now: float
    ) -> Binding:
        if contact.uri.scheme != "sip" or not contact.uri.host:
            raise Refused(400, "Bad Contact")
        asked = grammar.number(contact.param("expires"), 2**32)
        seconds = next((v for v in (asked, header) if v is not None), self.default_expires)
        if 0 < seconds < self.min_expires:
            raise Refused(423)
        try:
            q = min(1.0, max(0.0, float(contact.param("q") or 1.0)))
        except ValueError:
            q = 1.0
        return Binding(
            aor,
            contact.uri,
            source,
            now + min(seconds, self.max_expires),
            request.call_id,
            request.cseq[0],
            q,
            grammar.unquote(contact.param("+sip.instance") or "") or None,
            grammar.clean(request.get("User-Agent") or ""),
            now,
        )

    def _apply(self, binding: Binding, now: float) -> list[Change]:
        bindings = self._bindings.setdefault(binding.aor, [])
        old = [b for b in bindings if b.same(binding)]
        if binding.expires_at <= now:
            if not bindings:
                del self._bindings[binding.aor]
            return [self._drop(b, "unregistered") for b in old]
        if old:
            bindings[bindings.index(old[0])] = binding
            gone = [self._drop(b, "replaced") for b in old[1:]]  # one by its instance, another by its address
            moved = old[0].contact != binding.contact or old[0].source != binding.source
            return [*gone, Change(True, binding, "moved", len(bindings))] if moved else gone
        changes = []
        if len(bindings) >= MAX_CONTACTS:
            changes.append(self._drop(min(bindings, key=lambda b: b.updated), "pushed out by a newer contact"))
        bindings.append(binding)
        return [*changes, Change(True, binding, "registered", len(bindings))]

    def _drop(self, binding: Binding, reason: str) -> Change:
        bindings = self._bindings.get(binding.aor, [])
        if binding in bindings:
            bindings.remove(binding)
        if not bindings:
            self._bindings.pop(binding.aor, None)
        return Change(False, binding, reason, len(bindings))
