"""The flow interpreter: `step(flow, state, event, now) -> (state, commands)`, pure.

The live call, the simulator, the tests and the replay run this one function. It never raises for an event, whatever the
order, and it never leaves a caller without a prompt that plays, a deadline, a queue, a message or the end of the call.
"""

from __future__ import annotations

from gateway.core.clock import Moment
from gateway.core.ports import Ranked
from gateway.flow.actions import spoken
from gateway.flow.bands import Band, band
from gateway.flow.emergency import emergency_in
from gateway.flow.flatten import keys_of, sayable_only
from gateway.flow.model import Flow, Rung
from gateway.flow.moves import DECODE_LIMIT_S, MASK, MAX_PENDING, Moves
from gateway.flow.slots import continued, from_keys, parse, passing, yes_no
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
    Value,
)
from gateway.flow.words import wish


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
        _drain(m)
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
        _emergency(m, event.text)
    elif isinstance(event, Heard):
        _heard(m, event)
    elif isinstance(event, Unheard):
        _unheard(m, event)
    elif isinstance(event, ActionDone):
        _action_done(m, event)
    elif isinstance(event, Tick):
        _tick(m)


def _started(m: Moves, event: Started) -> None:
    chosen = event.language or m.flow.numbers.get(event.dialled)
    if chosen in m.flow.languages:
        m.set(language=chosen, offered=True)
    m.note("language", language=m.state.language)
    if "recording" in m.flow.prompts:
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
        _digits_ended(m)
    else:
        _silence(m)


# --- keys -----------------------------------------------------------------------------------------------------------


def _drain(m: Moves) -> None:
    """Take keys in the order they were typed, as long as something is being asked."""
    while m.state.keys and m.state.phase in ASKING:
        key, rest = m.state.keys[0], m.state.keys[1:]
        m.set(keys=rest)
        _key(m, key)


def _key(m: Moves, key: str) -> None:
    phase = m.state.phase
    if phase == "slot" and m.slot().kind != "yesno":
        _slot_key(m, key)
    elif phase in ("confirm", "readback", "slot", "more") and key in "12":
        m.note("matched", key=key)
        _answer(m, key == "1", "keys")
    elif phase == "menu" or key in m.flow.defaults.keys:
        target = (keys_of(m.flow, m.state.menu) if phase == "menu" else m.flow.defaults.keys).get(key)
        if target is not None:
            m.note("matched", key=key, target=str(target))
            m.go(target, f"key {key}")
        elif key != "#":
            m.set(keys="")
            _no_match(m, key=key)
    elif key != "#":
        m.set(keys="")
        _no_match(m, key=key)


def _slot_key(m: Moves, key: str) -> None:
    slot = m.slot()
    if key == "*" and slot.kind != "amount":
        if m.state.digits:
            m.set(digits="")
            m.wait(m.silence_s())
        else:
            m.back()
    elif key == "#":
        if m.state.digits:
            _digits_ended(m)
    elif key.isdigit() or key == "*":
        m.questions = []
        m.set(digits=m.state.digits + key, silent=0)
        m.wait(m.flow.defaults.key_gap_s)
        m.set(speaking=False)
        full = slot.length if slot.kind == "digits" else 0
        if (full and len(m.state.digits) >= full) or len(m.state.digits) >= MAX_PENDING:
            _digits_ended(m)


def _digits_ended(m: Moves) -> None:
    slot, digits = m.slot(), m.state.digits
    value = from_keys(slot.kind, digits, m.now, slot.length, slot.currency)
    if value is None:
        m.note("no_match", slot=slot.id, keys=MASK if slot.sensitive else digits)
        m.failed_slot("not understood")
    else:
        m.take_value(value, by="keys")


# --- words ----------------------------------------------------------------------------------------------------------


def _emergency(m: Moves, text: str) -> bool:
    found = emergency_in(m.flow, text)
    if found is None:
        return False
    intent, phrase = found
    m.clear(
        intent=intent.id, slots=m.state.slots if m.state.intent == intent.id else (), path=(*m.state.path, intent.id)
    )
    m.note("emergency", intent=intent.id, phrase=phrase)
    m.enqueue(m.flow.queue_of(intent.goto) or m.flow.human_queue, f"emergency phrase: {phrase}", emergency=True)
    return True


def _heard(m: Moves, event: Heard) -> None:
    if _emergency(m, event.text) or m.state.phase not in ASKING:
        return
    m.set(speaking=False, hearing=False)
    wanted = wish(event.text)
    if wanted == "human":
        m.note("matched", text=_shown(m, event.text), wish=wanted)
        m.clear(intent=m.state.intent, slots=m.state.slots)
        m.go(m.flow.defaults.human, "the caller asked for a person")
    elif wanted is not None:
        m.note("matched", text=_shown(m, event.text), wish=wanted)
        m.repeat() if wanted == "repeat" else m.back()
    else:
        {"menu": _heard_menu, "more": _heard_more, "slot": _heard_slot}.get(m.state.phase, _heard_yes_no)(m, event)


def _shown(m: Moves, text: str) -> str:
    """The words as the record may hold them."""
    return MASK if m.secret else text


def _band(m: Moves, ranked: Ranked) -> tuple[Ranked, Band]:
    allowed = sayable_only(m.flow, m.state.menu or m.flow.start, ranked)
    d = m.flow.defaults
    return allowed, band(allowed, d.accept, d.confirm, d.margin)


def _found(m: Moves, intent: str, text: str) -> tuple[tuple[str, Value], ...]:
    """Slot values standing in the sentence that named the intent."""
    pairs = []
    for name in m.flow.intents[intent].slots:
        slot = m.flow.slots[name]
        value = passing(slot.kind, text, m.state.language, m.now, slot.length, slot.currency)
        if value is not None:
            pairs.append((name, value))
    return tuple(pairs)


def _heard_menu(m: Moves, event: Heard) -> None:
    ranked, in_band = _band(m, event.ranked)
    best, score = ranked.best
    second, second_score = ranked.runner_up
    if in_band == "reject" or best not in m.flow.intents or not event.text.strip():
        _no_match(m, text=_shown(m, event.text), intent=best, score=round(score, 3))
        return
    found = _found(m, best, event.text)
    secret = any(m.flow.slots[name].sensitive for name, _ in found)
    m.note(
        "matched",
        text=MASK if secret else _shown(m, event.text),
        intent=best,
        score=round(score, 3),
        band=in_band,
        runner_up=second,
        runner_up_score=round(second_score, 3),
    )
    if in_band == "accept":
        m.intent(best, f"said: intent {best} at {score:.2f}", event.text, found)
    else:
        m.confirm(best, found)


def _heard_more(m: Moves, event: Heard) -> None:
    answer = yes_no(event.text)
    _, in_band = _band(m, event.ranked)
    if answer is not None and not (in_band == "accept" and len(event.text.split()) > 3):
        m.note("matched", text=event.text, answer="yes" if answer else "no")
        _answer(m, answer, "speech")
    else:
        m.set(phase="menu", menu=m.flow.start)
        _heard_menu(m, event)


def _heard_slot(m: Moves, event: Heard) -> None:
    slot = m.slot()
    whole = continued(m.state.digits, event.text, slot.length) if slot.kind == "digits" else None
    value = whole or parse(slot.kind, event.text, m.state.language, m.now, slot.length, slot.currency)
    if value is not None and slot.kind == "digits" and slot.length and len(value.value) < slot.length:
        m.set(digits=value.value, silent=0)
        m.hear("digits")
        m.wait(m.flow.defaults.key_gap_s)
    elif value is not None:
        m.take_value(value, by="speech")
    elif not _another(m, event):
        m.note("no_match", slot=slot.id, text=_shown(m, event.text))
        m.failed_slot("not understood")


def _another(m: Moves, event: Heard) -> bool:
    """Instead of answering, the caller clearly named another intent."""
    ranked, in_band = _band(m, event.ranked)
    if in_band != "accept" or ranked.best[0] == m.state.intent or ranked.best[0] not in m.flow.intents:
        return False
    m.set(phase="menu")
    _heard_menu(m, event)
    return True


def _heard_yes_no(m: Moves, event: Heard) -> None:
    """An answer to a confirming question or to a value read back; "no, ..." may hold what was meant."""
    answer = yes_no(event.text)
    if m.state.phase == "readback" and answer is not True:
        slot = m.slot()
        value = (
            parse(slot.kind, event.text, m.state.language, m.now, slot.length, slot.currency)
            if slot.kind != "yesno"
            else None
        )
        if value is not None and (not slot.length or len(value.value) == slot.length):
            m.note("rejected", slot=slot.id, corrected=True)
            m.take_value(value, by="speech")
            return
    if answer is not True and _another(m, event):
        return
    if answer is None:
        m.note("no_match", text=_shown(m, event.text))
        _not_answered(m)
    else:
        _answer(m, answer, "speech")


def _answer(m: Moves, yes: bool, by: str) -> None:
    """A yes or a no to the present question."""
    phase, intent = m.state.phase, m.state.intent
    if phase == "slot":
        m.take_value(Value("text", "yes" if yes else "no"), by)
    elif phase == "readback" and yes:
        m.note("confirmed", slot=m.slot().id, by=by)
        m.fill(by)
    elif phase == "readback":
        m.note("rejected", slot=m.slot().id, by=by)
        m.set(candidate=None)
        m.failed_slot("read back wrong")
    elif phase == "confirm" and yes:
        m.note("confirmed", intent=intent, by=by)
        m.intent(intent or "", f"confirmed: intent {intent}", "", m.state.found)
    elif phase == "confirm":
        m.note("rejected", intent=intent, by=by)
        _rejected(m)
    elif yes:
        m.clear(phase="menu", menu=m.flow.start, trail=())
        m.ask(m.say("ask"))
    else:
        m.hang_up("the caller needs nothing else")


def _rejected(m: Moves) -> None:
    """The caller did not want what was guessed: ask openly, and count it."""
    lost = m.state.lost + 1
    m.clear(phase="menu", lost=lost)
    if lost > len(m.flow.defaults.no_match):
        m.human("not understood")
    else:
        m.ask(m.say("ask"))


def _not_answered(m: Moves) -> None:
    m.set(lost=m.state.lost + 1)
    if m.state.lost >= max(3, len(m.flow.defaults.no_match)):
        m.human("no answer to a yes-or-no question")
    else:
        m.ask(m.say("yes_no"), expect="yesno", remember=False)


# --- nothing useful -------------------------------------------------------------------------------------------------


def _no_match(m: Moves, **data: object) -> None:
    m.note("no_match", **data)
    if m.state.phase in ("confirm", "readback"):
        _not_answered(m)
        return
    if m.state.phase == "slot":
        m.failed_slot("not understood")
        return
    rungs, lost = m.flow.defaults.no_match, m.state.lost
    m.set(lost=lost + 1, phase="menu" if m.state.phase == "more" else m.state.phase)
    _rung(m, rungs[lost] if lost < len(rungs) else None, "not understood")


def _silence(m: Moves) -> None:
    rungs, silent = m.flow.defaults.no_input, m.state.silent
    m.note("no_input", count=silent + 1)
    if m.state.phase == "more":
        m.hang_up("silence after the last answer")
        return
    m.set(silent=silent + 1)
    rung = rungs[silent] if silent < len(rungs) else None
    if rung is not None and rung.goto is None and m.state.phase != "menu":
        _ask_again(m)
    else:
        _rung(m, rung, "no input")


def _ask_again(m: Moves) -> None:
    """Silence inside a question: the same question once more."""
    if m.state.phase == "slot":
        m.ask_slot()
    else:
        m.repeat()


def _rung(m: Moves, rung: Rung | None, reason: str) -> None:
    if rung is None or (rung.say is None and rung.goto is None):
        m.human(reason)
    elif rung.goto is not None:
        m.note("escalated", reason=reason, target=str(rung.goto))
        m.go(rung.goto, reason)
    else:
        menu = m.flow.menus[m.state.menu or m.flow.start]
        m.ask(m.say(menu.help if rung.say == "keys" else rung.say or ""), remember=False)


def _unheard(m: Moves, event: Unheard) -> None:
    """Speech can't be recognized now: the keys are offered."""
    if m.state.phase not in ASKING:
        return
    m.note("no_match", reason=event.reason)
    m.set(hearing=False, lost=m.state.lost + 1)
    if m.state.lost > max(3, len(m.flow.defaults.no_match)):
        m.human(f"speech can't be recognized: {event.reason}")
    elif m.state.phase == "slot" and m.slot().kind != "yesno":
        m.ask_slot("keys_only")
    elif m.state.phase == "menu":
        m.ask(m.say("keys_only"), m.say(m.flow.menus[m.state.menu].help), remember=False)
    else:
        m.ask(m.say("yes_no"), expect=m.expected(), remember=False)


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
