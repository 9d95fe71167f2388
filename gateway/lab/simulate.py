"""Talk to a flow in text: the interpreter of the live call, with virtual time and no audio.

A caller's turn is a line of text. `#12` presses keys 1 and 2 (`##` is the key #), an empty line is silence until
something happens, and a leading `!` means "while the prompt still plays".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from gateway.core.clock import Moment
from gateway.core.ports import Ranked
from gateway.flow import interpreter
from gateway.flow.actions import look_up
from gateway.flow.model import Case, Flow
from gateway.flow.templates import expand
from gateway.flow.turn import (
    ActionDone,
    Enqueue,
    FlowCommand,
    FlowEvent,
    HangUp,
    Heard,
    Key,
    Note,
    PartialHeard,
    PromptDone,
    RunAction,
    Say,
    Segment,
    Started,
    TakeMessage,
    Tick,
    Value,
)
from gateway.flow.words import is_mandarin, normal

BEGIN = Moment(1000.0, datetime(2026, 11, 16, 2, 0, tzinfo=UTC))
"""A Monday morning in Shanghai, so that opening hours and dates are the same in every run."""

SPEAKING_S = 2.0
"""Virtual seconds a prompt or an utterance takes."""

Ending = Enqueue | TakeMessage | HangUp


class Understanding(Protocol):
    """What ranks intents: the model of gateway.flow.intents, or anything like it."""

    def rank(self, text: str, language: str) -> Ranked: ...


class LikeExamples:
    """Ranks intents by the likeness of a sentence to the flow's own examples (cosine of character 3-grams, words).

    A stand-in where no model is installed; it knows little beyond the examples.
    """

    def __init__(self, flow: Flow) -> None:
        self.examples = {
            tag: [
                (i.id, _grams(s)) for i in flow.intents.values() for t in i.utterances.get(tag, ()) for s in expand(t)
            ]
            for tag in flow.languages
        }

    def rank(self, text: str, language: str) -> Ranked:
        """Intents, best first."""
        grams = _grams(text)
        best: dict[str, float] = {}
        for intent, example in self.examples.get(language, ()):
            best[intent] = max(best.get(intent, 0.0), _cosine(grams, example))
        top = max(best.values(), default=0.0)
        total = sum(math.exp(15 * score) for score in best.values())
        scored = {intent: top * math.exp(15 * score) / total for intent, score in best.items()}
        return Ranked(tuple(sorted(scored.items(), key=lambda pair: -pair[1])))


def _grams(text: str) -> Counter[str]:
    text = normal(text)
    size = 2 if is_mandarin(text) else 3
    padded = text if size == 2 else f" {text} "
    return Counter([padded[i : i + size] for i in range(max(1, len(padded) - size + 1))] + text.split())


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    dot = sum(count * b[gram] for gram, count in a.items())
    return dot / math.sqrt(sum(c * c for c in a.values()) * sum(c * c for c in b.values())) if dot else 0.0


def shown(segment: Segment) -> str:
    """A spoken segment as text."""
    if isinstance(segment, Value):
        return f"{segment.value} {segment.currency}".strip() if segment.kind == "amount" else segment.value
    return segment.text


def sentence(say: Say) -> str:
    """What a Say says, as text."""
    return "".join(shown(part) for part in say.segments)


@dataclass
class Simulation:
    """One conversation. `said`: prompts in order; `notes`: the record; `ending`: None while it goes on."""

    flow: Flow
    understanding: Understanding
    now: Moment = BEGIN
    said: list[Say] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    commands: list[FlowCommand] = field(default_factory=list)
    ending: Ending | None = None

    def __post_init__(self) -> None:
        self.state = interpreter.start(self.flow)

    def begin(self, language: str | None = None, dialled: str = "") -> list[Say]:
        """The call is answered; the recording notice plays. Gives what was said."""
        said = self.send(Started(language, dialled=dialled))
        return said + (self.send(PromptDone()) if self.state.phase == "announce" else [])

    def send(self, event: FlowEvent) -> list[Say]:
        """Give one event to the interpreter and carry out what it commands; actions are looked up in their tables."""
        says: list[Say] = []
        pending = [event]
        while pending:
            self.state, commands = interpreter.step(self.flow, self.state, pending.pop(0), self.now)
            self.commands += commands
            for command in commands:
                if isinstance(command, Say):
                    says.append(command)
                elif isinstance(command, Note):
                    self.notes.append(command)
                elif isinstance(command, RunAction):
                    pending.append(self.answer(command))
                elif isinstance(command, Ending):
                    self.ending = command
        self.said += says
        return says

    def answer(self, command: RunAction) -> ActionDone:
        """Tables answer; a web service does not in a simulation, which is an error the flow must handle."""
        return look_up(self.flow.actions[command.action], command.slots)

    def turn(self, line: str) -> list[Say]:
        """One line of the caller's (see the module's notation). Gives what was said."""
        line = line.strip()
        during = line.startswith("!")
        line = line.removeprefix("!").strip()
        says: list[Say] = []
        if self.state.speaking and not during:
            self.now = self.now.plus(SPEAKING_S)
            says += self.send(PromptDone())
        if not line:
            return says + self.silence()
        if line.startswith("#"):
            for key in line[1:].replace(" ", ""):
                self.now = self.now.plus(0.2)
                says += self.send(Key(key)) if self.ending is None else []
            return says
        self.now = self.now.plus(SPEAKING_S / 2)
        says += self.send(PartialHeard(line))
        if self.ending is None:
            self.now = self.now.plus(SPEAKING_S / 2)
            says += self.send(Heard(line, self.understanding.rank(line, self.state.language)))
        return says

    def silence(self) -> list[Say]:
        """Wait until the flow does something by itself."""
        for _ in range(8):
            if self.state.deadline is None or self.ending is not None:
                return []
            event: FlowEvent = PromptDone() if self.state.speaking else Tick()
            wait = SPEAKING_S if self.state.speaking else max(0.0, self.state.deadline - self.now.mono)
            self.now = self.now.plus(wait)
            says = self.send(event)
            if says or self.ending:
                return says
        return []


def simulate(
    flow: Flow,
    language: str | None,
    ask: Callable[[], str | None],
    answer: Callable[[str, str], None],
    understanding: Understanding | None = None,
) -> Ending | None:
    """Talk to a flow. `ask()` gives the caller's next line, None to hang up; `answer(kind, text)` shows what happens:
    kind is a language tag for what is said, else the kind of a Note or `end`."""
    talk = Simulation(flow, understanding or LikeExamples(flow))
    noted = 0

    def show(says: Iterable[Say]) -> None:
        nonlocal noted
        for note in talk.notes[noted:]:
            answer(note.kind, " ".join(f"{name}={value}" for name, value in note.data.items() if value is not None))
        noted = len(talk.notes)
        for say in says:
            answer(say.language, sentence(say))

    show(talk.begin(language))
    while talk.ending is None:
        line = ask()
        if line is None:
            return None
        show(talk.turn(line))
    answer("end", ended(talk.ending))
    return talk.ending


def ended(ending: Ending | None) -> str:
    """How a conversation ended, in words."""
    if isinstance(ending, Enqueue):
        return f"queue {ending.queue}{' (emergency)' if ending.emergency else ''}: {ending.reason}"
    if isinstance(ending, TakeMessage):
        return f"message for {ending.queue}: {ending.reason}"
    return f"hung up: {ending.reason}" if ending else "still going on"


def run_case(flow: Flow, case: Case, understanding: Understanding) -> list[str]:
    """Plays one of a flow's own tests; gives what was not as expected, nothing when all was."""
    talk = Simulation(flow, understanding)
    talk.begin(case.language or None)
    for line in case.script:
        if talk.ending is None:
            talk.turn(line)
    ending = talk.ending
    seen = {
        "queue": getattr(ending, "queue", "-"),
        "intent": next(
            (
                str(n.data["intent"])
                for n in reversed(talk.notes)
                if n.kind in ("matched", "emergency") and "intent" in n.data
            ),
            "-",
        ),
        "path": " ".join(talk.state.path),
        "language": talk.state.language,
        "emergency": str(bool(getattr(ending, "emergency", False))).lower(),
        "end": {"Enqueue": "queue", "TakeMessage": "message", "HangUp": "hangup"}.get(type(ending).__name__, "-"),
    }
    wrong = []
    for name, expected in case.expect.items():
        if name == "said":
            if not any(expected in sentence(say) for say in talk.said):
                wrong.append(f"said: expected {expected!r}, heard {[sentence(s) for s in talk.said][-3:]}")
        elif seen[name] != expected:
            wrong.append(f"{name}: expected {expected}, was {seen[name]}")
    return wrong


def run_cases(flow: Flow, understanding: Understanding) -> list[tuple[Case, list[str]]]:
    """All of a flow's own tests with what went wrong in each."""
    return [(case, run_case(flow, case, understanding)) for case in flow.cases]
