"""The server side of REGISTER (RFC 3261 section 10.3): who may register what, the answer, and contacts that go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.sip import grammar
from gateway.sip.admission import Admission
from gateway.sip.attempt import Target
from gateway.sip.auth import Account
from gateway.sip.events import ContactDown, ContactUp
from gateway.sip.keepalive import KeepAlive
from gateway.sip.message import Header, Request
from gateway.sip.place import Place
from gateway.sip.registrar import Binding, Change, Refused, Registrar
from gateway.sip.stack import REGISTERING, Stack
from gateway.sip.timers import Alarm
from gateway.sip.transaction import Transaction
from gateway.sip.uri import Uri


class RegisterServer:
    """Keeps the registrar's book by what phones send and by what becomes of them. `on_change` hears every change of an
    address of record, for those who subscribed to it."""

    def __init__(self, stack: Stack, registrar: Registrar, admission: Admission) -> None:
        self.stack = stack
        self.registrar = registrar
        self.admission = admission
        self.keepalive = KeepAlive(stack, registrar.settings, self._gone)
        self.on_change: Callable[[str, Sequence[Change]], None] = lambda aor, changes: None
        self._expiry: Alarm | None = None

    def receive(self, transaction: Transaction, request: Request, source: Place) -> None:
        """A REGISTER that matched no transaction."""
        stack = self.stack
        to = request.to.uri
        if to.scheme not in ("sip", "sips"):
            stack.refuse(transaction, 400, "An Address Of Record Is A SIP URI")
            return
        account = self.admission.account(transaction, request)
        if account is None:
            return
        owner = self._owner(account, request)
        if owner is None:
            stack.refuse(transaction, 403)
            return
        aor = stack.config.aor(owner)
        try:
            changes = self.registrar.register(aor, request, source, stack.now)
        except Refused as refusal:
            least = [("Min-Expires", str(self.registrar.settings.min_expires))] if refusal.status == 423 else []
            stack.refuse(transaction, refusal.status, refusal.reason, least)
            return
        transaction.answer(200, headers=tuple(self._answer(aor, request, source)))
        self._tell(changes)

    def _owner(self, account: Account, request: Request) -> str | None:
        """Whose contacts a REGISTER may change: the sender's own, and those of all accounts where the sender is one who
        may register others."""
        to, sender = request.to.uri, request.from_.uri
        if not self.stack.config.means_us(to.host):
            return None
        if account.user in self.registrar.settings.third_party:
            return to.user if to.user in self.admission.authenticator.accounts else None
        return account.user if to.user == sender.user == account.user else None

    def _answer(self, aor: str, request: Request, source: Place) -> list[Header]:
        """Every contact with the seconds it has left, the Path that was noted, and whether outbound is done."""
        bindings = self.registrar.lookup(aor, self.stack.now)
        headers: list[Header] = [("Contact", self._listed(b)) for b in bindings]
        headers += [("Path", value) for value in request.items("Path")]
        headers.append(("Supported", ", ".join(REGISTERING)))
        if any(b.reg_id and b.call_id == request.call_id and b.updated == self.stack.now for b in bindings):
            headers.append(("Require", "outbound"))
            if source.reliable:
                headers.append(("Flow-Timer", str(self.registrar.settings.flow_timer)))
        return headers

    def _listed(self, b: Binding) -> str:
        text = f"<{b.contact}>;expires={max(0, round(b.expires_at - self.stack.now))}"
        if b.q != 1.0:
            text += f";q={b.q:g}"
        if b.instance:
            text += f";+sip.instance={grammar.quote(b.instance)}"
        if b.reg_id:
            text += f";reg-id={b.reg_id}"
        if b.gruu:
            text += f';pub-gruu="{b.gruu}"'
        return text

    # --- contacts that go -----------------------------------------------------------------------------------------

    def disconnected(self, place: Place) -> None:
        """A connection is gone, and what was registered over it."""
        self._tell(self.registrar.drop_at(place, "connection lost"))

    def drop(self, aor: str, reason: str) -> None:
        """Takes every contact of an address of record away."""
        self._tell(self.registrar.drop(aor, reason))

    def restore(self, bindings: Iterable[Binding]) -> None:
        """Takes up contacts of an earlier run; each is asked whether it is there."""
        known = {self.stack.config.aor(user) for user in self.admission.authenticator.accounts}
        self._tell(self.registrar.restore([b for b in bindings if b.aor in known], self.stack.now))

    def _gone(self, binding: Binding, reason: str) -> None:
        self._tell(self.registrar.drop_number(binding.number, reason))

    def _watch_expiry(self, due: float | None) -> None:
        """One alarm, for the contact that expires first; one that was refreshed meanwhile is looked at in vain."""
        if due is None or (self._expiry and self._expiry.at <= due):
            return
        if self._expiry:
            self._expiry.cancel()
        self._expiry = self.stack.timers.at(due, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._tell(self.registrar.expire(self.stack.now))
        self._watch_expiry(self.registrar.next_expiry)

    def _tell(self, changes: Sequence[Change]) -> None:
        by_aor: dict[str, list[Change]] = {}
        for change in changes:
            b = change.binding
            by_aor.setdefault(b.aor, []).append(change)
            if not change.up:
                self.keepalive.forget(b)
                self.stack.emit(ContactDown(b.aor, str(b.contact), change.reason, change.left))
                continue
            self.keepalive.watch(b, restored=change.reason == "restored")
            self.stack.guard.knows(b.source, self.stack.now)
            self._watch_expiry(b.expires_at)
            if change.reason != "refreshed":
                expires = round(b.expires_at - self.stack.now)
                self.stack.emit(ContactUp(b.aor, str(b.contact), expires, b.source, b.agent))
        if self._expiry and not len(self.registrar):
            self._expiry.cancel()
            self._expiry = None
        for aor, mine in by_aor.items():
            self.on_change(aor, mine)

    # --- the way to a phone ---------------------------------------------------------------------------------------

    def reached(self, uri: Uri) -> list[Binding]:
        """The contacts a URI of ours means, best first: all of the address of record, of one phone alone where it is a
        GRUU (RFC 5627 section 6.3)."""
        aor, instance = self.stack.config.aor(uri.user or ""), uri.param("gr")
        found = self.registrar.lookup(aor, self.stack.now)
        return [b for b in found if b.instance == f"<{instance}>"] if instance else found

    def places(self, uri: Uri) -> tuple[Place, ...]:
        """Where requests to a GRUU of ours go, wherever its phone is by now."""
        if not uri.param("gr") or uri.host.lower() != self.stack.config.domain.lower():
            return ()
        return tuple(b.source for b in self.reached(uri) if not b.path)

    def targets(self, uri: Uri) -> list[Target]:
        """Where to call one of our users. Of one phone's several flows only the newest is used, the others stand in for
        it where it is dead (RFC 5626 section 5.3)."""
        phones: dict[object, Target] = {}
        for binding in sorted(self.reached(uri), key=lambda b: b.updated):
            key = binding.instance if binding.reg_id else binding.number
            phones[key] = self._target(binding, phones.get(key))
        return list(phones.values())

    def _target(self, binding: Binding, then: Target | None) -> Target:
        def lost() -> None:
            self.stack.count("phones_lost")
            self._gone(binding, "unreachable")

        uri, routes, to = binding.route()
        peer = to if isinstance(to, Place) else None
        return Target(uri, to, routes, peer, binding.q, lost, then)
