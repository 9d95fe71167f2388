"""When nothing useful came: silence, words without sense, a wrong guess, speech that can't be recognized.

Each is counted, and each ends at a human.
"""

from __future__ import annotations

from gateway.flow.model import Rung
from gateway.flow.moves import Moves
from gateway.flow.state import ASKING
from gateway.flow.turn import Unheard


def no_match(m: Moves, **data: object) -> None:
    m.note("no_match", **data)
    if m.state.phase in ("confirm", "readback"):
        not_answered(m)
        return
    if m.state.phase == "slot":
        m.failed_slot("not understood")
        return
    rungs, lost = m.flow.defaults.no_match, m.state.lost
    m.set(lost=lost + 1, phase="menu" if m.state.phase == "more" else m.state.phase)
    _rung(m, rungs[lost] if lost < len(rungs) else None, "not understood")


def silence(m: Moves) -> None:
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


def unheard(m: Moves, event: Unheard) -> None:
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


def rejected(m: Moves) -> None:
    """The caller did not want what was guessed: ask openly, and count it."""
    lost = m.state.lost + 1
    m.clear(phase="menu", lost=lost)
    if lost > len(m.flow.defaults.no_match):
        m.human("not understood")
    else:
        m.ask(m.say("ask"))


def not_answered(m: Moves) -> None:
    m.set(lost=m.state.lost + 1)
    if m.state.lost >= max(3, len(m.flow.defaults.no_match)):
        m.human("no answer to a yes-or-no question")
    else:
        m.ask(m.say("yes_no"), expect="yesno", remember=False)
