"""The agent's side of one call: the phone that is rung or talks, one that stepped aside, one that is about to join."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway.calls import commands as do
from gateway.calls import model as m
from gateway.calls.party import Owner, Party
from gateway.calls.progress import progress_s
from gateway.core.errors import TrunklineError
from gateway.sip.events import TransferAsked
from gateway.sip.offer_answer import Agreed

if TYPE_CHECKING:
    from gateway.calls.consult import Consultation
    from gateway.calls.driver import CallDriver


class AgentSide(Owner):
    """`party` is the phone that is rung or talks; `aside` one that asked for a transfer and may get the caller back;
    `joining` one that is on the line already and becomes `party` with the next TakeOver."""

    def __init__(self, driver: CallDriver) -> None:
        self.driver = driver
        self.party: Party | None = None
        self.aside: Party | None = None
        self.joining: Party | None = None
        self.consultation: Consultation | None = None
        self._progress: asyncio.TimerHandle | None = None

    @property
    def call_id(self) -> str:
        return self.driver.call.id

    def talks(self, party: Party) -> bool:
        """Whether it is the phone that the caller talks with."""
        return party is self.party and party.agent is not None and self.driver.call.agent == party.agent

    # --- commands of the call -------------------------------------------------------------------------------------

    def run(self, command: do.CallCommand) -> None:
        _RUN[type(command)](self, command)

    def _ring(self, command: do.RingAgent) -> None:
        exchange, agent = self.driver.exchange, self.driver.exchange.agents[command.offer.agent]
        self._call(agent.id, lambda: exchange.open_phone(self, agent.id, self.driver.leg), agent.aor, command.about)

    def _outside(self, command: do.CallOutside) -> None:
        exchange = self.driver.exchange
        number = command.number
        self._call(number, lambda: exchange.open_outside(self, self.driver.leg, number), number, command.about)

    def _call(self, name: str, opened: Callable[[], Party], target: str, about: Mapping[str, str]) -> None:
        try:
            self.party = opened()
            exchange = self.driver.exchange
            exchange.switchboard.watch(self.party)
            exchange.ring(self.party, target, self.driver.call, about)
        except TrunklineError as error:
            self._drop()
            self.driver.feed(m.AgentFailed(name, error.what))
            return
        self._progress = asyncio.get_running_loop().call_later(progress_s(target), self._no_progress, name)

    def _bridge(self, _: do.Bridge) -> None:
        """Who joins a conversation that goes on does so without a gap."""
        leg = self.driver.leg
        leg.stop()
        if self.party and leg.room:
            leg.room.join(self.party.leg)
        elif self.party:
            leg.bridge(self.party.leg)

    def _part(self, _: do.Part) -> None:
        self.driver.leg.unbridge()

    def _step_aside(self, _: do.StepAside) -> None:
        self._stop_asking("the caller was handed on")
        self._part(do.Part())
        self.aside, self.party = self.party, None

    def _step_back(self, _: do.StepBack) -> None:
        self.party, self.aside = self.aside, None
        self._still_held()

    def _take_over(self, command: do.TakeOver) -> None:
        self._stop_asking(command.reason)
        before, self.party, self.joining = self.party, self.joining, None
        if self.party:
            board = self.driver.exchange.switchboard
            board.give(self.party, self)
            board.watch(self.party)
            if self.driver.leg.room:
                self.driver.leg.room.join(self.party.leg)
        self._let_go(before, command.reason)
        self._still_held()

    def _still_held(self) -> None:
        if self.party and self.party.held:
            self.driver.feed(m.HoldChanged("agent", True))

    def _turn_away(self, command: do.TurnAway) -> None:
        late, self.joining = self.joining, None
        self._let_go(late, command.reason)

    def _let_aside_go(self, command: do.LetGo) -> None:
        before, self.aside = self.aside, None
        self._let_go(before, command.reason)

    def hang_up(self, reason: str) -> None:
        """The phone stops ringing, or the conversation ends."""
        self._progressed()
        self._stop_asking(reason)
        if self.party:
            self.driver.exchange.switchboard.hang_up(self.party, reason)
        self._drop()

    def close(self, reason: str) -> None:
        """The call is over."""
        self.hang_up(reason)
        self._let_aside_go(do.LetGo(reason))
        self._turn_away(do.TurnAway(reason))

    def _stop_asking(self, reason: str) -> None:
        if self.consultation:
            self.consultation.end(reason)

    def _let_go(self, party: Party | None, reason: str) -> None:
        if party:
            self.driver.exchange.switchboard.hang_up(party, reason)
            self._close(party)

    def _drop(self) -> None:
        if self.party:
            party, self.party = self.party, None
            self.driver.leg.unbridge()
            self._close(party)

    def _close(self, party: Party) -> None:
        self.driver.write_quality("agent", party.leg)
        self.driver.exchange.switchboard.close(party)

    # --- what the phones do ---------------------------------------------------------------------------------------

    def _no_progress(self, name: str) -> None:
        self.hang_up("no progress")
        self.driver.feed(m.AgentFailed(name, "the phone gave no sign of life"))

    def _progressed(self) -> None:
        if self._progress:
            self._progress.cancel()
            self._progress = None

    def rings(self, party: Party) -> None:
        self._progressed()
        if self.driver.call.ringing:
            self.driver.feed(m.AgentRings(self.driver.call.ringing))

    def answered(self, party: Party, media: Agreed) -> None:
        self._progressed()
        agent = self.driver.call.ringing
        if agent is None:
            self.hang_up("no longer offered")
            return
        self.driver.feed(m.AgentAnswered(agent))

    def failed(self, party: Party, reason: str) -> None:
        self._progressed()
        self._drop()
        if self.driver.call.ringing:
            self.driver.feed(m.AgentFailed(self.driver.call.ringing, reason))

    def left(self, party: Party, by_peer: bool, reason: str) -> None:
        told = reason if by_peer and reason != "hung up" else ""
        self._left(party, "hung up" if by_peer else "phone vanished", told)

    def vanished(self, party: Party) -> None:
        """It is told, should it be there still."""
        self.driver.exchange.switchboard.hang_up(party, "phone vanished")
        if party.agent:
            self.driver.exchange.sign_out(party.agent, "phone vanished")
        self._left(party, "phone vanished")

    def _left(self, party: Party, reason: str, told: str = "") -> None:
        if party is self.party:
            self._stop_asking(reason)
            self._drop()
            if self.driver.call.agent:
                self.driver.feed(m.AgentLeft(self.driver.call.agent, reason, told))
        elif party is self.aside:
            self.aside = None
            self._close(party)
            if self.driver.call.transfer:
                self.driver.feed(m.AgentLeft(self.driver.call.transfer.by, reason, told))

    def holds(self, party: Party) -> None:
        """While a colleague is asked the phone's hold is between those two."""
        if party is self.party and self.consultation:
            self.consultation.holds(party)
        elif party is self.party:
            self.driver.feed(m.HoldChanged("agent", party.held))

    def asks_transfer(self, party: Party, event: TransferAsked) -> None:
        if self.talks(party):
            self.driver.exchange.control.asked(self.driver, party, event)
        else:
            self.driver.exchange.switchboard.endpoint.reject_transfer(event.transfer, 603)


_RUN: Mapping[type, Callable[[AgentSide, Any], None]] = {
    do.RingAgent: AgentSide._ring,
    do.CallOutside: AgentSide._outside,
    do.StopRinging: lambda side, command: side.hang_up(command.why),
    do.Bridge: AgentSide._bridge,
    do.Part: AgentSide._part,
    do.StepAside: AgentSide._step_aside,
    do.StepBack: AgentSide._step_back,
    do.TakeOver: AgentSide._take_over,
    do.TurnAway: AgentSide._turn_away,
    do.LetGo: AgentSide._let_aside_go,
    do.HangUpAgent: lambda side, command: side.hang_up(command.reason),
}
COMMANDS = tuple(_RUN)
