"""An agent asks a colleague while the caller is on hold, from the phone they talk on: what the desk begins and ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.calls import model as m
from gateway.calls.internal import RING_S
from gateway.calls.party import Owner, Party
from gateway.calls.progress import progress_s
from gateway.core.ids import uuid7
from gateway.routing import model as routing
from gateway.sip.offer_answer import Agreed

if TYPE_CHECKING:
    from gateway.calls.driver import CallDriver


class Consultation(Owner):
    """The agent of `driver` talks with `colleague` instead of the caller. It ends with `complete` or `end`."""

    def __init__(self, driver: CallDriver, agent: Party) -> None:
        self.driver = driver
        self.agent = agent
        self.colleague: Party | None = None
        self.talking = False
        self._key = uuid7()
        self._board = driver.exchange.switchboard
        self._timer: asyncio.TimerHandle | None = None

    @property
    def call_id(self) -> str:
        return self.driver.call.id

    def begin(self, colleague: routing.Agent) -> None:
        """Holds the caller and rings the colleague's phone. Raises SipError, MediaError or PortBusy."""
        exchange = self.driver.exchange
        self.colleague = exchange.open_phone(self, colleague.id, self.agent.leg)
        self._board.watch(self.colleague)
        about = {"Call": self.driver.call.id, "Asked-By": self.agent.agent or ""}
        exchange.ring(self.colleague, colleague.aor, self.driver.call, about)
        self._wait(progress_s(colleague.aor))
        exchange.route(routing.Engaged(f"{self._key}/{colleague.id}", colleague.id))
        self.driver.feed(m.HoldChanged("agent", True))

    def complete(self) -> bool:
        """The colleague takes the caller and the agent leaves; False while nobody answered yet."""
        colleague = self.colleague
        if not self.talking or colleague is None:
            return False
        self.colleague = None
        self._done()
        colleague.leg.stop()
        self.driver.agent.joining = colleague
        self.driver.feed(m.TakenOver(colleague.agent or "", self.agent.agent or "", out_of=self._seat(colleague)))
        self._free(colleague)
        return True

    def end(self, reason: str) -> None:
        """The colleague is hung up; the caller stays on hold until the agent takes them back."""
        colleague, self.colleague = self.colleague, None
        if colleague is None:
            return
        self._done()
        self._free(colleague)
        self.agent.leg.stop()
        if self.talking:
            self.agent.leg.unbridge()
        self._board.hang_up(colleague, reason)
        self._board.close(colleague)

    def _done(self) -> None:
        if self._timer:
            self._timer.cancel()
        self.driver.agent.consultation = None

    def _free(self, colleague: Party) -> None:
        if colleague.agent:
            self.driver.exchange.route(routing.CallFinished(self._seat(colleague), colleague.agent))

    def _seat(self, colleague: Party) -> str:
        """What routing knows the colleague to talk in."""
        return f"{self._key}/{colleague.agent}"

    def _wait(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._failed, "no answer")

    def _failed(self, reason: str) -> None:
        """The agent has the caller again, unless their phone holds."""
        self.end(reason)
        self.driver.feed(m.HoldChanged("agent", self.agent.held))

    # --- what the colleague's phone does --------------------------------------------------------------------------

    def rings(self, party: Party) -> None:
        self._wait(RING_S)
        tone = self.driver.exchange.prompts.tone("ringback", self.driver.call.language)
        self.agent.leg.play([tone], token=0, loop=True)

    def answered(self, party: Party, media: Agreed) -> None:
        if self._timer:
            self._timer.cancel()
        self.talking = True
        self.agent.leg.stop()
        self.agent.leg.bridge(party.leg)
        if self.agent.held:
            self.holds(self.agent)

    def holds(self, party: Party) -> None:
        """Whoever of the two is held hears music; the caller hears theirs anyway."""
        other = self.agent if party is self.colleague else self.colleague
        if other is None or not self.talking:
            return
        if party.held:
            other.leg.play([self.driver.exchange.prompts.tone("hold")], token=0, loop=True)
        else:
            other.leg.stop()

    def vanished(self, party: Party) -> None:
        if party.agent:
            self.driver.exchange.sign_out(party.agent, "phone vanished")
        self._failed("phone vanished")

    def failed(self, party: Party, reason: str) -> None:
        self._failed(reason)

    def left(self, party: Party, by_peer: bool, reason: str) -> None:
        self._failed("hung up")
