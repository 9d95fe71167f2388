"""What an endpoint has to do with others outside calls: phones, registrars, trunks, and who asks how it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from gateway.sip import client, dialling, grammar, known, report
from gateway.sip.auth import Account
from gateway.sip.client import Registration
from gateway.sip.events import OptionsAnswered
from gateway.sip.place import Place
from gateway.sip.register import RegisterServer
from gateway.sip.registrar import Binding, Registrar
from gateway.sip.stack import Stack
from gateway.sip.trunkbook import TrunkState
from gateway.sip.upkeep import Upkeep
from gateway.sip.uri import parse_uri


class Relations:
    """A part of Endpoint: its verbs that are about no call."""

    registrar: Registrar
    _stack: Stack
    _register: RegisterServer
    _registrations: dict[str, Registration]
    _upkeep: Upkeep

    def on_dialog(self, tell: Callable[[str, str], None]) -> None:
        """`tell` hears the handle and the Call-ID of every dialog that a call has, before its first message leaves."""
        self._stack.on_dialog = tell

    def report(self, now: float) -> dict[str, object]:
        """How phones, trunks and refused callers stand, as plain JSON, for a person who looks for a fault."""
        return report.report(self._stack, self._register, now)

    def contacts(self, aor: str, now: float) -> list[Binding]:
        """The phones of an address of record, best first."""
        return self.registrar.lookup(aor, now)

    def drop_contacts(self, aor: str, reason: str, *, now: float) -> None:
        self._stack.now = now
        self._register.drop(aor, reason)

    def known_phones(self, now: float) -> list[known.Row]:
        """The phones that a gateway started anew can still reach, as plain JSON for `restore_phones`."""
        return known.rows(self.registrar.all(), now)

    def restore_phones(self, rows: Iterable[object], ago: float, *, now: float) -> None:
        """Takes up what `known_phones` gave `ago` seconds ago; ContactUp follows for each that has not expired. Each is
        asked whether it is there."""
        self._stack.now = now
        self._register.restore(known.bindings(rows, ago, now))

    def register(self, registrar: str, aor: str, account: Account, expires: int = 600, *, now: float) -> str:
        """Registers our own contact and keeps it registered. Gives a handle; Registered and RegisterFailed follow.
        Raises SipError on a bad URI."""
        self._stack.now = now
        handle = self._stack.token()
        registration = Registration(self._stack, handle, parse_uri(registrar), parse_uri(aor), account, expires)
        self._registrations[handle] = registration
        registration.send()
        return handle

    def unregister(self, registration: str, *, now: float) -> None:
        self._stack.now = now
        found = self._registrations.pop(registration, None)
        if found:
            found.leave()

    def connect_trunks(self, *, now: float) -> None:
        """Registers at the trunks that want it and begins to ask those that are to be asked; TrunkChanged follows."""
        self._stack.now = now
        self._upkeep.begin()

    def number_outside(self, dialled: str) -> str | None:
        """The number outside that somebody who dialled this wants; None where it is none that may be called."""
        return dialling.number_outside(self._stack.trunks, dialled)

    def way_out(self, number: str) -> tuple[str, str]:
        """Which trunk takes a call to a number first, and an IP address there; empty where that is not known."""
        return dialling.way_out(self._stack, number)

    @property
    def trunks(self) -> Mapping[str, TrunkState]:
        """How each trunk stands, by name."""
        return self._stack.trunks.states

    def options(self, peer: str | Place, *, now: float) -> str:
        """Asks whether a peer is there; OptionsAnswered carries the handle given here. Raises SipError on a bad URI."""
        self._stack.now = now
        handle = self._stack.token()
        client.options(
            self._stack,
            peer if isinstance(peer, Place) else parse_uri(peer),
            lambda r: self._stack.emit(OptionsAnswered(handle, r.status, grammar.clean(r.reason))),
        )
        return handle
