"""Keeps trunks up: registers at them, asks whether they are there, and tells the TrunkBook what comes of it."""

from __future__ import annotations

from gateway.sip import client, grammar
from gateway.sip.client import Registration
from gateway.sip.events import Registered, RegisterFailed, TrunkChanged
from gateway.sip.message import Response
from gateway.sip.place import Place
from gateway.sip.stack import Stack
from gateway.sip.trunks import Trunk
from gateway.sip.uri import Uri

_DOUBT_S = 5.0
"""An answer that says otherwise than was known of a trunk is checked after this long at the latest."""


class Upkeep:
    """All trunks of one endpoint, from `begin` to `close`."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.registrations: dict[str, Registration] = {}
        self._open = False

    def begin(self) -> None:
        """Registers and asks; each trunk after a moment of its own, so that many do not speak at once."""
        if self._open:
            return
        self._open = True
        for number, state in enumerate(self.stack.trunks.states.values()):
            trunk, wait = state.trunk, 0.02 * number
            if trunk.register and trunk.server_uri:
                registration = self.registrations[trunk.name] = self._registration(trunk)
                self.stack.after(wait, registration.send)
            if trunk.ping_s and trunk.server_uri:
                self._ask_after(trunk, wait)

    def _registration(self, trunk: Trunk) -> Registration:
        register, server, home = trunk.register, trunk.server_uri, trunk.home
        assert register
        assert server
        assert home
        return Registration(
            self.stack,
            trunk.name,
            home,
            Uri("sip", register.user, home.host),
            register.account,
            register.expires,
            user=register.user,
            line=self.stack.token(),
            to=server,
            proxy=trunk.proxy_uri,
            tell=self._told,
        )

    def _told(self, event: Registered | RegisterFailed) -> None:
        name, book, now = event.registration, self.stack.trunks, self.stack.now
        self.stack.emit(event)
        if isinstance(event, Registered):
            found = self.registrations[name]
            ips = [found.place.ip] if found.place else []
            if book.registered(name, event.expires, now, ips, found.line, found.service_route, found.place):
                self._changed(name, "registered")
        else:
            why = f"{event.status} {event.reason}"
            if book.unregistered(name, why, now):
                self._changed(name, why)

    def _changed(self, name: str, why: str) -> None:
        self.stack.emit(TrunkChanged(name, self.stack.trunks[name].up, why))

    # --- OPTIONS ------------------------------------------------------------------------------------------------------

    def _ask_after(self, trunk: Trunk, seconds: float) -> None:
        self.stack.after(seconds, lambda: self._ask(trunk))

    def _ask(self, trunk: Trunk) -> None:
        server = trunk.server_uri
        if server and self._open:
            user = trunk.register.user if trunk.register else ""
            client.options(self.stack, server, lambda r: self._answered(trunk, r), trunk.proxy_uri, user)

    def _answered(self, trunk: Trunk, response: Response) -> None:
        if not self._open:
            return
        alive = not response.local and response.status != 503
        why = "answers OPTIONS" if alive else f"OPTIONS: {response.status} {grammar.clean(response.reason)}"
        if self.stack.trunks.heard(trunk.name, alive, why, self.stack.now):
            self._changed(trunk.name, why)
        doubt = self.stack.trunks[trunk.name].contrary
        self._ask_after(trunk, min(_DOUBT_S, trunk.ping_s) if doubt else trunk.ping_s)

    # --- the end ------------------------------------------------------------------------------------------------------

    def disconnected(self, place: Place) -> None:
        """A connection is gone."""
        for registration in self.registrations.values():
            registration.disconnected(place)

    def close(self) -> None:
        """Unregisters everywhere and asks no more."""
        self._open = False
        for registration in self.registrations.values():
            registration.leave()
        self.registrations = {}
