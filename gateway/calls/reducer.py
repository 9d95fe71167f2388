"""One call as a pure function: `step(call, event, now) -> (call, commands)`.

The flow interpreter decides what is said and where the caller goes; this reducer owns what surrounds it: barge-in that
may turn out false, prompts that must end before something else happens, the queue, the agent's phone, the message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.calls import model as m
from gateway.calls.announce import announce
from gateway.calls.units import units
from gateway.core.clock import Moment
from gateway.flow import interpreter, turn
from gateway.flow.model import Flow
from gateway.routing import model as routing

CONFIRM_WAIT_S = 10.0
"""How long an answered call may stay without the caller's ACK before it is given up."""

BARGE_VOICED_MS = 600
"""Voice of this length ends a prompt for good even while no word is recognized yet."""

MESSAGE_MAX_S = 120.0
MESSAGE_QUIET_S = 4.0
AGAIN_PRIORITY = 1000
"""A caller whose agent's phone vanished goes before everybody but emergencies."""

SHORT_WORD_SCORE = 0.5
"""An utterance shorter than the prompt's minimum units counts only where it means something with this score."""

Commands = list[m.CallCommand]


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
    return replace(call, deadline=min(times) if times else None), commands


def _flow_deadline(call: m.Call) -> float | None:
    return call.flow_state.deadline if call.stage is m.Stage.FLOW else None


# --- the flow -----------------------------------------------------------------------------------------------------


def _flow(call: m.Call, event: turn.FlowEvent, now: Moment) -> tuple[m.Call, Commands]:
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


def _say(call: m.Call, say: turn.Say, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(call, token=call.token + 1, speaking=call.token + 1, say=say, muted=False)
    said: dict[str, object] = {"prompt": say.prompt, "text": spoken(say), "sensitive": say.sensitive}
    return call, [m.Speak(say, call.token), m.Write("said", said)]


def _listen(call: m.Call, listen: turn.Listen, now: Moment) -> tuple[m.Call, Commands]:
    return replace(call, listen=listen, language=listen.language), [m.Hear(listen)]


def _stop_listening(call: m.Call, _: turn.StopListening, now: Moment) -> tuple[m.Call, Commands]:
    return replace(call, listen=None), [m.Hear(None)]


def _mask(call: m.Call, _: turn.PauseRecording, now: Moment) -> tuple[m.Call, Commands]:
    return replace(call, sensitive=True), [m.Record("mask"), m.Write("recording", {"state": "paused"})]


def _unmask(call: m.Call, _: turn.ResumeRecording, now: Moment) -> tuple[m.Call, Commands]:
    return replace(call, sensitive=False), [m.Record("unmask"), m.Write("recording", {"state": "resumed"})]


def _note(call: m.Call, note: turn.Note, now: Moment) -> tuple[m.Call, Commands]:
    if note.kind == "entered":
        call = replace(call, path=(*call.path, str(note.data.get("menu", ""))))
    elif note.kind == "language":
        call = replace(call, language=str(note.data.get("language", call.language)))
    return call, [m.Write(note.kind, {"language": call.language, **note.data})]


def _act(call: m.Call, action: turn.RunAction, now: Moment) -> tuple[m.Call, Commands]:
    return call, [m.Act(action), m.Write("action", {"name": action.action})]


def _enqueue(call: m.Call, want: turn.Enqueue, now: Moment) -> tuple[m.Call, Commands]:
    """The search for an agent starts at once, while the caller still hears what was being said."""
    call = replace(
        call,
        stage=m.Stage.WAITING,
        queue=want.queue,
        intent=want.intent,
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
    commands: Commands = [m.Hear(None), m.Write("queued", about), m.Route(queued)]
    if call.speaking:
        return replace(call, then="music"), commands
    return call, [*commands, m.PlayMusic()]


def _take_message(call: m.Call, want: turn.TakeMessage, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(call, stage=m.Stage.MESSAGE, queue=want.queue, listen=None, own_deadline=now.mono + MESSAGE_MAX_S)
    commands: Commands = [m.Hear(None), m.Write("message_wanted", {"queue": want.queue, "reason": want.reason})]
    if call.speaking:
        return replace(call, then="beep"), commands
    call, more = _beep(call, now)
    return call, commands + more


def _hang_up_after(call: m.Call, want: turn.HangUp, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(call, stage=m.Stage.LEAVING, listen=None, end_reason=want.reason, own_deadline=now.mono + 30.0)
    if call.speaking:
        return replace(call, then="hangup"), [m.Hear(None)]
    return _end(call, want.reason, hang_up=True)


_CARRY: Mapping[type, Callable[[m.Call, Any, Moment], tuple[m.Call, Commands]]] = {
    turn.Say: _say,
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


# --- the caller's side --------------------------------------------------------------------------------------------


def _confirmed(call: m.Call, _: m.Confirmed, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.ANSWERING:
        return call, []
    call = replace(call, stage=m.Stage.FLOW, own_deadline=None)
    commands: Commands = [m.Record("start"), m.Write("answered", {"language": call.language})]
    call, more = _flow(call, turn.Started(call.language, call.caller, call.dialled), now)
    return call, commands + more


def _caller_left(call: m.Call, event: m.CallerLeft, now: Moment) -> tuple[m.Call, Commands]:
    return _end(call, event.reason, hang_up=False)


def _speech_started(call: m.Call, event: m.SpeechStarted, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is m.Stage.MESSAGE:
        return replace(call, own_deadline=_message_end(call)), []
    return _flow(replace(call, muted=call.muted or event.muted), turn.SpeechBegan(), now)


def _speech_ended(call: m.Call, _: m.SpeechEnded, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is m.Stage.MESSAGE and call.message_from is not None:
        quiet = now.mono + MESSAGE_QUIET_S
        return replace(call, own_deadline=min(quiet, _message_end(call))), []
    return call, []


def _turn_dropped(call: m.Call, _: m.TurnDropped, now: Moment) -> tuple[m.Call, Commands]:
    """No words after all: a muted prompt goes on, and the flow counts silence again."""
    commands: Commands = [m.Hear(call.listen)] if call.listen else []
    if call.muted:
        commands.append(m.ResumePrompt())
    call, more = _flow(replace(call, muted=False), turn.SpeechDropped(), now)
    return call, commands + more


def _partial(call: m.Call, event: m.PartialHeard, now: Moment) -> tuple[m.Call, Commands]:
    commands: Commands = []
    enough = call.say is not None and units(event.text, call.language) >= call.say.min_units
    if call.muted and (enough or event.voiced_ms >= BARGE_VOICED_MS):
        call, commands = _interrupt(call, "speech", now)
    if event.text:
        call, more = _flow(call, turn.PartialHeard(event.text), now)
        commands += more
    return call, commands


def _interrupt(call: m.Call, by: str, now: Moment) -> tuple[m.Call, Commands]:
    """Ends what is being said for good. By speech, the words are still to come."""
    if not call.speaking:
        return replace(call, muted=False), []
    prompt = call.say.prompt if call.say else ""
    call = replace(call, speaking=0, muted=False)
    commands: Commands = [m.StopPrompt(), m.Write("interrupted", {"prompt": prompt, "by": by})]
    call, more = _flow(call, turn.PromptDone(interrupted=True), now)
    commands += more
    if by == "speech":
        call, more = _flow(call, turn.SpeechBegan(), now)
        commands += more
    return call, commands


def _utterance(call: m.Call, event: m.UtteranceHeard, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.FLOW:
        return call, []
    too_short = (
        call.muted
        and call.say is not None
        and units(event.text, call.language) < call.say.min_units
        and event.ranked.best[1] < SHORT_WORD_SCORE
    )
    if not event.text or too_short:
        return _turn_dropped(call, m.TurnDropped(), now)
    call, commands = _interrupt(call, "speech", now)
    asked = call
    call = replace(call, speech_ended=event.speech_ended or None)
    call, more = _flow(call, turn.Heard(event.text, event.ranked, event.asr_score), now)
    text = "" if asked.sensitive else _as_noted(more, event.text)
    call = replace(call, last_heard=text or call.last_heard)
    return call, [*commands, m.Write("heard", _heard_data(asked, event, text)), *more]


def _as_noted(commands: Commands, text: str) -> str:
    """The words as the flow noted them: it masks a sensitive value that stands in the middle of a sentence."""
    notes = (c for c in commands if isinstance(c, m.Write) and c.kind in ("matched", "no_match"))
    return next((str(note.data["text"]) for note in notes if "text" in note.data), text)


def _heard_data(call: m.Call, event: m.UtteranceHeard, text: str) -> dict[str, object]:
    intent, score = event.ranked.best
    runner_up, runner_up_score = event.ranked.runner_up
    return {
        "text": text,
        "language": call.language,
        "intent": intent,
        "score": round(score, 3),
        "runner_up": runner_up,
        "runner_up_score": round(runner_up_score, 3),
        "asr_score": round(event.asr_score, 3),
        "speech_s": round(event.speech_ended - event.speech_started, 2),
        "endpoint_ms": round((event.endpoint_at - event.speech_ended) * 1000),
        "decode_ms": round((event.decoded_at - event.endpoint_at) * 1000),
        "understand_ms": round((event.understood_at - max(event.decoded_at, event.endpoint_at)) * 1000),
        "redacted": call.sensitive,
    }


def _unheard(call: m.Call, event: m.Unheard, now: Moment) -> tuple[m.Call, Commands]:
    call, commands = _interrupt(call, "speech", now) if call.muted else (call, [])
    commands.append(m.Write("unheard", {"reason": event.reason}))
    call, more = _flow(call, turn.Unheard(event.reason), now)
    return call, commands + more


def _key(call: m.Call, event: m.KeyPressed, now: Moment) -> tuple[m.Call, Commands]:
    # a key typed ahead may belong to a sensitive value nobody asked for yet; the flow notes what each key chose
    commands: Commands = [m.Write("key", {"digit": event.digit, "sensitive": True})]
    if call.stage is m.Stage.MESSAGE and call.message_from is not None and event.digit == "#":
        call, more = _message_over(call, now)
        return call, commands + more
    if call.stage is not m.Stage.FLOW:
        return call, commands
    if call.speaking and call.say and call.say.keys_stop:
        call, more = _interrupt(call, "key", now)
        commands += more
    if call.listen:  # words half said before the key belong to nobody
        commands.append(m.Hear(call.listen))
    call = replace(call, speech_ended=now.mono)
    call, more = _flow(call, turn.Key(event.digit), now)
    return call, commands + more


def _prompt_started(call: m.Call, event: m.PromptStarted, now: Moment) -> tuple[m.Call, Commands]:
    if call.speech_ended is None or event.token > call.token:
        return call, []
    latency = round(max(0.0, event.at - call.speech_ended) * 1000)
    return replace(call, speech_ended=None), [m.Write("replied", {"latency_ms": latency, "language": call.language})]


def _prompt_done(call: m.Call, event: m.PromptDone, now: Moment) -> tuple[m.Call, Commands]:
    if event.token != call.speaking:
        return call, []
    call = replace(call, speaking=0, muted=False)
    after, call = call.then, replace(call, then=None)
    if after is not None:
        return _AFTER[after](call, now)
    return _flow(call, turn.PromptDone(), now)


def _music(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    return call, [m.PlayMusic()]


def _take_message_now(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(call, message_from=now.mono, own_deadline=now.mono + MESSAGE_QUIET_S * 2)
    return call, [m.Record("message_start")]


def _leave(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    return _end(call, call.end_reason, hang_up=True)


def _action_done(call: m.Call, event: turn.ActionDone, now: Moment) -> tuple[m.Call, Commands]:
    return _flow(call, event, now)


# --- queue, agent, message ----------------------------------------------------------------------------------------


def _offer(call: m.Call, event: routing.AgentOffer, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.WAITING:
        return call, [m.Route(routing.CallLeft(call.id))]
    data: dict[str, object] = {
        "agent": event.agent,
        "queue": event.queue,
        "why": event.why,
        "candidates": _looked_at(event.candidates),
    }
    return replace(call, ringing=event.agent), [m.Write("offered", data), m.RingAgent(event, about(call))]


def _looked_at(candidates: Sequence[routing.Candidate]) -> list[dict[str, object]]:
    return [{"agent": c.agent, "score": round(c.score, 2), "rejected": c.rejected} for c in candidates]


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
    }
    return {k: v for k, v in story.items() if v}


def _withdraw(call: m.Call, event: routing.WithdrawOffer, now: Moment) -> tuple[m.Call, Commands]:
    if call.ringing != event.agent:
        return call, []
    data: dict[str, object] = {"agent": event.agent, "why": event.why}
    return replace(call, ringing=None), [m.StopRinging(event.agent, event.why), m.Write("withdrawn", data)]


def _position(call: m.Call, event: routing.Position, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.WAITING or call.speaking or call.queue is None:
        return call, []
    say = announce(call.flow, "position", call.language, call.queue, position=event.position, wait_s=event.wait_s)
    if say is None:
        return call, []
    call, commands = _say(replace(call, then="music"), say, now)
    return call, [
        m.Write("position", {"position": event.position, "wait_s": event.wait_s, "why": event.why}),
        *commands,
    ]


def _nobody(call: m.Call, event: routing.NobodyThere, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.WAITING:
        return call, []
    call = replace(call, stage=m.Stage.MESSAGE, ringing=None, own_deadline=now.mono + MESSAGE_MAX_S)
    commands: Commands = [
        m.Write("nobody", {"queue": event.queue, "why": event.why, "candidates": _looked_at(event.candidates)}),
        m.Route(routing.CallLeft(call.id)),
    ]
    say = announce(call.flow, "nobody", call.language, call.queue or "")
    if say is None:
        call, more = _beep(call, now)
        return call, commands + more
    if call.speaking:
        say = replace(say, queue=True)
    call, more = _say(replace(call, then="beep"), say, now)
    return call, commands + more


def _beep(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    token = call.token + 1
    return replace(call, token=token, speaking=token, say=None, then="message"), [m.PlayBeep(token)]


def _message_end(call: m.Call) -> float:
    return (call.message_from or 0.0) + MESSAGE_MAX_S


def _message_over(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    seconds = round(now.mono - (call.message_from or now.mono), 1)
    commands: Commands = [m.Record("message_end"), m.Write("message", {"queue": call.queue, "seconds": seconds})]
    call = replace(call, stage=m.Stage.LEAVING, message_from=None, own_deadline=now.mono + 30.0)
    call = replace(call, end_reason="message left")
    say = announce(call.flow, "message_taken", call.language, call.queue or "")
    if say is None:
        call, more = _end(call, call.end_reason, hang_up=True)
        return call, commands + more
    call, more = _say(replace(call, then="hangup"), say, now)
    return call, commands + more


def _agent_answered(call: m.Call, event: m.AgentAnswered, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.WAITING or call.ringing != event.agent:
        return call, [m.HangUpAgent(event.agent, "no longer offered")]
    call = replace(call, stage=m.Stage.BRIDGED, agent=event.agent, ringing=None, speaking=0, then=None)
    return call, [
        m.Bridge(event.agent),
        m.Route(routing.OfferAnswered(call.id, event.agent)),
        m.Write("bridged", {"agent": event.agent}),
    ]


def _agent_failed(call: m.Call, event: m.AgentFailed, now: Moment) -> tuple[m.Call, Commands]:
    if call.ringing != event.agent:
        return call, []
    data: dict[str, object] = {"agent": event.agent, "reason": event.reason}
    failed = routing.OfferFailed(call.id, event.agent, event.reason)
    return replace(call, ringing=None), [m.Write("not_answered", data), m.Route(failed)]


def _agent_left(call: m.Call, event: m.AgentLeft, now: Moment) -> tuple[m.Call, Commands]:
    if call.agent != event.agent:
        return call, []
    if event.reason != "hung up" and call.queue:  # the phone vanished: the caller did not ask to leave
        queue = routing_queue(call.flow, call.queue)
        again = routing.CallQueued(call.id, queue, call.language, call.intent, AGAIN_PRIORITY)
        commands: Commands = [
            m.HangUpAgent(event.agent, event.reason),
            m.Write("agent_lost", {"agent": event.agent, "reason": event.reason}),
            m.Route(routing.CallFinished(call.id, event.agent)),
            m.PlayMusic(),
            m.Route(again),
        ]
        return replace(call, agent=None, stage=m.Stage.WAITING), commands
    return _end(call, "agent hung up", hang_up=True)


# --- timers and the end -------------------------------------------------------------------------------------------


def _tick(call: m.Call, _: m.Tick, now: Moment) -> tuple[m.Call, Commands]:
    if call.own_deadline is not None and now.mono >= call.own_deadline:
        if call.stage is m.Stage.MESSAGE and call.message_from is not None:
            return _message_over(call, now)
        reason = "no ACK" if call.stage is m.Stage.ANSWERING else call.end_reason or "timed out"
        return _end(call, reason, hang_up=True)
    due = _flow_deadline(call)
    if due is not None and now.mono >= due:
        return _flow(call, turn.Tick(), now)
    return call, []


def _shutdown(call: m.Call, _: m.Shutdown, now: Moment) -> tuple[m.Call, Commands]:
    return _end(call, "gateway stopped", hang_up=True)


def _end(call: m.Call, reason: str, *, hang_up: bool) -> tuple[m.Call, Commands]:
    commands: Commands = []
    if call.agent:
        commands += [m.HangUpAgent(call.agent, reason), m.Route(routing.CallFinished(call.id, call.agent))]
    elif call.queue and call.stage is m.Stage.WAITING:
        if call.ringing:
            commands.append(m.StopRinging(call.ringing, reason))
        commands.append(m.Route(routing.CallLeft(call.id)))
    if call.message_from is not None:
        commands += [m.Record("message_end"), m.Write("message", {"queue": call.queue, "seconds": None})]
    if hang_up:
        commands.append(m.HangUpCaller(reason))
    commands += [m.Write("ended", {"reason": reason}), m.Finish(reason)]
    return replace(call, stage=m.Stage.ENDED, deadline=None, own_deadline=None, end_reason=reason), commands


def routing_queue(flow: Flow, queue: str) -> str:
    """A flow's queue as routing names it: two flows may both have a queue `general`."""
    return f"{flow.id}.{queue}"


def spoken(say: turn.Say) -> str:
    """What a Say says, for records: values in braces of sensitive prompts are masked by the interpreter already."""
    return "".join(s.text if isinstance(s, turn.Text) else f"{s.value} {s.currency}".rstrip() for s in say.segments)


_AFTER: Mapping[m.Then, Callable[[m.Call, Moment], tuple[m.Call, Commands]]] = {
    "music": _music,
    "beep": _beep,
    "message": _take_message_now,
    "hangup": _leave,
}

_HANDLERS: Mapping[type, Callable[[m.Call, Any, Moment], tuple[m.Call, Commands]]] = {
    m.Confirmed: _confirmed,
    m.CallerLeft: _caller_left,
    m.SpeechStarted: _speech_started,
    m.SpeechEnded: _speech_ended,
    m.TurnDropped: _turn_dropped,
    m.PartialHeard: _partial,
    m.UtteranceHeard: _utterance,
    m.Unheard: _unheard,
    m.KeyPressed: _key,
    m.PromptStarted: _prompt_started,
    m.PromptDone: _prompt_done,
    turn.ActionDone: _action_done,
    routing.AgentOffer: _offer,
    routing.WithdrawOffer: _withdraw,
    routing.Position: _position,
    routing.NobodyThere: _nobody,
    m.AgentAnswered: _agent_answered,
    m.AgentFailed: _agent_failed,
    m.AgentLeft: _agent_left,
    m.Tick: _tick,
    m.Shutdown: _shutdown,
}
