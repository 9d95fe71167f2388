"""The moves a flow can make: enter a menu, ask for a slot, read it back, run an action, hand over to a human.

One `Moves` lives for one step of the interpreter. It gathers commands so that a question the caller has already
answered with keys typed ahead is never spoken: a later question of the same step takes the place of an earlier one,
while statements (a result, "we are closed") stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from gateway.core.clock import Moment
from gateway.core.values import replace
from gateway.flow.flatten import menu_intents
from gateway.flow.hours import is_open
from gateway.flow.model import Flow, Rung, Slot, Target
from gateway.flow.state import ASKING, State
from gateway.flow.templates import prompt
from gateway.flow.turn import (
    Enqueue,
    FlowCommand,
    HangUp,
    Listen,
    Note,
    PauseRecording,
    ResumeRecording,
    RunAction,
    Say,
    Segment,
    StopListening,
    TakeMessage,
    Text,
    Value,
)

MASK = "****"
PROMPT_LIMIT_S = 120.0
"""A prompt that is not reported done within this time counts as done, so that no caller hangs in silence."""

DECODE_LIMIT_S = 6.0
"""Time left to a recognizer after the longest turn."""

MAX_PENDING = 64
"""Keys kept when typed ahead."""

Act = RunAction | Enqueue | TakeMessage | HangUp
Expect = Literal["menu", "yesno", "digits", "amount", "date"]


class Moves:
    """A state being advanced at one instant; `local` is that instant where the flow is at home, for dates."""

    def __init__(self, flow: Flow, state: State, now: Moment) -> None:
        self.flow, self.state, self.now = flow, state, now
        self.local = Moment(now.mono, now.utc.astimezone(flow.tz))
        self.secret_before = self.secret
        self.notes: list[Note] = []
        self.statements: list[Say] = []
        self.questions: list[Say] = []
        self.listen: Listen | StopListening | None = None
        self.act: Act | None = None

    def set(self, **changes: Any) -> None:
        """Change fields of the state."""
        self.state = replace(self.state, **changes)

    def note(self, kind: str, **data: object) -> None:
        """A line for the call's record."""
        self.notes.append(Note(kind, data))

    @property
    def secret(self) -> bool:
        """Whether a sensitive value is being asked for or read back."""
        slot = self.flow.slots.get(self.state.asking or "")
        return slot is not None and slot.sensitive and self.state.phase in ("slot", "readback")

    def finish(self) -> tuple[State, list[FlowCommand]]:
        """The new state and the commands, in the order they are carried out."""
        spoken = [s for s in [*self.statements, *self.questions] if s.segments]
        says = [replace(s, queue=i > 0) for i, s in enumerate(spoken)]
        if self.state.phase == "over":  # nobody listens any more: what stopped here would never go on
            says = [replace(s, barge_in=False, keys_stop=False) for s in says]
        commands: list[FlowCommand] = []
        if self.secret != self.secret_before:
            commands.append(PauseRecording() if self.secret else ResumeRecording())
        commands += [*self.notes, *says]
        commands += [c for c in (self.listen, self.act) if c is not None]
        if self.state.phase == "over":
            self.set(speaking=False, deadline=None)
        elif says and self.state.phase != "action":
            self.set(speaking=True, hearing=False, deadline=self.now.mono + PROMPT_LIMIT_S)
        elif self.state.phase != "begin" and (self.state.deadline is None or self.state.deadline <= self.now.mono):
            self.wait(self.silence_s())
        return self.state, commands

    # --- speaking and listening -------------------------------------------------------------------------------------

    def values(self) -> dict[str, Segment]:
        """What prompts can speak: filled slots and the intent's label."""
        values: dict[str, Segment] = dict(self.state.slots)
        if self.state.asking and self.state.candidate:
            values[self.state.asking] = self.state.candidate
        intent = self.flow.intents.get(self.state.intent or "")
        if intent:
            values["intent"] = Text(intent.label.get(self.state.language, ""))
        return values

    def say(self, name: str, language: str | None = None, extra: Mapping[str, Segment] | None = None) -> Say:
        """A prompt made ready to be spoken; `extra` values go before slots."""
        tag = language or self.state.language
        defaults = self.flow.defaults
        values = {**self.values(), **(extra or {})}
        parts = prompt(self.flow, name, tag, values)
        slots = (self.flow.slots.get(slot) for slot, value in values.items() if value in parts)
        secret = any(slot is not None and slot.sensitive for slot in slots)
        units = defaults.min_units.get(tag, 1)
        return Say(name, parts, tag, defaults.barge_in, defaults.keys_stop, units, sensitive=secret)

    def state_that(self, name: str, extra: Mapping[str, Segment] | None = None) -> None:
        """Say something that stays, whatever is asked after it."""
        self.statements.append(self.say(name, extra=extra))

    def ask(self, *says: Say, expect: Expect = "menu", remember: bool = True) -> None:
        """Ask a question and listen. It takes the place of a question asked earlier in this step."""
        self.questions = [s for s in says if s.segments]
        if remember:
            self.set(said=(*self.statements, *self.questions))
        self.hear(expect)

    def hear(self, expect: Expect) -> None:
        """Listen from now on."""
        defaults, slot = self.flow.defaults, self.flow.slots.get(self.state.asking or "")
        dictated = expect in ("digits", "amount")
        length = slot.length - len(self.state.digits) if slot and expect == "digits" and slot.length else 0
        self.listen = Listen(
            self.state.language,
            expect,
            round((defaults.digits_silence_s if dictated else defaults.silence_s) * 1000),
            round(defaults.max_s * 1000),
            length,
            self.hints() if expect == "menu" else (),
            self.secret,
        )

    def hints(self) -> tuple[str, ...]:
        """Labels the recognizer may expect here, those of this menu first."""
        ids = dict.fromkeys([*menu_intents(self.flow, self.state.menu), *self.flow.intents])
        return tuple(self.flow.intents[i].label.get(self.state.language, "") for i in ids if i in self.flow.intents)

    def expected(self) -> Expect:
        """What the present question expects to hear."""
        if self.state.phase in ("confirm", "readback", "more"):
            return "yesno" if self.state.phase != "more" else "menu"
        slot = self.flow.slots.get(self.state.asking or "")
        return slot.kind if slot and self.state.phase == "slot" else "menu"

    def wait(self, seconds: float) -> None:
        """The next Tick is due in `seconds`."""
        self.set(deadline=self.now.mono + seconds)

    def silence_s(self) -> float:
        """How long the caller may be silent now before the next rung of no_input."""
        rungs = self.flow.defaults.no_input
        if self.state.digits:
            return self.flow.defaults.key_gap_s
        return rungs[min(self.state.silent, len(rungs) - 1)].after_s if rungs else Rung().after_s

    # --- going places -----------------------------------------------------------------------------------------------

    def go(self, target: Target, reason: str, text: str = "") -> None:
        """Follow a target. `text`: the words that led here, in which slots may stand."""
        kind = target.kind
        if kind == "menu":
            self.menu(target.name)
        elif kind == "intent":
            self.intent(target.name, reason, text)
        elif kind == "action":
            self.run(target.name)
        elif kind == "queue":
            self.enqueue(target.name, reason)
        elif kind == "message":
            self.message(target.name, reason)
        elif kind == "say":
            self.state_that(target.name)
            self.more()
        elif kind == "hangup":
            self.hang_up(reason)
        else:
            {"back": self.back, "repeat": self.repeat, "language": self.language, "more": self.more}[kind]()

    def clear(self, **changes: Any) -> None:
        """Leave whatever was being asked."""
        fresh: dict[str, Any] = {
            "intent": None, "asking": None, "action": None, "slots": (), "found": (), "candidate": None,
            "digits": "", "silent": 0, "lost": 0, "tries": 0,
        }  # fmt: skip
        self.set(**{**fresh, **changes})

    def menu(self, name: str, returning: bool = False) -> None:
        """Enter a menu and ask its question, or say that it is closed."""
        menu = self.flow.menus[name]
        hours = self.flow.hours.get(menu.hours or "")
        trail = self.state.trail
        if not returning and self.state.menu and self.state.menu != name:
            trail = (*trail, self.state.menu)
        self.clear(phase="menu", menu=name, trail=trail[-8:], path=(*self.state.path, name))
        self.note("entered", menu=name)
        if hours and not is_open(hours, self.now.utc):
            self.state_that("closed")
            self.go(menu.closed or Target("message", self.flow.human_queue), f"menu {name} is closed")
            return
        been = name in self.state.path[:-1]
        offers: list[Say] = []
        if not self.state.offered and name == self.flow.start:
            offers = [self.say("language", tag) for tag in self.flow.languages if tag != self.state.language]
        self.set(offered=True)
        self.ask(*offers, self.say(menu.say_again if been and menu.say_again else menu.say))

    def intent(self, name: str, reason: str, text: str = "", found: tuple[tuple[str, Value], ...] = ()) -> None:
        """Do what the caller wants: fill its slots, then go where it leads."""
        self.clear(intent=name, found=found, path=(*self.state.path, name))
        self.next_slot(reason)

    def next_slot(self, reason: str = "") -> None:
        """Ask for the first slot that is not filled; with none left, follow the intent."""
        intent = self.flow.intents[self.state.intent or ""]
        have = dict(self.state.slots)
        missing = next((s for s in intent.slots if s not in have), None)
        if missing is None:
            self.set(asking=None, candidate=None, digits="")
            self.go(intent.goto, reason or f"intent {intent.id}")
            return
        self.set(asking=missing, candidate=None, digits="", tries=0, silent=0, phase="slot")
        heard = dict(self.state.found).get(missing)
        if heard is not None:
            self.take_value(heard, by="speech")
        else:
            self.ask_slot()

    def slot(self) -> Slot:
        """The slot being asked for."""
        return self.flow.slots[self.state.asking or ""]

    def ask_slot(self, *before: str) -> None:
        """Ask for the slot, after the prompts named in `before`."""
        self.set(phase="slot", candidate=None, digits="")
        says = [self.say(name) for name in before]
        self.ask(*says, self.say(self.slot().ask), expect=self.slot().kind)

    def take_value(self, value: Value, by: str) -> None:
        """Read a value back when the slot wants that (digits by key are sure), else fill it."""
        slot = self.slot()
        self.set(candidate=value, digits="", silent=0)
        if slot.confirm and not (by == "keys" and slot.kind == "digits"):
            self.set(phase="readback")
            self.ask(self.say(slot.confirm), expect="yesno")
        else:
            self.fill(by)

    def fill(self, by: str) -> None:
        """The candidate is the slot's value."""
        slot, value = self.slot(), self.state.candidate
        if value is None:
            self.ask_slot()
            return
        self.note("filled", slot=slot.id, value=MASK if slot.sensitive else value.value, by=by)
        self.set(slots=(*self.state.slots, (slot.id, value)), candidate=None, phase="slot")
        self.next_slot()

    def failed_slot(self, why: str) -> None:
        """An answer was no use: ask again, or after the last attempt hand over to a human."""
        self.set(tries=self.state.tries + 1, keys="", digits="")
        if self.state.tries >= self.slot().attempts:
            self.human(f"slot {self.slot().id}: {why} {self.state.tries} times")
        else:
            self.ask_slot("sorry_value")

    def confirm(self, name: str, found: tuple[tuple[str, Value], ...] = ()) -> None:
        """Ask whether this intent was meant."""
        self.clear(intent=name, phase="confirm", found=found, lost=self.state.lost)
        self.ask(self.say("confirm"), expect="yesno")

    def more(self) -> None:
        """Ask whether there is anything else."""
        self.clear(phase="more", menu=self.flow.start, trail=())
        self.ask(self.say("more"))

    def run(self, name: str) -> None:
        """Run an action; keys are kept until its result was told."""
        action = self.flow.actions[name]
        self.set(phase="action", action=name, asking=None, speaking=False)
        self.questions, self.listen = [], StopListening()
        self.act = RunAction(name, {slot: value.value for slot, value in self.state.slots})
        self.wait((action.http.timeout_s if action.http else 0.0) + 3.0)

    def repeat(self) -> None:
        """Say the last question again."""
        self.ask(*self.state.said, expect=self.expected(), remember=False)

    def back(self) -> None:
        """To the menu before; from a question inside an intent, to the menu it was asked in."""
        if self.state.phase in ("menu", "more") and self.state.trail:
            *trail, last = self.state.trail
            self.set(trail=tuple(trail))
            self.menu(last, returning=True)
        else:
            self.menu(self.state.menu or self.flow.start, returning=True)

    def language(self, wanted: str | None = None) -> None:
        """To a language, the flow's next one by default; the present question is asked again in it."""
        tags = self.flow.languages
        following = tags[(tags.index(self.state.language) + 1) % len(tags)]
        self.set(language=wanted or following, offered=True, silent=0, lost=0)
        self.note("language", language=self.state.language)
        if self.state.phase == "slot":
            self.ask_slot()
        elif self.state.phase == "readback":
            self.ask(self.say(self.slot().confirm or self.slot().ask), expect="yesno")
        elif self.state.phase == "confirm":
            self.ask(self.say("confirm"), expect="yesno")
        elif self.state.phase == "more":
            self.ask(self.say("more"))
        elif self.state.phase in ASKING:
            self.ask(self.say(self.flow.menus[self.state.menu].say))

    # --- endings ----------------------------------------------------------------------------------------------------

    def human(self, reason: str) -> None:
        """A person takes over, whatever was being asked."""
        self.note("escalated", reason=reason)
        self.enqueue(self.flow.human_queue, reason)

    def shown_slots(self) -> dict[str, str]:
        """Slot values as others may see them."""
        return {s: MASK if self.flow.slots[s].sensitive else v.value for s, v in self.state.slots}

    def enqueue(self, queue: str, reason: str, emergency: bool = False) -> None:
        """Hand the caller to a queue; outside its hours take a message, unless it is an emergency."""
        emergency = emergency or self.flow.queues[queue].emergency
        hours = self.flow.hours.get(self.flow.queues[queue].hours or "")
        if hours and not emergency and not is_open(hours, self.now.utc):
            self.statements.append(self.say(self.flow.prompt_for(queue, "closed")))
            self.message(queue, f"queue {queue} is closed")
            return
        self.state_that("emergency" if emergency else self.flow.prompt_for(queue, "hold"))
        self.over(Enqueue(queue, self.state.intent, self.shown_slots(), reason, emergency))

    def message(self, queue: str, reason: str) -> None:
        """Take a message for a queue."""
        self.over(TakeMessage(queue, reason))

    def hang_up(self, reason: str) -> None:
        """Say goodbye."""
        self.state_that("goodbye")
        self.over(HangUp(reason))

    def over(self, act: Act) -> None:
        """The flow ends with this command."""
        self.questions, self.listen, self.act = [], StopListening(), act
        self.set(phase="over", asking=None, keys="", digits="", candidate=None)
