"""The agent's side of one call: the phone that is rung, talks, and may be left behind or taken over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.calls import model as m
from gateway.calls.party import Owner, Party
from gateway.core.errors import TrunklineError
from gateway.media import events as media
from gateway.sip.offer_answer import Agreed

if TYPE_CHECKING:
    from gateway.calls.driver import CallDriver

NO_PROGRESS_S = 4.0
"""An agent's phone that has not even said it rings by then is taken for gone."""


class AgentSide(Owner):
    """`party` is the phone that is rung or talks."""

    def __init__(self, driver: CallDriver) -> None:
        self.driver = driver
        self.party: Party | None = None
        self._progress: asyncio.TimerHandle | None = None

    @property
    def call_id(self) -> str:
        return self.driver.call.id

    # --- commands of the call -------------------------------------------------------------------------------------

    def ring(self, command: m.RingAgent) -> None:
        exchange, agent = self.driver.exchange, self.driver.exchange.agents[command.offer.agent]
        try:
            self.party = exchange.open_phone(self, agent.id, self.driver.leg)
            self.party.leg.on_event = self._on_leg
            exchange.ring(self.party, agent, self.driver.call, command.about)
        except TrunklineError as error:
            self._drop()
            self.driver.feed(m.AgentFailed(agent.id, error.what))
            return
        self._progress = asyncio.get_running_loop().call_later(NO_PROGRESS_S, self._no_progress, agent.id)

    def bridge(self) -> None:
        self.driver.leg.stop()
        if self.party:
            self.driver.leg.bridge(self.party.leg)

    def hang_up(self, reason: str) -> None:
        """The phone stops ringing, or the conversation ends."""
        self._progressed()
        if self.party:
            self.driver.exchange.switchboard.hang_up(self.party, reason)
        self._drop()

    def close(self, reason: str) -> None:
        """The call is over."""
        self.hang_up(reason)

    def _drop(self) -> None:
        if self.party:
            self.driver.write_quality("agent", self.party.leg)
            self.driver.leg.unbridge()
            self.driver.exchange.switchboard.close(self.party)
        self.party = None

    # --- what the phone does --------------------------------------------------------------------------------------

    def _on_leg(self, event: media.MediaEvent) -> None:
        if self.party is None:
            return
        match event:
            case media.RtpLost():
                self.driver.exchange.switchboard.silence(self.party)
            case media.RtpBack():
                self.driver.exchange.switchboard.silence_over(self.party)

    def _no_progress(self, agent: str) -> None:
        self.hang_up("no progress")
        self.driver.feed(m.AgentFailed(agent, "the phone gave no sign of life"))

    def _progressed(self) -> None:
        if self._progress:
            self._progress.cancel()
            self._progress = None

    def rings(self, party: Party) -> None:
        self._progressed()

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
        self._left("hung up" if by_peer else "phone vanished")

    def vanished(self, party: Party) -> None:
        """It is told, should it be there still."""
        self.hang_up("phone vanished")
        if self.driver.call.agent:
            self.driver.exchange.sign_out(self.driver.call.agent, "phone vanished")
        self._left("phone vanished")

    def _left(self, reason: str) -> None:
        self._drop()
        if self.driver.call.agent:
            self.driver.feed(m.AgentLeft(self.driver.call.agent, reason))
