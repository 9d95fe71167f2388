"""All calls of this node: takes SIP events to their call, holds the one routing state, and ends everything in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.calls import model as m
from gateway.calls import reducer
from gateway.calls.actions import Actions
from gateway.calls.control import Control
from gateway.calls.driver import CallDriver
from gateway.calls.durable import within
from gateway.calls.negotiation import SECURED, Terms
from gateway.calls.party import Owner, Party
from gateway.calls.switchboard import Switchboard
from gateway.calls.words import expected
from gateway.core.clock import Clock
from gateway.core.errors import SipError, StoreError, TrunklineError
from gateway.core.ids import uuid7
from gateway.core.ports import Ranked
from gateway.flow import dialled
from gateway.flow.dialled import Dids, Number
from gateway.flow.model import Flow
from gateway.media.leg import Leg
from gateway.media.prompts import PromptStore
from gateway.observe.metrics import Metrics
from gateway.routing import model as routing
from gateway.routing import policy
from gateway.routing.state import State as RoutingState
from gateway.sip import events as sip
from gateway.sip import sdp
from gateway.sip.dialling import is_number
from gateway.sip.identity import Identity
from gateway.sip.place import Place
from gateway.speech.ears import Ears
from gateway.store.calls import CallStore

log = logging.getLogger(__name__)

Understand = Callable[[Flow, str, str], Awaitable[Ranked]]

ANYWHERE = "192.0.2.1"
"""An address outside, to choose our own by where only DNS knows where a trunk is (RFC 5737)."""

VANISHED = ("expired", "does not answer", "unreachable", "connection lost")
"""Why a contact goes whose phone did not sign out."""

RECORD_S = 2.0
"""Longest time that a call is not answered because its record is not on disk yet."""


@dataclass(slots=True)
class Exchange:
    """`numbers` maps dialled users to flows ("*" is any other), `dids` those of each trunk; `trunk_terms`,
    `agent_terms`: what may be agreed with some of them, where that is not what may be with everybody; `flows` holds the
    newest version of each by id."""

    clock: Clock
    ears: Ears
    prompts: PromptStore
    understand: Understand
    actions: Actions
    store: CallStore
    metrics: Metrics
    switchboard: Switchboard
    recordings: Path
    numbers: Mapping[str, Number]
    flows: dict[str, Flow]
    agents: Mapping[str, routing.Agent]
    routing_state: RoutingState
    max_calls: int = 200
    pickup: str = "*8"
    """See Control."""
    dids: Mapping[str, Dids] = field(default_factory=dict)
    trunk_terms: Mapping[str, Terms] = field(default_factory=dict)
    agent_terms: Mapping[str, Terms] = field(default_factory=dict)
    on_write: Callable[[m.Call, str, dict[str, object]], None] | None = None
    on_finished: Callable[[str], None] | None = None
    calls: dict[str, CallDriver] = field(default_factory=dict)
    draining: bool = False
    _inbox: deque[tuple[CallDriver, m.CallEvent]] = field(default_factory=deque)
    _busy: bool = False
    _timer: asyncio.TimerHandle | None = None
    _phones: dict[str, dict[str, Place]] = field(default_factory=dict)
    """Where each agent's phones signal from, by contact, the newest last."""
    _callers: dict[str, Identity] = field(default_factory=dict)
    """Who each call's caller is, for calls that are made for them outside."""
    _queued_at: dict[str, float] = field(default_factory=dict)
    _hints: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    control: Control = field(init=False)

    def __post_init__(self) -> None:
        self.control = Control(self, self.pickup)

    # --- events of calls ------------------------------------------------------------------------------------------

    def post(self, driver: CallDriver, event: m.CallEvent) -> None:
        """Hands an event to a call. One call's commands are carried out before the next event is looked at."""
        self._inbox.append((driver, event))
        self._drain()

    def _drain(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                target, item = self._inbox.popleft()
                target.handle(item)
        finally:
            self._busy = False

    def route(self, event: routing.RoutingEvent) -> None:
        """One step of the routing policy; its decisions go to the calls they name, in order."""
        self.routing_state, decisions = policy.step(self.routing_state, event, self.clock.now().mono)
        gone = []
        for decision in decisions:
            driver = self.calls.get(decision.call)
            if driver:
                self._inbox.append((driver, decision))
            elif isinstance(decision, routing.AgentOffer):
                gone.append(decision.call)
        self._drain()
        for call in gone:
            self.route(routing.CallLeft(call))
        state = self.routing_state
        self.metrics.queues(Counter(waiting.call.queue for waiting in state.waiting.values()))
        self.metrics.agents(Counter(seat.doing for seat in state.seats.values()))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = self.routing_state.deadline
        if due is not None:
            wait = max(0.0, due - self.clock.now().mono)
            self._timer = asyncio.get_running_loop().call_later(wait + 0.001, self.route, routing.Tick())

    # --- SIP ------------------------------------------------------------------------------------------------------

    def on_sip(self, event: sip.SipEvent) -> None:
        """Everything the SIP endpoint reports."""
        match event:
            case sip.CallOffered():
                self._offered(event)
            case sip.ContactUp():
                self._contact_up(event)
            case sip.ContactDown():
                self._contact_down(event)
            case sip.TrunkChanged():
                level, how = (logging.INFO, "up") if event.up else (logging.WARNING, "down")
                log.log(level, "a trunk is %s", how, extra={"fields": {"trunk": event.trunk, "why": event.why}})
            case _:
                self.switchboard.on_sip(event)

    def _offered(self, event: sip.CallOffered) -> None:
        if self.control.offered(event):
            return
        number = dialled.lead((event.dialled, event.requested), self.numbers, self.dids.get(event.trunk or ""))
        flow = self.flows.get(number.flow) if number else None
        if number is None or flow is None:
            self.metrics.refused("unknown number")
            self.switchboard.endpoint.reject(event.call, 404, "Not Found")
            return
        if self.draining or len(self.calls) + len(self.control.internal) >= self.max_calls:
            self.metrics.refused("draining" if self.draining else "full")
            self.switchboard.endpoint.reject(event.call, 503, "Service Unavailable")
            return
        try:
            caller = self.switchboard.open(Owner(), event.source, offer=event.offer, terms=self._terms(event))
        except TrunklineError as error:
            log.error("no leg for a call", extra={"fields": {"error": str(error)}})
            self.switchboard.endpoint.reject(event.call, 503, "Service Unavailable")
            return
        try:
            local = self.switchboard.describe(caller, event.offer)
        except TrunklineError as error:
            self.switchboard.close(caller)
            self.metrics.refused("no common codec")
            self.switchboard.endpoint.reject(event.call, 488, error.what)
            return
        self._begin(event, flow, number, caller, local)

    def _terms(self, event: sip.CallOffered) -> Terms | None:
        agent = self.agent_of(event.aor) if event.aor else None
        return self.agent_terms.get(agent.id) if agent else self.trunk_terms.get(event.trunk or "")

    def _begin(
        self, event: sip.CallOffered, flow: Flow, number: Number, caller: Party, local: sdp.SessionDescription
    ) -> None:
        began = now = self.clock.now()
        call = reducer.start(uuid7(), flow, event.caller, event.dialled, number.language, now)
        driver = CallDriver(self, call, caller, event.trunk or "")
        self.calls[call.id] = driver
        self.switchboard.called(caller, event.call)
        self._idle.clear()
        driver.prepare_recording()
        told = within(RECORD_S, lambda error: self._answer(driver, local, began.mono, error))
        try:
            self.store.begin(
                call.id,
                now,
                caller=event.caller,
                dialled=event.dialled,
                language=call.language,
                flow=flow.id,
                flow_version=flow.version,
                recording=self.recording_path(call),
                then=told,
            )
        except StoreError as error:
            told(error)
        self._callers[call.id] = event.identity
        self.metrics.call_started(len(self.calls))
        self.write(call, "arrived", arrival(event))

    def _answer(
        self, driver: CallDriver, local: sdp.SessionDescription, began: float, error: StoreError | None
    ) -> None:
        """The call's record is on disk, so that it may be answered; a full disk costs the record, never the call."""
        if error:
            log.error(
                "a call goes on without a record", extra={"fields": {"call": driver.call.id, "error": str(error)}}
            )
        try:
            self.switchboard.endpoint.answer(driver.caller.sip, local)
            self.metrics.set_up(self.clock.now().mono - began)
        except TrunklineError:  # cancelled a moment ago
            driver.feed(m.CallerLeft("caller cancelled"))

    def _contact_up(self, event: sip.ContactUp) -> None:
        agent = self.agent_of(event.aor)
        if agent:
            phones = self._phones.setdefault(agent.id, {})
            phones.pop(event.contact, None)
            phones[event.contact] = event.source
            self.metrics.agent(agent.id, up=True)
            self.route(routing.AgentUp(agent))

    def _contact_down(self, event: sip.ContactDown) -> None:
        agent = self.agent_of(event.aor)
        if agent:
            self._phones.get(agent.id, {}).pop(event.contact, None)
            if event.reason in VANISHED:
                self.switchboard.doubt(agent.id)
        if agent and not event.left:
            self.metrics.agent(agent.id, up=False)
            self.route(routing.AgentDown(agent.id, event.reason))

    def agent_of(self, aor: str) -> routing.Agent | None:
        return next((a for a in self.agents.values() if a.aor == aor), None)

    # --- what drivers ask for -------------------------------------------------------------------------------------

    def open_phone(self, owner: Owner, agent: str, near: Leg) -> Party:
        """A party for an agent's phone that is to be called. All phones get one offer: that for the newest, or for one
        whose signalling others may hear. Raises MediaError, PortBusy, or SipError where there is no phone."""
        if is_number(self.agents[agent].aor):
            return self.open_outside(owner, near, self.agents[agent].aor, agent)
        phones = list(self._phones.get(agent, {}).values())
        if not phones:
            raise SipError("The agent has no phone that is registered", read=agent)
        place = next((phone for phone in phones if phone.transport not in SECURED), phones[-1])
        return self.switchboard.open(owner, place, near=near, agent=agent, terms=self.agent_terms.get(agent))

    def open_outside(self, owner: Owner, near: Leg, number: str, agent: str | None = None) -> Party:
        """A party for a number outside. Raises SipError where no trunk takes it, MediaError or PortBusy."""
        trunk, ip = self.switchboard.endpoint.endpoint.way_out(number)
        if not trunk:
            raise SipError("No trunk takes the call")
        place = Place(ip or ANYWHERE, 0)
        return self.switchboard.open(owner, place, near=near, agent=agent, terms=self.trunk_terms.get(trunk))

    def number_outside(self, dialled: str) -> str | None:
        """The number outside that a dialled one means, where it may be called; a short one as tel: URI, which tells it
        from an extension of ours."""
        number = self.switchboard.endpoint.endpoint.number_outside(dialled)
        return number if number is None or is_number(number) else f"tel:{number}"

    def sign_in_outside(self) -> None:
        """Agents whose phone is a number outside take calls from now on."""
        for agent in self.agents.values():
            if is_number(agent.aor):
                self.metrics.agent(agent.id, up=True)
                self.route(routing.AgentUp(agent))

    def ring(self, party: Party, target: str, call: m.Call, about: Mapping[str, str]) -> None:
        """Calls a phone for a caller; the call's story goes along as headers, but not to a number outside: there the
        caller is named as the trunk wants it. Raises SipError."""
        if is_number(target):
            left = call.dialled if is_number(call.dialled) else ""
            self.switchboard.invite(party, target, caller=self._callers.get(call.id), left=left)
            return
        self.switchboard.invite(
            party,
            target,
            from_user=call.caller or "anonymous",
            from_display=about.get("Intent", ""),
            headers={f"X-Trunkline-{name}": value for name, value in about.items()},
        )

    def sign_out(self, agent: str, reason: str) -> None:
        """The agent's phone vanished in a call: it is not offered another until it registers again."""
        self.switchboard.endpoint.drop_contacts(self.agents[agent].aor, reason)

    def recording_path(self, call: m.Call) -> Path:
        return self.recordings / f"{call.id}{self.switchboard.media.recorder.suffix}"

    def hints(self, flow: Flow, language: str) -> tuple[str, ...]:
        """Words the recognizer may expect in any menu of a flow, out of its own utterances."""
        key = (flow.id, flow.version, language)
        if key not in self._hints:
            self._hints[key] = expected([flow], language)
        return self._hints[key]

    def write(self, call: m.Call, kind: str, data: dict[str, object]) -> None:
        """One line of the call's record."""
        self.store.append(call.id, self.clock.now(), kind, data)
        self.metrics.event(kind, data)
        if kind == "queued":
            self._queued_at[call.id] = self.clock.now().mono
        elif kind == "bridged" and call.id in self._queued_at:
            self.metrics.waited(self.clock.now().mono - self._queued_at.pop(call.id), call.queue or "")
        if self.on_write:
            self.on_write(call, kind, data)

    def finished(self, driver: CallDriver, reason: str) -> None:
        """A call is over: its leg, recording and record are closed."""
        self.switchboard.close(driver.caller)
        self.calls.pop(driver.call.id, None)
        self._queued_at.pop(driver.call.id, None)
        self._callers.pop(driver.call.id, None)
        self.metrics.call_ended(outcome(driver.call), len(self.calls))
        if self.on_finished:
            self.on_finished(driver.call.id)
        if not self.calls:
            self._idle.set()
        self.store.finish(driver.call.id, self.clock.now(), reason, outcome=outcome(driver.call))

    async def close(self, grace_s: float = 5.0) -> None:
        """Ends every call in order; new ones are refused from now on."""
        self.draining = True
        self.control.close()
        for driver in list(self.calls.values()):
            driver.feed(m.Shutdown())
        if self.calls:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
        if self._timer:
            self._timer.cancel()

    def use_flows(self, flows: dict[str, Flow], numbers: Mapping[str, Number], queues: list[routing.Queue]) -> None:
        """New calls take these; calls that are under way keep the flow they began with."""
        self.flows = flows
        self.numbers = numbers
        self.routing_state = policy.reload(self.routing_state, queues)


def arrival(event: sip.CallOffered) -> dict[str, object]:
    """The first line of a call's record; a number that is withheld is not in it."""
    line: dict[str, object] = {"caller": event.caller, "dialled": event.dialled, "from": event.trunk or event.aor}
    who = event.identity
    if who.asserted and not who.withheld:
        line["asserted"] = who.asserted
    if diverted := who.diverted:
        line["diverted"] = [{"number": each.number, "reason": each.reason} for each in diverted]
    return line


def outcome(call: m.Call) -> str:
    """How a call ended, in one of a few words."""
    if call.agent:
        return "served"
    if call.message_from is not None or call.end_reason.startswith("message"):
        return "message"
    if call.queue:
        return "abandoned"
    return "contained" if call.path else "short"
