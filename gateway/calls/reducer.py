"""One call as a pure function: `step(call, event, now) -> (call, commands)`.

The flow interpreter decides what is said and where the caller goes; the reducer owns what surrounds it: the caller's
words and keys (`turns`), the queue, the agent's phone and the message (`handover`), hold and transfer (`transfer`),
timers and the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.calls import commands as do
from gateway.calls import handover, transfer, turns
from gateway.calls import model as m
from gateway.calls.carry import Commands, end, feed_flow
from gateway.core.clock import Moment
from gateway.core.values import replace
from gateway.flow import interpreter, turn
from gateway.flow.model import Flow
from gateway.routing import model as routing

CONFIRM_WAIT_S = 10.0
"""How long an answered call may stay without the caller's ACK before it is given up."""


def start(call_id: str, flow: Flow, caller: str, dialled: str, language: str | None, now: Moment) -> m.Call:
    """A new call, just answered with SDP and waiting for the caller's ACK."""
    chosen = language or flow.languages[0]
    return m.Call(
        id=call_id,
        flow=flow,
        flow_state=interpreter.start(flow),
        caller=caller,
        dialled=dialled,
        language=chosen,
        own_deadline=now.mono + CONFIRM_WAIT_S,
        deadline=now.mono + CONFIRM_WAIT_S,
    )


def step(call: m.Call, event: m.CallEvent, now: Moment) -> tuple[m.Call, Commands]:
    """Moves the call by one event. An event that comes late or twice changes nothing."""
    if call.stage is m.Stage.ENDED:
        return call, []
    handler = _HANDLERS[type(event)]
    call, commands = handler(call, event, now)
    times = [t for t in (call.own_deadline, _flow_deadline(call)) if t is not None]
    deadline = min(times) if times else None
    return call if call.deadline == deadline else replace(call, deadline=deadline), commands


def _flow_deadline(call: m.Call) -> float | None:
    return call.flow_state.deadline if call.stage is m.Stage.FLOW else None


def _tick(call: m.Call, _: m.Tick, now: Moment) -> tuple[m.Call, Commands]:
    if call.own_deadline is not None and now.mono >= call.own_deadline:
        if call.stage is m.Stage.MESSAGE and call.message_from is not None:
            return handover.message_over(call, now)
        if call.stage is m.Stage.WAITING and call.ringing and call.transfer:
            stop = do.StopRinging(call.ringing, "no answer")
            call, commands = transfer.failed(call, "no answer", now)
            return call, [stop, *commands]
        reason = "no ACK" if call.stage is m.Stage.ANSWERING else call.end_reason or "timed out"
        return end(call, reason, now, hang_up=True)
    due = _flow_deadline(call)
    if due is not None and now.mono >= due:
        return feed_flow(call, turn.Tick(), now)
    return call, []


def _shutdown(call: m.Call, _: m.Shutdown, now: Moment) -> tuple[m.Call, Commands]:
    return end(call, "gateway stopped", now, hang_up=True)


_HANDLERS: Mapping[type, Callable[[m.Call, Any, Moment], tuple[m.Call, Commands]]] = {
    m.Confirmed: turns.confirmed,
    m.CallerLeft: turns.caller_left,
    m.SpeechStarted: turns.speech_started,
    m.SpeechEnded: turns.speech_ended,
    m.TurnDropped: turns.turn_dropped,
    m.PartialHeard: turns.partial,
    m.UtteranceHeard: turns.utterance,
    m.Unheard: turns.unheard,
    m.KeyPressed: turns.key,
    m.PromptStarted: turns.prompt_started,
    m.PromptDone: turns.prompt_done,
    turn.ActionDone: turns.action_done,
    routing.AgentOffer: handover.offer,
    routing.WithdrawOffer: handover.withdraw,
    routing.Position: handover.position,
    routing.NobodyThere: handover.nobody,
    m.AgentAnswered: handover.agent_answered,
    m.AgentFailed: handover.agent_failed,
    m.AgentLeft: handover.agent_left,
    m.AgentRings: transfer.rings,
    m.HoldChanged: transfer.hold,
    m.TransferWanted: transfer.wanted,
    m.CallerReferred: transfer.referred,
    m.TakenOver: transfer.taken_over,
    m.Tick: _tick,
    m.Shutdown: _shutdown,
}
