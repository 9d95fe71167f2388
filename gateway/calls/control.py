"""Call control of this node: what agents' phones and the desk ask for beside taking the calls they are offered."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.calls import model as m
from gateway.calls.agent_side import AgentSide
from gateway.calls.carry import routing_queue
from gateway.calls.consult import Consultation
from gateway.calls.destinations import Destination, Plan, ToAgent, ToOutside
from gateway.calls.internal import InternalCall
from gateway.calls.party import Owner, Party
from gateway.core.errors import SipError, TrunklineError
from gateway.core.ids import uuid7
from gateway.routing import model as routing
from gateway.sip import events as sip
from gateway.sip.sdp import SessionDescription

if TYPE_CHECKING:
    from gateway.calls.driver import CallDriver
    from gateway.calls.exchange import Exchange

log = logging.getLogger(__name__)


class Control:
    """`pickup`: the code that an agent dials, alone or before a queue's name, to pick a waiting caller up; empty for
    none."""

    def __init__(self, exchange: Exchange, pickup: str = "*8") -> None:
        self.exchange = exchange
        self.pickup = pickup
        self.internal: dict[str, InternalCall] = {}

    @property
    def plan(self) -> Plan:
        """Whom a dialled user part means now."""
        exchange = self.exchange
        return Plan(exchange.agents, exchange.flows, exchange.numbers, exchange.number_outside)

    # --- calls that agents' phones make ---------------------------------------------------------------------------

    def offered(self, event: sip.CallOffered) -> bool:
        """Takes a call from an agent's phone that is a pick-up, for a colleague, or in the place of another call."""
        agent = self.exchange.agent_of(event.aor or "")
        if event.replaces:
            self._replace(event, agent)
        elif agent is None:
            return False
        elif self.pickup and event.dialled.startswith(self.pickup):
            self._pick_up(event, agent)
        elif event.dialled in self.exchange.agents:
            self._call_colleague(event, agent, self.exchange.agents[event.dialled])
        else:
            return False
        return True

    def _refuse(self, event: sip.CallOffered, status: int, reason: str) -> None:
        self.exchange.metrics.refused("call control")
        self.exchange.switchboard.endpoint.reject(event.call, status, reason)

    def _opened(self, event: sip.CallOffered, agent: str) -> tuple[Party, SessionDescription] | None:
        """A party for a phone that calls us, and what it is to be answered with; None where it was refused."""
        board = self.exchange.switchboard
        if self.exchange.draining or len(self.exchange.calls) + len(self.internal) >= self.exchange.max_calls:
            self._refuse(event, 503, "Service Unavailable")
            return None
        try:
            terms = self.exchange.agent_terms.get(agent)
            party = board.open(Owner(), event.source, agent=agent, offer=event.offer, terms=terms)
        except TrunklineError as error:
            log.error("no leg for an agent's phone", extra={"fields": {"error": str(error)}})
            self._refuse(event, 503, "Service Unavailable")
            return None
        try:
            local = board.describe(party, event.offer)
        except TrunklineError as error:
            board.close(party)
            self._refuse(event, 488, error.what)
            return None
        board.called(party, event.call)
        return party, local

    def _pick_up(self, event: sip.CallOffered, agent: routing.Agent) -> None:
        """The caller who waited longest, in the queue named after the code or in any, is joined to this phone."""
        if refusal := self._occupied(agent.id):
            self._refuse(event, *refusal)
            return
        driver = self._longest(event.dialled[len(self.pickup) :])
        if driver is None:
            self._refuse(event, 480, "Nobody Waits")
            return
        opened = self._opened(event, agent.id)
        if opened and self._answered(event, *opened):
            driver.agent.joining = opened[0]
            driver.feed(m.TakenOver(agent.id))

    def _answered(self, event: sip.CallOffered, party: Party, local: SessionDescription) -> bool:
        try:
            self.exchange.switchboard.endpoint.answer(event.call, local)
        except TrunklineError:  # the phone gave up a moment ago
            self.exchange.switchboard.close(party)
            return False
        return True

    def _longest(self, queue: str) -> CallDriver | None:
        found = self.plan.queue(queue) if queue else None
        if queue and found is None:
            return None
        name = routing_queue(found.flow, found.queue) if found else None
        waiting = [
            one
            for one in self.exchange.routing_state.waiting.values()
            if one.call.only is None and name in (None, one.call.queue)
        ]
        for one in sorted(waiting, key=lambda each: each.since):
            if driver := self.exchange.calls.get(one.call.call):
                return driver
        return None

    def _occupied(self, agent: str) -> tuple[int, str] | None:
        """Why an agent's phone can't be in one more conversation."""
        seat = self.exchange.routing_state.seats.get(agent)
        if seat is None:
            return 480, "Not Signed In"
        return (486, "Busy Here") if seat.doing == "talking" else None

    def _call_colleague(self, event: sip.CallOffered, agent: routing.Agent, colleague: routing.Agent) -> None:
        seat = self.exchange.routing_state.seats.get(colleague.id)
        refusal = self._occupied(colleague.id)
        if refusal or seat is None or seat.doing == "ringing" or agent.id == colleague.id:
            self._refuse(event, *(refusal or (486, "Busy Here")))
            return
        opened = self._opened(event, agent.id)
        if opened is None:
            return
        call = InternalCall(self, *opened)
        key = self.begin(call)
        try:
            callee = self.exchange.open_phone(call, colleague.id, opened[0].leg)
            call.ring(callee, colleague.aor, agent.name, event.identity)
        except TrunklineError as error:
            call.end(error.what)
            return
        for one in (agent, colleague):
            self.exchange.route(routing.Engaged(f"{key}/{one.id}", one.id))

    def begin(self, call: InternalCall) -> str:
        key = uuid7()
        self.internal[key] = call
        return key

    def close(self) -> None:
        """Ends the calls between colleagues."""
        for call in list(self.internal.values()):
            call.end("the gateway is stopping")

    def over(self, call: InternalCall) -> None:
        """An internal call has ended: its agents are free again."""
        self._free(self._forget(call))

    def _key(self, call: InternalCall) -> str:
        """By which routing knows it; empty where it is over."""
        return next((key for key, one in self.internal.items() if one is call), "")

    def _forget(self, call: InternalCall) -> str:
        key = self._key(call)
        self.internal.pop(key, None)
        return key

    def _reseat(self, call: InternalCall, before: str | None, now: str) -> None:
        """Another agent talks in it."""
        key = self._key(call)
        if before and before != now:
            self.exchange.route(routing.Engaged(f"{key}/{now}", now))
            self.exchange.route(routing.CallFinished(f"{key}/{before}", before))

    def _free(self, key: str) -> None:
        for seat in list(self.exchange.routing_state.seats.values()):
            if seat.call == f"{key}/{seat.agent.id}":
                self.exchange.route(routing.CallFinished(seat.call, seat.agent.id))

    def _replace(self, event: sip.CallOffered, agent: routing.Agent | None) -> None:
        """Another phone of ours comes in the place of one that talks (RFC 3891)."""
        old = self.exchange.switchboard.parties.get(event.replaces or "")
        owner = old.owner if old else None
        if old is None or agent is None or not isinstance(owner, (AgentSide, InternalCall)) or not owner.talks(old):
            self._refuse(event, 403, "Not To Be Replaced")
            return
        if old.agent != agent.id and (refusal := self._occupied(agent.id)):
            self._refuse(event, *refusal)
            return
        opened = self._opened(event, agent.id)
        if opened is None or not self._answered(event, *opened):
            return
        if isinstance(owner, InternalCall):
            owner.swap(old, opened[0])
            self._reseat(owner, old.agent, agent.id)
        else:
            owner.joining = opened[0]
            owner.driver.feed(m.TakenOver(agent.id, old.agent or ""))

    # --- transfers that agents' phones ask for --------------------------------------------------------------------

    def asked(self, driver: CallDriver, party: Party, event: sip.TransferAsked) -> None:
        """REFER from the phone of the agent who talks with the caller."""
        agent, board = party.agent or "", self.exchange.switchboard
        if event.replaces is None:
            to = self._reached(driver, event.dialled) if event.dialled else None
            if to is None:
                board.endpoint.reject_transfer(event.transfer, 404 if event.dialled else 403)
            else:
                driver.feed(m.TransferWanted(agent, to, event.transfer))
            return
        other = board.parties.get(event.replaces)
        if other and isinstance(other.owner, InternalCall) and other.agent == party.agent:
            self._hand_over(driver, other.owner, other, event)
        else:
            board.endpoint.reject_transfer(event.transfer, 603)

    def _reached(self, driver: CallDriver, dialled: str) -> Destination | None:
        """What a dialled name or number means for a caller; one who came by a trunk may go on there without us."""
        to = self.plan.find(dialled, driver.call.flow)
        if isinstance(to, ToOutside):
            uri = self.exchange.switchboard.endpoint.endpoint.refer_uri(driver.trunk, to.number)
            return replace(to, refer=uri or "")
        return to

    def asked_inside(self, call: InternalCall, party: Party, event: sip.TransferAsked) -> None:
        """REFER in the call with a colleague, meaning the call with the caller: the same the other way round."""
        other = self.exchange.switchboard.parties.get(event.replaces or "")
        owner = other.owner if other else None
        if other and isinstance(owner, AgentSide) and owner.party is other and other.agent == party.agent:
            self._hand_over(owner.driver, call, party, event)
        else:
            self.exchange.switchboard.endpoint.reject_transfer(event.transfer, 603)

    def _hand_over(self, driver: CallDriver, call: InternalCall, party: Party, event: sip.TransferAsked) -> None:
        """The caller and the colleague of `call` are joined; `party`, the agent's phone in that call, leaves."""
        by, colleague, key = party.agent or "", call.give(party), self._forget(call)
        if colleague is None:  # it only rings yet: the caller waits for it in the agent's place
            callee = call.other(party)
            to = callee.agent if callee and callee.agent else by
            call.end("transferred")
            driver.feed(m.TransferWanted(by, ToAgent(to), event.transfer, out_of=f"{key}/{to}"))
        else:
            driver.agent.joining = colleague
            to = colleague.agent or ""
            driver.feed(m.TakenOver(to, by, event.transfer, out_of=f"{key}/{to}"))
            call.end("transferred")
        self._free(key)

    # --- what the desk asks for -----------------------------------------------------------------------------------

    def hold(self, call: str) -> None:
        """The caller hears music and neither hears the other. Raises SipError where there is no such call."""
        self._driver(call).feed(m.HoldChanged("agent", True))

    def retrieve(self, call: str) -> None:
        """They talk again; a colleague who was asked is hung up. Raises SipError where there is no such call."""
        driver = self._driver(call)
        if driver.agent.consultation:
            driver.agent.consultation.end("the agent took the caller back")
        driver.feed(m.HoldChanged("agent", False))

    def transfer(self, call: str, target: str) -> None:
        """Puts the caller through to an agent, a queue, a number of ours, or an allowed number outside. Raises SipError
        where there is no such call, the caller talks with nobody, or the target is none of these."""
        driver = self._driver(call)
        to = self._reached(driver, target)
        if to is None or driver.call.agent is None:
            raise SipError("The caller can't be put through", read=target, do="name an agent, a queue or a number")
        driver.feed(m.TransferWanted(driver.call.agent, to))

    def consult(self, call: str, colleague: str) -> None:
        """The agent who talks in `call` asks a colleague, from the same phone, while the caller hears music. Raises
        SipError where nobody talks there or the colleague can't be asked."""
        driver = self._driver(call)
        side, found = driver.agent, self.exchange.agents.get(colleague)
        if driver.call.agent is None or side.party is None or side.consultation:
            raise SipError("Nobody talks in that call, or a colleague is being asked already", read=call)
        refusal = self._occupied(colleague)
        if found is None or refusal or colleague == driver.call.agent:
            raise SipError("The colleague can't be asked", read=colleague, do=refusal[1] if refusal else "ask another")
        side.consultation = Consultation(driver, side.party)
        try:
            side.consultation.begin(found)
        except TrunklineError:
            side.consultation.end("could not be called")
            side.consultation = None
            raise

    def complete(self, call: str) -> None:
        """The colleague who was asked takes the caller. Raises SipError where nobody was asked or answered yet."""
        asked = self._driver(call).agent.consultation
        if asked is None or not asked.complete():
            raise SipError("No colleague is on the line", read=call)

    def pick_up(self, agent: str, call: str) -> None:
        """Rings the agent's phone for a waiting caller, before anybody else's. Raises SipError where there is no such
        call or agent, or the agent talks or is being rung: the caller then keeps their place."""
        if agent not in self.exchange.agents:
            raise SipError("No such agent", read=agent)
        seat = self.exchange.routing_state.seats.get(agent)
        if seat is None or seat.doing in ("talking", "ringing"):
            raise SipError("The agent can't take a caller now", read=agent)
        self._driver(call).feed(m.TransferWanted("", ToAgent(agent)))

    def _driver(self, call: str) -> CallDriver:
        driver = self.exchange.calls.get(call)
        if driver is None:
            raise SipError("No such call", read=call)
        return driver
