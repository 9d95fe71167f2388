"""From the queue to an agent, or to a message: what routing decides and what the agent's phone does."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.calls import commands as do
from gateway.calls import model as m
from gateway.calls.announce import announce
from gateway.calls.carry import MESSAGE_MAX_S, Commands, beep, end, say_it
from gateway.calls.transfer import about, arrived, failed, is_outside, to_queue_again
from gateway.core.clock import Moment
from gateway.core.values import replace
from gateway.routing import model as routing

WAIT_TOLD_S = 60.0
"""A shorter wait is not worth telling: rounded up it would be "about 1 minutes"."""


def offer(call: m.Call, event: routing.AgentOffer, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.WAITING:
        return call, [do.Route(routing.CallLeft(call.id))]
    data: dict[str, object] = {
        "agent": event.agent,
        "queue": event.queue,
        "why": event.why,
        "candidates": _looked_at(event.candidates),
    }
    return replace(call, ringing=event.agent), [do.Write("offered", data), do.RingAgent(event, about(call))]


def _looked_at(candidates: Sequence[routing.Candidate]) -> list[dict[str, object]]:
    return [{"agent": c.agent, "score": round(c.score, 2), "rejected": c.rejected} for c in candidates]


def withdraw(call: m.Call, event: routing.WithdrawOffer, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is m.Stage.BRIDGED and call.agent == event.agent:  # talks with somebody else by now
        let_go: Commands = [do.HangUpAgent(event.agent, event.why)]
        return to_queue_again(call, [*let_go, do.Write("withdrawn", {"agent": event.agent, "why": event.why})], now)
    if call.ringing != event.agent:
        return call, []
    data: dict[str, object] = {"agent": event.agent, "why": event.why}
    return replace(call, ringing=None), [do.StopRinging(event.agent, event.why), do.Write("withdrawn", data)]


def position(call: m.Call, event: routing.Position, now: Moment) -> tuple[m.Call, Commands]:
    queue = call.queue
    if call.stage is not m.Stage.WAITING or call.speaking or queue is None:
        return call, []
    place = announce(call.flow, "position", call.language, queue, position=event.position)
    wait = (
        announce(call.flow, "wait", call.language, queue, wait_s=event.wait_s)
        if (event.wait_s or 0) > WAIT_TOLD_S
        else None
    )
    told: dict[str, object] = {"position": event.position, "wait_s": event.wait_s, "why": event.why}
    commands: Commands = [do.Write("position", told)]
    for say in (place, wait):
        if say is not None:
            call, more = say_it(replace(call, then="music"), replace(say, queue=say is wait), now)
            commands += more
    return call, commands


def nobody(call: m.Call, event: routing.NobodyThere, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.WAITING:
        return call, []
    if call.transfer:
        return failed(call, event.why, now)
    call = replace(call, stage=m.Stage.MESSAGE, ringing=None, own_deadline=now.mono + MESSAGE_MAX_S)
    commands: Commands = [
        do.Write("nobody", {"queue": event.queue, "why": event.why, "candidates": _looked_at(event.candidates)}),
        do.Route(routing.CallLeft(call.id)),
    ]
    say = announce(call.flow, "nobody", call.language, call.queue or "")
    if say is None:
        call, more = beep(call, now)
        return call, commands + more
    if call.speaking:
        say = replace(say, queue=True)
    call, more = say_it(replace(call, then="beep"), say, now)
    return call, commands + more


def message_over(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    seconds = round(now.mono - (call.message_from or now.mono), 1)
    commands: Commands = [do.Record("message_end"), do.Write("message", {"queue": call.queue, "seconds": seconds})]
    call = replace(call, stage=m.Stage.LEAVING, message_from=None, own_deadline=now.mono + 30.0)
    call = replace(call, end_reason="message left")
    say = announce(call.flow, "message_taken", call.language, call.queue or "")
    if say is None:
        call, more = end(call, call.end_reason, now, hang_up=True)
        return call, commands + more
    call, more = say_it(replace(call, then="hangup"), say, now)
    return call, commands + more


def agent_answered(call: m.Call, event: m.AgentAnswered, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.WAITING or call.ringing != event.agent:
        return call, [do.HangUpAgent(event.agent, "no longer offered")]
    routed: Commands = [] if is_outside(call) else [do.Route(routing.OfferAnswered(call.id, event.agent))]
    call, told = arrived(call, event.agent)
    call = replace(call, stage=m.Stage.BRIDGED, agent=event.agent, ringing=None, speaking=0, then=None)
    return call, [*told, do.Bridge(event.agent), *routed, do.Write("bridged", {"agent": event.agent})]


def agent_failed(call: m.Call, event: m.AgentFailed, now: Moment) -> tuple[m.Call, Commands]:
    if call.ringing != event.agent:
        return call, []
    data: dict[str, object] = {"agent": event.agent, "reason": event.reason}
    commands: Commands = [do.Write("not_answered", data)]
    if is_outside(call):
        call, more = failed(call, event.reason, now)
        return call, commands + more
    commands.append(do.Route(routing.OfferFailed(call.id, event.agent, event.reason)))
    return replace(call, ringing=None), commands


def agent_left(call: m.Call, event: m.AgentLeft, now: Moment) -> tuple[m.Call, Commands]:
    if call.agent != event.agent:
        if call.transfer and call.transfer.by == event.agent:
            call = replace(call, transfer=replace(call.transfer, there=False))
        return call, []
    told: Commands = [do.Write("agent_left", {"agent": event.agent, "told": event.told})] if event.told else []
    if event.reason != "hung up" and call.queue:  # the phone vanished: the caller did not ask to leave
        commands: Commands = [
            *told,
            do.HangUpAgent(event.agent, event.reason),
            do.Write("agent_lost", {"agent": event.agent, "reason": event.reason}),
            do.Route(routing.CallFinished(call.id, event.agent)),
        ]
        return to_queue_again(call, commands, now)
    call, over = end(call, "agent hung up", now, hang_up=True)
    return call, told + over
