"""A flow as the interpreter knows it: frozen, complete, every name in it resolved. `gateway.flow.load` makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, tzinfo
from typing import Literal

from gateway.core.errors import Mark

SlotKind = Literal["digits", "amount", "date", "yesno"]
TargetKind = Literal[
    "menu", "intent", "action", "queue", "say", "message", "back", "repeat", "language", "more", "hangup"
]
ResultKind = Literal["digits", "number", "amount", "date", "ordinal", "text", "word"]
QueueRole = Literal["hold", "position", "wait", "nobody", "closed", "message_taken"]

Texts = Mapping[str, str]
"""Language tag to words."""

Phrases = Mapping[str, tuple[str, ...]]
"""Language tag to templates (see gateway.flow.templates)."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a key, an intent or an action leads. `name` is empty for back, repeat, language, more and hangup."""

    kind: TargetKind
    name: str = ""
    mark: Mark | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of an escalation: after `after_s` of silence (no_input only) say a prompt or go somewhere.

    `say` is a prompt's name, or `keys` for the help prompt of the menu the caller is in.
    """

    after_s: float = 5.0
    say: str | None = None
    goto: Target | None = None
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Defaults:
    """Settings that hold in every menu. Times in seconds; thresholds are probabilities; `min_units` by language."""

    barge_in: bool = True
    keys_stop: bool = True
    min_units: Mapping[str, int] = field(default_factory=dict)
    silence_s: float = 0.6
    digits_silence_s: float = 1.5
    max_s: float = 12.0
    key_gap_s: float = 3.0
    accept: float = 0.8
    confirm: float = 0.5
    margin: float = 0.15
    no_input: tuple[Rung, ...] = ()
    no_match: tuple[Rung, ...] = ()
    keys: Mapping[str, Target] = field(default_factory=dict)
    human: Target = field(default_factory=lambda: Target("intent", "agent"))


@dataclass(frozen=True, slots=True)
class Slot:
    """A value asked of the caller. `length`: digits expected, 0 when unknown. `confirm`: the prompt reading it back."""

    id: str
    kind: SlotKind
    ask: str
    confirm: str | None = None
    length: int = 0
    attempts: int = 3
    sensitive: bool = False
    currency: str = ""
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a caller may want. `anywhere`: it can be said in every menu, not only where a menu names it."""

    id: str
    label: Texts
    utterances: Phrases
    goto: Target
    slots: tuple[str, ...] = ()
    negative: Phrases = field(default_factory=dict)
    emergency: Phrases = field(default_factory=dict)
    anywhere: bool = True
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Menu:
    """A question with keys. `say` is spoken on entering, `say_again` on coming back, `help` lists the keys."""

    id: str
    say: str
    help: str
    keys: Mapping[str, Target]
    say_again: str | None = None
    intents: tuple[str, ...] = ()
    hours: str | None = None
    closed: Target | None = None
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Result:
    """How a value an action returned is spoken. `words`: for kind word, the value's words by language."""

    kind: ResultKind
    currency: str = ""
    words: Mapping[str, Texts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """Answers kept in the flow: rows by the value of slot `by`; `other` for values no row has, None when those fail."""

    by: str | None
    rows: Mapping[str, Mapping[str, str]]
    other: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Http:
    """Answers from a web service: slots are sent as JSON, a JSON object comes back. `url` may hold ${VARIABLE}."""

    method: Literal["GET", "POST"]
    url: str
    timeout_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Action:
    """Something looked up or done for the caller, then told by prompt `say`."""

    id: str
    table: Table | None
    http: Http | None
    say: str | None
    on_error: Target
    then: Target = field(default_factory=lambda: Target("more"))
    returns: Mapping[str, Result] = field(default_factory=dict)
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Hours:
    """Opening times. `week`: Monday first, for each day (from, to) pairs in minutes after local midnight."""

    id: str
    tz: tzinfo
    week: tuple[tuple[tuple[int, int], ...], ...]
    holidays: frozenset[date] = frozenset()
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FlowQueue:
    """Callers waiting for a human; routing makes its Queue of it. `say`: role to prompt name. Times in seconds.

    `emergency`: everyone in it goes before all other callers, at any hour.
    """

    id: str
    skills: Mapping[str, int] = field(default_factory=dict)
    priority: int = 0
    ring_s: float = 15.0
    announce_s: float = 30.0
    wrap_up_s: float = 0.0
    hours: str | None = None
    emergency: bool = False
    say: Mapping[str, str] = field(default_factory=dict)
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Case:
    """One of the flow's own tests: `script` is what the caller does, in order; `expect` what must come of it."""

    name: str
    language: str
    script: tuple[str, ...]
    expect: Mapping[str, str]
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a flow stand in its file, by dotted path such as prompts.welcome.en-US."""

    keys: Mapping[str, Mark]
    values: Mapping[str, Mark]

    def key(self, *path: str) -> Mark | None:
        """Where a key stands."""
        return self.keys.get(".".join(path))

    def value(self, *path: str) -> Mark | None:
        """Where a value stands, or else the part it belongs to."""
        return self.values.get(".".join(path)) or (self.value(*path[:-1]) if len(path) > 1 else None)

    def part(self, mark: Mark | None) -> str | None:
        """The part (section.name) a place lies in, None for one before them all."""
        parts = [(place, path) for path, place in self.keys.items() if path.count(".") == 1]
        before = [pair for pair in parts if mark is not None and pair[0] <= mark]
        return max(before)[1] if before else None


@dataclass(frozen=True, slots=True)
class Flow:
    """One YAML file. `languages[0]` is spoken when nothing else was chosen; `numbers`: number dialled to language,
    empty where the caller chooses it; `tz`: where "tomorrow" is reckoned."""

    id: str
    version: str
    languages: tuple[str, ...]
    start: str
    defaults: Defaults
    prompts: Mapping[str, Texts]
    slots: Mapping[str, Slot]
    intents: Mapping[str, Intent]
    menus: Mapping[str, Menu]
    actions: Mapping[str, Action]
    hours: Mapping[str, Hours]
    queues: Mapping[str, FlowQueue]
    tz: tzinfo = UTC
    numbers: Mapping[str, str] = field(default_factory=dict)
    cases: tuple[Case, ...] = ()
    file: str = ""
    places: Places = field(default_factory=lambda: Places({}, {}), compare=False, repr=False)

    def queue_of(self, target: Target) -> str | None:
        """The queue a target ends in when that can be told without asking the caller, else None."""
        for _ in range(len(self.intents) + 1):
            if target.kind in ("queue", "message"):
                return target.name
            if target.kind != "intent" or target.name not in self.intents:
                return None
            target = self.intents[target.name].goto
        return None

    @property
    def human_queue(self) -> str:
        """The queue of last resort."""
        return self.queue_of(self.defaults.human) or next(iter(self.queues), "")

    def prompt_for(self, queue: str, role: str) -> str:
        """The prompt a queue uses in a role (hold, position, wait, nobody, closed, message_taken)."""
        found = self.queues.get(queue)
        return found.say.get(role, role) if found else role
