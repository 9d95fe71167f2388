"""The flow interpreter: `step(flow, state, event, now) -> (state, commands)`, pure.

The live call, the simulator, the tests and the replay run this one function. It never raises for an event, whatever the
order, and it never leaves a caller without a prompt that plays, a deadline, a queue, a message or the end of the call.
"""

from __future__ import annotations

from gateway.core.clock import Moment
from gateway.flow.actions import spoken
from gateway.flow.answers import digits_ended, drain, emergency, heard
from gateway.flow.lost import silence, unheard
from gateway.flow.model import Flow
from gateway.flow.moves import DECODE_LIMIT_S, MAX_PENDING, Moves
from gateway.flow.state import ASKING, State
from gateway.flow.turn import (
    ActionDone,
    FlowCommand,
    FlowEvent,
    Heard,
    Key,
    PartialHeard,
    PromptDone,
    SpeechBegan,
    SpeechDropped,
    Started,
    Tick,
    Unheard,
)


def start(flow: Flow) -> State:
    """The state before the call is answered; the first event is Started."""
    return State(language=flow.languages[0])


def step(flow: Flow, state: State, event: FlowEvent, now: Moment) -> tuple[State, list[FlowCommand]]:
    """What an event changes and what is to be done about it."""
    m = Moves(flow, state, now)
    if state.phase == "begin":
        if isinstance(event, Started):
            _started(m, event)
    elif state.phase != "over":
        _dispatch(m, event)
        drain(m)
    return m.finish()


def _dispatch(m: Moves, event: FlowEvent) -> None:
    if isinstance(event, Key):
        m.set(keys=(m.state.keys + event.digit)[-MAX_PENDING:])
    elif isinstance(event, PromptDone):
        _prompt_done(m)
    elif isinstance(event, SpeechBegan | SpeechDropped):
        m.set(hearing=isinstance(event, SpeechBegan))
        if m.state.phase in ASKING and not m.state.speaking:
            _listen_on(m)
    elif isinstance(event, PartialHeard):
        emergency(m, event.text)
    elif isinstance(event, Heard):
        heard(m, event)
    elif isinstance(event, Unheard):
        unheard(m, event)
    elif isinstance(event, ActionDone):
        _action_done(m, event)
    elif isinstance(event, Tick):
        _tick(m)


def _started(m: Moves, event: Started) -> None:
    chosen = event.language or m.flow.numbers.get(event.dialled)
    if chosen in m.flow.languages:
        m.set(language=chosen, offered=True)
    m.note("language", language=m.state.language)
    if event.recorded and "recording" in m.flow.prompts:
        notice = m.say("recording")
        m.set(phase="announce")
        m.statements.append(type(notice)(notice.prompt, notice.segments, notice.language, False, False))
    else:
        m.menu(m.flow.start)


def _prompt_done(m: Moves) -> None:
    if m.state.phase == "announce":
        m.menu(m.flow.start)
    elif m.state.phase in ASKING:
        m.set(speaking=False)
        _listen_on(m)


def _listen_on(m: Moves) -> None:
    """Silence counts from now on, unless the caller is speaking."""
    m.wait(m.flow.defaults.max_s + DECODE_LIMIT_S if m.state.hearing else m.silence_s())


def _tick(m: Moves) -> None:
    if m.state.deadline is None or m.now.mono < m.state.deadline - 1e-6:
        return
    m.set(hearing=False)
    if m.state.speaking or m.state.phase == "announce":
        _prompt_done(m)
    elif m.state.phase == "action":
        _action_done(m, ActionDone(m.state.action or "", error="no answer in time"))
    elif m.state.digits:
        digits_ended(m)
    else:
        silence(m)


def _action_done(m: Moves, event: ActionDone) -> None:
    action = m.flow.actions.get(m.state.action or "")
    if action is None or event.action != action.id or m.state.phase != "action":
        return
    m.note("action", action=action.id, error=event.error)
    if event.error is not None:
        m.state_that("trouble")
        m.go(action.on_error, f"action {action.id} failed: {event.error}")
        return
    if action.say:
        m.state_that(action.say, spoken(action, event.result, m.state.language))
    m.go(action.then, f"action {action.id} is done")
