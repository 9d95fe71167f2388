"""All calls of this node: takes SIP events to their call, holds the one routing state, and ends everything in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from gateway.calls import model as m
from gateway.calls import reducer
from gateway.calls.actions import Actions
from gateway.calls.driver import CallDriver
from gateway.calls.lifeline import Lifelines
from gateway.calls.words import expected
from gateway.core.clock import Clock
from gateway.core.errors import StoreError, TrunklineError
from gateway.core.ids import uuid7
from gateway.core.ports import Ranked
from gateway.flow import dialled
from gateway.flow.dialled import Dids, Number
from gateway.flow.model import Flow
from gateway.media.engine import MediaEngine
from gateway.media.leg import Leg
from gateway.media.prompts import PromptStore
from gateway.observe.metrics import Metrics
from gateway.routing import model as routing
from gateway.routing import policy
from gateway.routing.state import State as RoutingState
from gateway.sip import events as sip
from gateway.sip import offer_answer, sdp
from gateway.sip.edge import Edge
from gateway.sip.place import Place
from gateway.speech.ears import Ears
from gateway.store.calls import CallStore

log = logging.getLogger(__name__)

Understand = Callable[[Flow, str, str], Awaitable[Ranked]]

AGENT_SILENCE_S = 2.0
CALLER_SILENCE_S = 30.0
"""Seconds without a packet, beyond the engine's own five, after which a phone is asked whether it is there. A caller's
phone may suppress silence, so it is asked less often."""


@dataclass(slots=True)
class Exchange:
    """`numbers` maps dialled users to flows ("*" is any other), `dids` those of each trunk; `trunk_codecs`: what a
    trunk may agree, where it has codecs of its own; `flows` holds the newest version of each by id."""

    clock: Clock
    media: MediaEngine
    ears: Ears
    prompts: PromptStore
    understand: Understand
    actions: Actions
    store: CallStore
    metrics: Metrics
    media_bind: str
    media_ports: tuple[int, int]
    address_towards: Callable[[str], str]
    """This machine's address as a peer (an IP address) can reach it: put into SDP."""
    recordings: Path
    numbers: Mapping[str, Number]
    flows: dict[str, Flow]
    agents: Mapping[str, routing.Agent]
    routing_state: RoutingState
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    max_calls: int = 200
    dids: Mapping[str, Dids] = field(default_factory=dict)
    trunk_codecs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    endpoint: Edge = field(init=False)
    """Set by the composition root before the first event: the endpoint's events come here."""
    on_write: Callable[[m.Call, str, dict[str, object]], None] | None = None
    calls: dict[str, CallDriver] = field(default_factory=dict)
    draining: bool = False
    _by_sip: dict[str, tuple[CallDriver, bool]] = field(default_factory=dict)
    _inbox: deque[tuple[CallDriver, m.CallEvent]] = field(default_factory=deque)
    _busy: bool = False
    _timer: asyncio.TimerHandle | None = None
    _peers: WeakKeyDictionary[Leg, Place] = field(default_factory=WeakKeyDictionary)
    """Where the phone that signals for a leg is."""
    _phones: dict[str, Place] = field(default_factory=dict)
    _codecs: WeakKeyDictionary[Leg, tuple[str, ...]] = field(default_factory=WeakKeyDictionary)
    """What may be agreed for a leg, where a trunk has codecs of its own."""
    _held: WeakSet[Leg] = field(default_factory=WeakSet)
    _queued_at: dict[str, float] = field(default_factory=dict)
    _hints: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _lifelines: Lifelines = field(init=False)

    def __post_init__(self) -> None:
        self._lifelines = Lifelines(lambda phone: self.endpoint.options(phone))

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
        handler = _SIP.get(type(event))
        if handler:
            handler(self, event)

    def _offered(self, event: sip.CallOffered) -> None:
        number = dialled.lead((event.dialled, event.requested), self.numbers, self.dids.get(event.trunk or ""))
        flow = self.flows.get(number.flow) if number else None
        if number is None or flow is None:
            self.metrics.refused("unknown number")
            self.endpoint.reject(event.call, 404, "Not Found")
            return
        if self.draining or len(self.calls) >= self.max_calls:
            self.metrics.refused("draining" if self.draining else "full")
            self.endpoint.reject(event.call, 503, "Service Unavailable")
            return
        try:
            leg = self.open_leg()
            self._peers[leg] = event.source
            self._codecs[leg] = self.trunk_codecs.get(event.trunk or "", self.codecs)
        except TrunklineError as error:
            log.error("no leg for a call", extra={"fields": {"error": str(error)}})
            self.endpoint.reject(event.call, 503, "Service Unavailable")
            return
        try:
            local = self._describe(leg, event.offer, event.source.ip)
        except TrunklineError as error:
            leg.close()
            self.metrics.refused("no common codec")
            self.endpoint.reject(event.call, 488, error.what)
            return
        self._begin(event, flow, number, leg, local)

    def _describe(self, leg: Leg, offer: sdp.SessionDescription | None, peer: str) -> sdp.SessionDescription:
        address, codecs = self.address_towards(peer), self._codecs.get(leg, self.codecs)
        if offer is None:  # late offer: ours goes into the 200, theirs comes with the ACK
            return offer_answer.offer(address, leg.port, codecs)
        answer = offer_answer.answer(offer, address, leg.port, codecs)
        self.attach(leg, offer_answer.agreed(answer, offer, codecs))
        return answer

    def _begin(
        self, event: sip.CallOffered, flow: Flow, number: Number, leg: Leg, local: sdp.SessionDescription
    ) -> None:
        began = now = self.clock.now()
        call = reducer.start(uuid7(), flow, event.caller, event.dialled, number.language, now)
        driver = CallDriver(self, call, event.call, leg)
        self.calls[call.id] = driver
        self._by_sip[event.call] = (driver, False)
        self._idle.clear()
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
            )
        except StoreError as error:  # a full disk costs the record, never the call
            log.error("a call goes on without a record", extra={"fields": {"call": call.id, "error": str(error)}})
        self.metrics.call_started(len(self.calls))
        self.write(call, "arrived", _arrival(event))
        try:
            self.endpoint.answer(event.call, local)
            self.metrics.set_up(self.clock.now().mono - began.mono)
        except TrunklineError:  # cancelled a moment ago
            driver.feed(m.CallerLeft("caller cancelled"))

    def attach(self, leg: Leg, media: offer_answer.Agreed) -> None:
        """Points a leg at what offer and answer settled."""
        leg.attach(
            media.ip,
            media.port,
            media.payload,
            media.dtmf_payload,
            send=media.send,
            receive=media.receive,
            codecs=media.codecs,
            noise_payload=media.noise_payload,
            rtcp_port=media.rtcp_port,
        )
        if media.held:
            self._held.add(leg)
        else:
            self._held.discard(leg)

    def _confirmed(self, event: sip.CallConfirmed) -> None:
        driver, _ = self._by_sip.get(event.call, (None, False))
        if driver:
            if event.media is not None:
                self.attach(driver.leg, event.media)
            driver.confirmed()

    def _over(self, event: sip.CallEnded) -> None:
        driver, is_agent = self._by_sip.pop(event.call, (None, False))
        if driver is None:
            return
        if is_agent:
            driver.agent_left("hung up" if event.by_peer else "phone vanished")
        else:
            driver.feed(m.CallerLeft("caller hung up" if event.by_peer else event.reason))

    def _cancelled(self, event: sip.CallCancelled) -> None:
        driver, _ = self._by_sip.pop(event.call, (None, False))
        if driver:
            driver.feed(m.CallerLeft("caller cancelled"))

    def _progress(self, event: sip.CallProgress) -> None:
        driver, is_agent = self._by_sip.get(event.call, (None, False))
        if driver and is_agent:
            driver.agent_progress()

    def _answered(self, event: sip.CallAnswered) -> None:
        driver, is_agent = self._by_sip.get(event.call, (None, False))
        if driver and is_agent:
            driver.agent_answered(event.media)

    def _failed(self, event: sip.CallFailed) -> None:
        driver, is_agent = self._by_sip.pop(event.call, (None, False))
        if driver and is_agent:
            driver.agent_failed(f"{event.status} {event.reason}")

    def _changed(self, event: sip.OfferChanged) -> None:
        driver, is_agent = self._by_sip.get(event.call, (None, False))
        leg = (driver.agent_leg if is_agent else driver.leg) if driver else None
        if driver is None or leg is None:
            self.endpoint.reject_change(event.call)
            return
        try:
            self.endpoint.accept_change(event.call, self._describe(leg, event.offer, self._peers[leg].ip))
        except TrunklineError:
            self.endpoint.reject_change(event.call)

    def _change_answered(self, event: sip.ChangeAnswered) -> None:
        driver, is_agent = self._by_sip.get(event.call, (None, False))
        leg = (driver.agent_leg if is_agent else driver.leg) if driver else None
        if leg is not None:
            self.attach(leg, event.media)

    def _digit(self, event: sip.InfoDigit) -> None:
        driver, is_agent = self._by_sip.get(event.call, (None, False))
        if driver and not is_agent:
            driver.feed(m.KeyPressed(event.digit))

    def _contact_up(self, event: sip.ContactUp) -> None:
        agent = self._agent_of(event.aor)
        if agent:
            self._phones[agent.id] = event.source
            self.metrics.agent(agent.id, up=True)
            self.route(routing.AgentUp(agent))

    def _contact_down(self, event: sip.ContactDown) -> None:
        agent = self._agent_of(event.aor)
        if agent and not event.left:
            self.metrics.agent(agent.id, up=False)
            self.route(routing.AgentDown(agent.id, event.reason))

    def _agent_of(self, aor: str) -> routing.Agent | None:
        return next((a for a in self.agents.values() if a.aor == aor), None)

    # --- what drivers ask for -------------------------------------------------------------------------------------

    def open_leg(self, near: Leg | None = None) -> Leg:
        """A fresh leg of the engine, on the thread of `near`. Raises MediaError or PortBusy."""
        return self.media.open_leg(self.media_bind, self.media_ports, near=near)

    def agent(self, agent_id: str) -> routing.Agent:
        return self.agents[agent_id]

    def invite(self, driver: CallDriver, agent: routing.Agent, leg: Leg, about: Mapping[str, str]) -> str:
        """Calls the agent's phone; the call's story goes along as headers."""
        self._peers[leg] = self._phones[agent.id]
        offer = offer_answer.offer(self.address_towards(self._peers[leg].ip), leg.port, self.codecs)
        headers = {f"X-Trunkline-{name}": value for name, value in about.items()}
        call = self.endpoint.invite(
            agent.aor,
            offer,
            from_user=driver.call.caller or "anonymous",
            from_display=about.get("Intent", ""),
            headers=headers,
        )
        self._by_sip[call] = (driver, True)
        return call

    def hang_up(self, sip_call: str, reason: str) -> None:
        self._by_sip.pop(sip_call, None)
        self.endpoint.hangup(sip_call, reason)

    def forget(self, sip_call: str) -> None:
        self._by_sip.pop(sip_call, None)

    def silence(self, driver: CallDriver, *, agent: bool) -> None:
        """A phone sends nothing: where it does not answer either, it is gone."""
        leg = driver.agent_leg if agent else driver.leg
        if leg is None or leg not in self._peers:
            return
        gone = driver.agent_vanished if agent else driver.caller_vanished
        wait = AGENT_SILENCE_S if agent else CALLER_SILENCE_S
        self._lifelines.silent((driver.call.id, agent), self._peers[leg], wait, lambda: leg in self._held, gone)

    def silence_over(self, driver: CallDriver, *, agent: bool) -> None:
        self._lifelines.heard((driver.call.id, agent))

    def sign_out(self, agent: routing.Agent, reason: str) -> None:
        """The agent's phone vanished in a call: it is not offered another until it registers again."""
        self.endpoint.drop_contacts(agent.aor, reason)

    def _options_answered(self, event: sip.OptionsAnswered) -> None:
        self._lifelines.answered(event.ping, event.status)

    def recording_path(self, call: m.Call) -> Path:
        return self.recordings / f"{call.id}{self.media.recorder.suffix}"

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
        for agent in (True, False):
            self.silence_over(driver, agent=agent)
        driver.leg.close()
        self.calls.pop(driver.call.id, None)
        self._queued_at.pop(driver.call.id, None)
        self.forget(driver.sip_call)
        self.metrics.call_ended(outcome(driver.call), len(self.calls))
        if not self.calls:
            self._idle.set()
        self.store.finish(driver.call.id, self.clock.now(), reason, outcome=outcome(driver.call))

    async def close(self, grace_s: float = 5.0) -> None:
        """Ends every call in order; new ones are refused from now on."""
        self.draining = True
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


def _arrival(event: sip.CallOffered) -> dict[str, object]:
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


_SIP: Mapping[type, Callable[[Exchange, Any], None]] = {
    sip.CallOffered: Exchange._offered,
    sip.CallConfirmed: Exchange._confirmed,
    sip.CallCancelled: Exchange._cancelled,
    sip.CallProgress: Exchange._progress,
    sip.CallAnswered: Exchange._answered,
    sip.CallFailed: Exchange._failed,
    sip.CallEnded: Exchange._over,
    sip.OfferChanged: Exchange._changed,
    sip.ChangeAnswered: Exchange._change_answered,
    sip.OptionsAnswered: Exchange._options_answered,
    sip.InfoDigit: Exchange._digit,
    sip.ContactUp: Exchange._contact_up,
    sip.ContactDown: Exchange._contact_down,
}
