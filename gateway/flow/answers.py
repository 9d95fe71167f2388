"""What an answer does: keys in the order they were typed, and words, whatever is being asked."""

from __future__ import annotations

from gateway.core.ports import Ranked
from gateway.flow.bands import Band, band
from gateway.flow.emergency import emergency_in
from gateway.flow.flatten import keys_of, sayable_only
from gateway.flow.lost import no_match, not_answered, rejected
from gateway.flow.model import Target
from gateway.flow.moves import MASK, MAX_PENDING, Moves
from gateway.flow.slots import continued, from_keys, parse, passing, yes_no
from gateway.flow.state import ASKING
from gateway.flow.turn import Heard, Value
from gateway.flow.words import is_mandarin, language_wish, normal, wish

DOUBTFUL = 0.5
"""Below this score of the recognizer's own, words are never accepted without asking."""


def drain(m: Moves) -> None:
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
            no_match(m, key=key)
    elif key != "#":
        m.set(keys="")
        no_match(m, key=key)


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
            digits_ended(m)
    elif key.isdigit() or key == "*":
        m.questions = []
        m.set(digits=m.state.digits + key, silent=0)
        m.wait(m.flow.defaults.key_gap_s)
        m.set(speaking=False)
        full = slot.length if slot.kind == "digits" else 0
        if (full and len(m.state.digits) >= full) or len(m.state.digits) >= MAX_PENDING:
            digits_ended(m)


def digits_ended(m: Moves) -> None:
    slot, digits = m.slot(), m.state.digits
    value = from_keys(slot.kind, digits, m.local, slot.length, slot.currency)
    if value is None:
        m.note("no_match", slot=slot.id, keys=MASK if slot.sensitive else digits)
        m.failed_slot("not understood")
    else:
        m.take_value(value, by="keys")


def emergency(m: Moves, text: str) -> bool:
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


def heard(m: Moves, event: Heard) -> None:
    if emergency(m, event.text) or m.state.phase not in ASKING:
        return
    m.set(speaking=False, hearing=False)
    wanted, spoken = wish(event.text), language_wish(event.text)
    other = next((tag for tag in m.flow.languages if spoken and tag.startswith(spoken)), m.state.language)
    if wanted == "human":
        m.note("matched", text=_shown(m, event.text), wish=wanted)
        m.clear(intent=m.state.intent, slots=m.state.slots)
        m.go(m.flow.defaults.human, "the caller asked for a person")
    elif other != m.state.language:
        m.language(other)
    elif wanted is not None:
        m.note("matched", text=_shown(m, event.text), wish=wanted)
        m.repeat() if wanted == "repeat" else m.back()
    else:
        {"menu": _heard_menu, "more": _heard_more, "slot": _heard_slot}.get(m.state.phase, _heard_yes_no)(m, event)


def _shown(m: Moves, text: str) -> str:
    """The words as the record may hold them."""
    return MASK if m.secret else text


def _band(m: Moves, event: Heard) -> tuple[Ranked, Band]:
    """The ranking of what can be said here, and how sure it is: words the recognizer doubts are asked about."""
    allowed = sayable_only(m.flow, m.state.menu or m.flow.start, event.ranked)
    d = m.flow.defaults
    found = band(allowed, d.accept, d.confirm, d.margin)
    return allowed, "confirm" if found == "accept" and event.score < DOUBTFUL else found


def _found(m: Moves, intent: str, text: str) -> tuple[tuple[str, Value], ...]:
    """Slot values standing in the sentence that named the intent."""
    pairs = []
    for name in m.flow.intents[intent].slots:
        slot = m.flow.slots[name]
        value = passing(slot.kind, text, m.state.language, m.local, slot.length, slot.currency)
        if value is not None:
            pairs.append((name, value))
    return tuple(pairs)


def _heard_menu(m: Moves, event: Heard) -> None:
    ranked, in_band = _band(m, event)
    best, score = ranked.best
    second, second_score = ranked.runner_up
    if in_band == "reject" or best not in m.flow.intents or not event.text.strip():
        no_match(m, text=_shown(m, event.text), intent=best, score=round(score, 3))
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
    if in_band == "accept" or Target("intent", best) == m.flow.defaults.human:
        m.intent(best, f"said: intent {best} at {score:.2f}", event.text, found)
    else:
        m.confirm(best, found)


def _heard_more(m: Moves, event: Heard) -> None:
    answer = yes_no(event.text)
    _, in_band = _band(m, event)
    if answer is not None and not (in_band == "accept" and _lengthy(event.text)):
        m.note("matched", text=event.text, answer="yes" if answer else "no")
        _answer(m, answer, "speech")
    else:
        m.set(phase="menu", menu=m.flow.start)
        _heard_menu(m, event)


def _lengthy(text: str) -> bool:
    """More than a yes or no: four words, or four characters of Mandarin."""
    return len(text.split()) > 3 or (is_mandarin(text) and len(normal(text)) > 3)


def _heard_slot(m: Moves, event: Heard) -> None:
    slot = m.slot()
    whole = continued(m.state.digits, event.text, slot.length) if slot.kind == "digits" else None
    value = whole or parse(slot.kind, event.text, m.state.language, m.local, slot.length, slot.currency)
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
    """Instead of answering, the caller clearly named another intent, or somehow asked for a human."""
    ranked, in_band = _band(m, event)
    best = ranked.best[0]
    clear = in_band == "accept" or (in_band == "confirm" and Target("intent", best) == m.flow.defaults.human)
    if not clear or best == m.state.intent or best not in m.flow.intents:
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
            parse(slot.kind, event.text, m.state.language, m.local, slot.length, slot.currency)
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
        not_answered(m)
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
        rejected(m)
    elif yes:
        m.clear(phase="menu", menu=m.flow.start, trail=())
        m.ask(m.say("ask"))
    else:
        m.hang_up("the caller needs nothing else")
