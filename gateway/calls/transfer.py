"""A conversation that is held, handed on, picked up, or comes back: what the phones of agents ask for."""

from __future__ import annotations

from dataclasses import replace

from gateway.calls import commands as do
from gateway.calls import model as m
from gateway.calls.announce import announce
from gateway.calls.carry import Commands, end, feed_flow, retrieved, routing_queue, say_it
from gateway.calls.destinations import ToAgent, ToNumber, ToOutside, ToQueue
from gateway.core.clock import Moment
from gateway.flow import interpreter, turn
from gateway.flow.model import Flow
from gateway.routing import model as routing

AGAIN_PRIORITY = 1000
"""A caller whose agent's phone vanished, or whose transfer failed, goes before everybody but emergencies."""

OUTSIDE_RING_S = 60.0
"""How long a number outside rings."""

# --- hold ---------------------------------------------------------------------------------------------------------


def hold(call: m.Call, event: m.HoldChanged, now: Moment) -> tuple[m.Call, Commands]:
    """Whoever is held by the agent hears music; a caller who holds is left to their own phone."""
    if event.on == (event.by in call.held) or (event.by == "agent" and call.agent is None):
        return call, []
    if event.on:
        call = replace(call, held={**call.held, event.by: now.mono})
        told: Commands = [do.Write("held", {"by": event.by})]
        return call, told + ([do.Part(), do.PlayMusic()] if event.by == "agent" else [])
    call, told = retrieved(call, event.by, now)
    if event.by == "agent" and call.stage is m.Stage.BRIDGED and call.agent:
        told.append(do.Bridge(call.agent))
    return call, told


# --- transfer -----------------------------------------------------------------------------------------------------


def wanted(call: m.Call, event: m.TransferWanted, now: Moment) -> tuple[m.Call, Commands]:
    """The agent hands the caller on, or a waiting caller is given to an agent."""
    waits = call.stage is m.Stage.WAITING and call.transfer is None and not event.by and isinstance(event.to, ToAgent)
    if not waits and (call.stage is not m.Stage.BRIDGED or call.agent != event.by):
        return call, _told(event.ask, 603, "the caller is gone")
    if event.to == ToAgent(event.by):
        return call, _told(event.ask, 486, "that is the same phone")
    call, commands = retrieved(call, "agent", now)
    commands.append(do.Write("transfer", {"by": event.by, "to": str(event.to)}))
    commands += _told(event.ask, 100)
    match event.to:
        case ToAgent(agent):
            call, more = _to_agent(call, event, agent)
        case ToOutside():
            call, more = _outside(call, event, event.to, now)
        case ToQueue():
            call, more = _to_queue(call, event, event.to, now)
        case ToNumber():
            call, more = _to_number(call, event, event.to, now)
    return call, commands + more


def _told(ask: str, status: int, reason: str = "") -> Commands:
    return [do.TellTransfer(ask, status, reason)] if ask else []


def put_through(call: m.Call, only: str | None, priority: int = AGAIN_PRIORITY, out_of: str = "") -> do.Route:
    """The caller waits again: for one agent, or (None) for the queue they came from."""
    queue = routing_queue(call.flow, call.queue or call.flow.human_queue)
    return do.Route(
        routing.CallQueued(call.id, queue, call.language, call.intent, priority, call.emergency, only, out_of)
    )


def _to_agent(call: m.Call, event: m.TransferWanted, agent: str) -> tuple[m.Call, Commands]:
    under_way = m.Transfer(event.by, event.to, event.ask, there=bool(event.by))
    if not event.by:
        return replace(call, transfer=under_way), [put_through(call, agent)]
    call = replace(call, stage=m.Stage.WAITING, agent=None, transfer=under_way, then=None)
    return call, [do.StepAside(), do.PlayMusic(), put_through(call, agent, out_of=event.out_of)]


def _outside(call: m.Call, event: m.TransferWanted, to: ToOutside, now: Moment) -> tuple[m.Call, Commands]:
    """The caller's own side is asked to go there itself, where it takes that; else we call the number and stay."""
    under_way = m.Transfer(event.by, to, event.ask)
    call = replace(call, stage=m.Stage.WAITING, agent=None, transfer=under_way, then=None)
    commands: Commands = [do.StepAside(), do.PlayMusic(), do.Route(routing.CallFinished(call.id, event.by))]
    if to.refer:
        return call, [*commands, do.ReferCaller(to.refer)]
    call, more = _call_outside(call, under_way, now)
    return call, commands + more


def _call_outside(call: m.Call, under_way: m.Transfer, now: Moment) -> tuple[m.Call, Commands]:
    number = str(under_way.to)
    call = replace(call, ringing=number, own_deadline=now.mono + OUTSIDE_RING_S)
    return call, [do.CallOutside(number, under_way.by, about(call))]


def referred(call: m.Call, event: m.CallerReferred, now: Moment) -> tuple[m.Call, Commands]:
    """The caller's own side tells how it goes. Where it would not or could not, we call the number."""
    under_way = call.transfer
    if under_way is None or call.ringing or not isinstance(under_way.to, ToOutside) or not under_way.to.refer:
        return call, []
    if under_way.back:
        return call, []
    if not event.final:
        return call, _told(under_way.ask, 180) if event.status in (180, 183) else []
    if not 200 <= event.status < 300:
        note = do.Write("refer_refused", {"to": str(under_way.to), "status": event.status})
        call, commands = _call_outside(call, under_way, now)
        return call, [note, *commands]
    done = do.Write("transferred", {"by": under_way.by, "to": str(under_way.to), "refer": True})
    commands = [*_told(under_way.ask, 200), do.LetGo("transferred"), done]
    call, more = end(replace(call, transfer=None, agent=under_way.by), "transferred", now, hang_up=True)
    return call, commands + more


def _to_queue(call: m.Call, event: m.TransferWanted, to: ToQueue, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(_move(call, to.flow), stage=m.Stage.WAITING, agent=None, queue=to.queue)
    commands: Commands = [
        *_handed(event),
        do.Write(
            "queued", {"queue": to.queue, "intent": call.intent, "reason": "transferred", "emergency": call.emergency}
        ),
        put_through(call, None, 0),
    ]
    return _hold_on(call, commands, now)


def _to_number(call: m.Call, event: m.TransferWanted, to: ToNumber, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(
        _move(call, to.flow),
        stage=m.Stage.FLOW,
        agent=None,
        queue=None,
        dialled=to.number,
        language=to.language or call.language,
        flow_state=interpreter.start(to.flow),
    )
    commands: Commands = [*_handed(event), do.Route(routing.CallFinished(call.id, event.by))]
    # the notice that the call is recorded was heard at its beginning
    call, more = feed_flow(call, turn.Started(call.language, call.caller, call.dialled, recorded=False), now)
    return call, commands + more


def about(call: m.Call) -> dict[str, str]:
    """The story an agent sees before answering. Sensitive slots are not in it."""
    hidden = {slot.id for slot in call.flow.slots.values() if slot.sensitive}
    shown = {k: v for k, v in call.slots.items() if k not in hidden}
    story = {
        "Call": call.id,
        "Queue": call.queue or "",
        "Intent": call.intent or "",
        "Language": call.language,
        "Path": " > ".join(call.path),
        "Heard": call.last_heard,
        "Slots": ", ".join(f"{k}={v}" for k, v in shown.items()),
        "Transferred-By": call.transfer.by if call.transfer and not call.transfer.back else "",
    }
    return {k: v for k, v in story.items() if v}


def _move(call: m.Call, flow: Flow) -> m.Call:
    language = call.language if call.language in flow.languages else flow.languages[0]
    return replace(call, flow=flow, language=language, then=None, path=(*call.path, flow.id))


def _handed(event: m.TransferWanted) -> Commands:
    """The agent is rid of the caller."""
    done = do.Write("transferred", {"by": event.by, "to": str(event.to)})
    return [*_told(event.ask, 200), do.HangUpAgent(event.by, "transferred"), done]


def _hold_on(call: m.Call, commands: Commands, now: Moment) -> tuple[m.Call, Commands]:
    """The caller is asked for patience, where the queue has words for it, and hears music."""
    say = announce(call.flow, "hold", call.language, call.queue or "")
    if say is None:
        return call, [*commands, do.PlayMusic()]
    call, more = say_it(replace(call, then="music"), say, now)
    return call, commands + more


def rings(call: m.Call, event: m.AgentRings, now: Moment) -> tuple[m.Call, Commands]:
    if call.transfer is None or call.ringing != event.agent or call.transfer.back:
        return call, []
    return call, _told(call.transfer.ask, 180)


def arrived(call: m.Call, agent: str) -> tuple[m.Call, Commands]:
    """The phone that the caller was put through to was answered."""
    under_way = call.transfer
    if under_way is None:
        return call, []
    call = replace(call, transfer=None, own_deadline=None)
    if under_way.back:
        return call, []
    done = do.Write("transferred", {"by": under_way.by, "to": agent})
    return call, [*_told(under_way.ask, 200), do.LetGo("transferred"), done]


def is_outside(call: m.Call) -> bool:
    """Whether the phone that rings is none of our agents', so that routing knows nothing of it."""
    return call.transfer is not None and not call.transfer.back and isinstance(call.transfer.to, ToOutside)


def failed(call: m.Call, why: str, now: Moment) -> tuple[m.Call, Commands]:
    """The caller goes back: to the agent, whose phone may still be there or is rung, else to the queue."""
    under_way = call.transfer
    if under_way is None:
        return call, []
    call = replace(call, ringing=None, own_deadline=None, queue=call.queue or call.flow.human_queue)
    if under_way.back:
        return to_queue_again(replace(call, transfer=None), [], now)
    told: Commands = [do.Write("transfer_failed", {"by": under_way.by, "to": str(under_way.to), "why": why})]
    told += _told(under_way.ask, 480, why)
    if not under_way.by:
        return to_queue_again(replace(call, transfer=None), told, now)
    if not under_way.there:
        call = replace(call, transfer=replace(under_way, back=True, ask=""))
        return call, [*told, put_through(call, under_way.by)]
    call = replace(call, transfer=None, stage=m.Stage.BRIDGED, agent=under_way.by, speaking=0, then=None)
    return call, [*told, do.StepBack(), *_talk(call, under_way.by)]


def _talk(call: m.Call, agent: str, out_of: str = "") -> Commands:
    queue = routing_queue(call.flow, call.queue) if call.queue else None
    engaged = do.Route(routing.Engaged(call.id, agent, queue, out_of))
    return [do.Bridge(agent), do.Write("bridged", {"agent": agent}), engaged]


def to_queue_again(call: m.Call, commands: Commands, now: Moment) -> tuple[m.Call, Commands]:
    """Back to the queue the caller came from, before the others in it."""
    call, told = retrieved(replace(call, stage=m.Stage.WAITING, agent=None), "agent", now)
    return _hold_on(call, [*commands, *told, put_through(call, None)], now)


# --- somebody else takes over -------------------------------------------------------------------------------------


def taken_over(call: m.Call, event: m.TakenOver, now: Moment) -> tuple[m.Call, Commands]:
    """A waiting caller is picked up, or a colleague who was asked first takes the caller."""
    commands: Commands = []
    if event.by is None and call.stage is m.Stage.WAITING:
        if call.ringing:
            commands.append(do.StopRinging(call.ringing, f"{event.agent} picked the caller up"))
        if call.transfer:
            commands += [*_told(call.transfer.ask, 200), do.LetGo("transferred")]
        commands.append(do.Write("picked_up", {"agent": event.agent, "queue": call.queue}))
    elif event.by is not None and call.stage is m.Stage.BRIDGED and call.agent == event.by:
        call, commands = retrieved(call, "agent", now)
        commands.append(do.Write("transferred", {"by": event.by, "to": event.agent, "attended": True}))
        commands += _told(event.ask, 200)
    else:
        return call, [*_told(event.ask, 603, "the caller is gone"), do.TurnAway("the caller is gone")]
    call = replace(call, stage=m.Stage.BRIDGED, agent=event.agent, ringing=None, transfer=None)
    call = replace(call, speaking=0, then=None, own_deadline=None)
    return call, [*commands, do.TakeOver("transferred"), *_talk(call, event.agent, event.out_of)]
