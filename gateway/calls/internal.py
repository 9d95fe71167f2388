"""A call from one agent's phone to a colleague's, with the gateway in between: they talk, consult, or hand over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.calls.party import Owner, Party
from gateway.calls.progress import progress_s
from gateway.core.errors import TrunklineError
from gateway.sip.dialling import is_number
from gateway.sip.events import TransferAsked
from gateway.sip.identity import Identity
from gateway.sip.offer_answer import Agreed
from gateway.sip.sdp import SessionDescription

if TYPE_CHECKING:
    from gateway.calls.control import Control

RING_S = 45.0


class InternalCall(Owner):
    """`caller` rings `callee`; `local` is what the caller is answered with."""

    def __init__(self, control: Control, caller: Party, local: SessionDescription) -> None:
        self.control = control
        self.caller = caller
        self.callee: Party | None = None
        self.talking = False
        self._local = local
        self._board = control.exchange.switchboard
        self._timer: asyncio.TimerHandle | None = None
        self._watch(caller)

    def ring(self, callee: Party, target: str, name: str, caller: Identity) -> None:
        """Calls the colleague's phone; a number outside sees `caller` as its trunk wants it. Raises SipError."""
        self.callee = callee
        self._watch(callee)
        if is_number(target):
            self._board.invite(callee, target, caller=caller)
        else:
            self._board.invite(callee, target, from_user=self.caller.agent or "", from_display=name)
        self._wait(progress_s(target))

    def talks(self, party: Party) -> bool:
        """Whether it is one of the two, who talk."""
        return self.talking and party in (self.caller, self.callee)

    def other(self, party: Party) -> Party | None:
        """The one at the other end."""
        return self.callee if party is self.caller else self.caller

    def give(self, party: Party) -> Party | None:
        """Lets go of the other end, which goes on elsewhere; `party` is hung up by `end`."""
        given = self.other(party)
        if given is None or not self.talking:
            return None
        given.leg.stop()
        self.caller, self.callee, self.talking = party, None, False
        return given

    def swap(self, old: Party, new: Party) -> None:
        """Another phone takes the place of one that talks."""
        self._watch(new)
        if old is self.caller:
            self.caller = new
        else:
            self.callee = new
        other = self.other(new)
        if other:
            other.leg.stop()
            (other.leg.room.join(new.leg) if other.leg.room else other.leg.bridge(new.leg))
        self._board.hang_up(old, "replaced")
        self._board.close(old)

    def end(self, reason: str, status: int = 480) -> None:
        """Both are hung up; a caller who still waits is refused with `status`."""
        if self._timer:
            self._timer.cancel()
        for party in (self.caller, self.callee):
            if party is None:
                continue
            if party is self.caller and not self.talking and party.sip and self.callee:
                self._board.parties.pop(party.sip, None)
                self._board.endpoint.reject(party.sip, status, reason)
                party.sip = ""
            self._board.hang_up(party, reason)
            self._board.close(party)
        self.control.over(self)

    def _watch(self, party: Party) -> None:
        self._board.give(party, self)
        self._board.watch(party)

    def _wait(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end, "no answer")

    # --- what the phones do ---------------------------------------------------------------------------------------

    def rings(self, party: Party) -> None:
        self._wait(RING_S)
        self._board.endpoint.ring(self.caller.sip)

    def answered(self, party: Party, media: Agreed) -> None:
        if self._timer:
            self._timer.cancel()
        try:
            self._board.endpoint.answer(self.caller.sip, self._local)
        except TrunklineError as error:  # the caller gave up a moment ago
            self.end(error.what)
            return
        self.talking = True
        self.caller.leg.bridge(party.leg)

    def failed(self, party: Party, reason: str) -> None:
        status, _, words = reason.partition(" ")
        self.end(words, int(status) if status.isdigit() and 300 <= int(status) < 700 else 480)

    def left(self, party: Party, by_peer: bool, reason: str) -> None:
        self.end("hung up")

    def cancelled(self, party: Party) -> None:
        self.end("the caller gave up")

    def vanished(self, party: Party) -> None:
        if party.agent:
            self.control.exchange.sign_out(party.agent, "phone vanished")
        self.end("phone vanished")

    def holds(self, party: Party) -> None:
        other = self.other(party)
        if other is None or not self.talking:
            return
        if party.held:
            other.leg.play([self.control.exchange.prompts.tone("hold")], token=0, loop=True)
        else:
            other.leg.stop()

    def asks_transfer(self, party: Party, event: TransferAsked) -> None:
        self.control.asked_inside(self, party, event)
