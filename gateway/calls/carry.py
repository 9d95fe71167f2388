"""What the flow commands, carried over to the call; and the few moves every part of the reducer makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.calls import commands as do
from gateway.calls import model as m
from gateway.core.clock import Moment
from gateway.core.values import replace
from gateway.flow import interpreter, turn
from gateway.flow.model import Flow
from gateway.routing import model as routing

MESSAGE_MAX_S = 120.0

Commands = list[do.CallCommand]


def feed_flow(call: m.Call, event: turn.FlowEvent, now: Moment) -> tuple[m.Call, Commands]:
    """Feeds the interpreter and carries its commands over."""
    if call.stage is not m.Stage.FLOW:
        return call, []
    state, flow_commands = interpreter.step(call.flow, call.flow_state, event, now)
    call = replace(call, flow_state=state)
    commands: Commands = []
    for command in flow_commands:
        call, more = _CARRY[type(command)](call, command, now)
        commands += more
    return call, commands


def say_it(call: m.Call, say: turn.Say, now: Moment) -> tuple[m.Call, Commands]:
    behind = say.queue and call.speaking
    lined_up = (*call.lined_up, (call.token + 1, say)) if behind else ()
    now_heard = call.say if behind else say
    call = replace(call, token=call.token + 1, speaking=call.token + 1, say=now_heard, lined_up=lined_up, muted=False)
    said: dict[str, object] = {"prompt": say.prompt, "text": spoken(say), "sensitive": say.sensitive}
    return call, [do.Speak(say, call.token), do.Write("said", said)]


def _listen(call: m.Call, listen: turn.Listen, now: Moment) -> tuple[m.Call, Commands]:
    return replace(call, listen=listen, language=listen.language), [do.Hear(listen)]


def _stop_listening(call: m.Call, _: turn.StopListening, now: Moment) -> tuple[m.Call, Commands]:
    return replace(call, listen=None), [do.Hear(None)]


def _mask(call: m.Call, _: turn.PauseRecording, now: Moment) -> tuple[m.Call, Commands]:
    return replace(call, sensitive=True), [do.Record("mask"), do.Write("recording", {"state": "paused"})]


def _unmask(call: m.Call, _: turn.ResumeRecording, now: Moment) -> tuple[m.Call, Commands]:
    return replace(call, sensitive=False), [do.Record("unmask"), do.Write("recording", {"state": "resumed"})]


def _note(call: m.Call, note: turn.Note, now: Moment) -> tuple[m.Call, Commands]:
    if note.kind == "entered":
        call = replace(call, path=(*call.path, str(note.data.get("menu", ""))))
    elif note.kind == "language":
        call = replace(call, language=str(note.data.get("language", call.language)))
    spoken_in = {"language": call.language} if note.kind in ("matched", "no_match") else {}
    return call, [do.Write(note.kind, {**spoken_in, **note.data})]


def _act(call: m.Call, action: turn.RunAction, now: Moment) -> tuple[m.Call, Commands]:
    return call, [do.Act(action), do.Write("action", {"name": action.action})]


def _enqueue(call: m.Call, want: turn.Enqueue, now: Moment) -> tuple[m.Call, Commands]:
    """The search for an agent starts at once, while the caller still hears what was being said."""
    call = replace(
        call,
        stage=m.Stage.WAITING,
        queue=want.queue,
        intent=want.intent,
        emergency=want.emergency,
        slots=dict(want.slots),
        listen=None,
        own_deadline=None,
    )
    queued = routing.CallQueued(
        call.id,
        routing_queue(call.flow, want.queue),
        call.language,
        want.intent,
        emergency=want.emergency,
    )
    about: dict[str, object] = {
        "queue": want.queue,
        "intent": want.intent,
        "reason": want.reason,
        "emergency": want.emergency,
    }
    commands: Commands = [do.Hear(None), do.Write("queued", about), do.Route(queued)]
    if call.speaking:
        return replace(call, then="music"), commands
    return call, [*commands, do.PlayMusic()]


def _take_message(call: m.Call, want: turn.TakeMessage, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(call, stage=m.Stage.MESSAGE, queue=want.queue, listen=None, own_deadline=now.mono + MESSAGE_MAX_S)
    commands: Commands = [do.Hear(None), do.Write("message_wanted", {"queue": want.queue, "reason": want.reason})]
    if call.speaking:
        return replace(call, then="beep"), commands
    call, more = beep(call, now)
    return call, commands + more


def _hang_up_after(call: m.Call, want: turn.HangUp, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(call, stage=m.Stage.LEAVING, listen=None, end_reason=want.reason, own_deadline=now.mono + 30.0)
    if call.speaking:
        return replace(call, then="hangup"), [do.Hear(None)]
    return end(call, want.reason, now, hang_up=True)


_CARRY: Mapping[type, Callable[[m.Call, Any, Moment], tuple[m.Call, Commands]]] = {
    turn.Say: say_it,
    turn.Listen: _listen,
    turn.StopListening: _stop_listening,
    turn.RunAction: _act,
    turn.Enqueue: _enqueue,
    turn.TakeMessage: _take_message,
    turn.HangUp: _hang_up_after,
    turn.PauseRecording: _mask,
    turn.ResumeRecording: _unmask,
    turn.Note: _note,
}


def beep(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    token = call.token + 1
    return replace(call, token=token, speaking=token, say=None, then="message"), [do.PlayBeep(token)]


def message_end(call: m.Call) -> float:
    return (call.message_from or 0.0) + MESSAGE_MAX_S


def retrieved(call: m.Call, by: str, now: Moment) -> tuple[m.Call, Commands]:
    """A hold that ends, however it does, is written down."""
    since = call.held.get(by)
    if since is None:
        return call, []
    call = replace(call, held={who: at for who, at in call.held.items() if who != by})
    return call, [do.Write("retrieved", {"by": by, "seconds": round(now.mono - since, 1)})]


def end(call: m.Call, reason: str, now: Moment, *, hang_up: bool) -> tuple[m.Call, Commands]:
    commands: Commands = []
    for by in tuple(call.held):
        call, told = retrieved(call, by, now)
        commands += told
    if call.transfer and call.transfer.ask:
        commands.append(do.TellTransfer(call.transfer.ask, 487, reason))
    if call.agent:
        commands += [do.HangUpAgent(call.agent, reason), do.Route(routing.CallFinished(call.id, call.agent))]
    elif call.queue and call.stage is m.Stage.WAITING:
        if call.ringing:
            commands.append(do.StopRinging(call.ringing, reason))
        commands.append(do.Route(routing.CallLeft(call.id)))
    if call.message_from is not None:
        commands += [do.Record("message_end"), do.Write("message", {"queue": call.queue, "seconds": None})]
    if hang_up:
        commands.append(do.HangUpCaller(reason))
    commands += [do.Measure(), do.Write("ended", {"reason": reason}), do.Finish(reason)]
    return replace(call, stage=m.Stage.ENDED, deadline=None, own_deadline=None, end_reason=reason), commands


def routing_queue(flow: Flow, queue: str) -> str:
    """A flow's queue as routing names it: two flows may both have a queue `general`."""
    return f"{flow.id}.{queue}"


def spoken(say: turn.Say) -> str:
    """What a Say says, for records: values in braces of sensitive prompts are masked by the interpreter already."""
    return "".join(s.text if isinstance(s, turn.Text) else f"{s.value} {s.currency}".rstrip() for s in say.segments)
