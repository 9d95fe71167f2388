"""Loading and checking flows: every error at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from gateway.core.errors import FlowError, Mark, TrunklineError, nearest
from gateway.flow.fields import Report
from gateway.flow.flatten import MAX_CHOICES, choices, routes
from gateway.flow.links import Links
from gateway.flow.model import Flow, Target
from gateway.flow.nodes import read
from gateway.flow.schema import read_flow
from gateway.flow.templates import expand, names
from gateway.flow.words import is_mandarin, normal

UNREACHABLE = "can't be reached"


class Advice(FlowError):
    """Something worth knowing that does not keep a flow from running."""


class Staff(Protocol):
    """What is known of a human agent here (gateway.routing.model.Agent fits)."""

    @property
    def skills(self) -> Mapping[str, int]: ...


def load(path: str | Path) -> Flow:
    """The flow in a YAML file. Raises Findings with every error; advice is not an error."""
    report = Report(FlowError)
    flow = _checked(path, report)
    if flow is None or report.items:
        report.settle(str(path))
        raise FlowError("the flow can't be used", where=Mark(str(path)))
    return flow


def check(path: str | Path, agents: Iterable[Staff] | None = None) -> list[TrunklineError]:
    """All there is to say about a flow file, by position: errors, and Advice. `agents`: to know which skills exist."""
    report = Report(FlowError)
    flow = _checked(path, report)
    if flow is not None and not report.items:
        report.error = Advice
        Advising(flow, report).check(agents)
    return sorted(report.items, key=lambda item: item.where or Mark("", 0, 0))


def _checked(path: str | Path, report: Report) -> Flow | None:
    try:
        root = read(path)
    except FlowError as problem:
        report.items.append(problem)
        return None
    if root.value is None:
        report.add("the file is empty", root.mark, expected="a flow")
        return None
    flow = read_flow(root, report)
    if isinstance(root.value, dict):
        links, rules = Report(FlowError), Report(FlowError)
        Links(flow, links).check()
        if not _unreadable(flow, report.items):
            report.items += [item for item in links.items if item.where not in {e.where for e in report.items}]
            Rules(flow, rules).check()
            report.items += _news(flow, rules.items, report.items)
    return flow


def _unreadable(flow: Flow, errors: list[TrunklineError]) -> bool:
    """Whether a section everything hangs on was missing or no map, so that all other errors would follow from it."""
    whole = {flow.places.value(name) for name in ("flow", "prompts", "intents", "menus", "queues")}
    return any(item.where in whole or item.what.startswith("a flow file ") for item in errors)


def _news(flow: Flow, found: list[TrunklineError], before: list[TrunklineError]) -> list[TrunklineError]:
    """Broken rules that do not merely follow from an error in the same part, or from a key that leads nowhere."""
    damaged = {str(flow.places.part(item.where)) for item in before}
    lost_keys = any(part.startswith("menus.") for part in damaged)
    return [
        item
        for item in found
        if str(flow.places.part(item.where)) not in damaged and not (lost_keys and item.what.endswith(UNREACHABLE))
    ]


class Rules:
    """What a flow must keep to: three levels, ways to a human, every language complete."""

    def __init__(self, flow: Flow, report: Report) -> None:
        self.flow, self.report = flow, report

    def check(self) -> None:
        """Report every rule the flow breaks."""
        self.languages()
        if self.flow.start in self.flow.menus:
            self.depth()
            self.dead_ends()
        self.humans()
        self.shared()

    def place(self, *path: str) -> Mark | None:
        """Where a part of the flow stands."""
        return self.flow.places.key(*path) or Mark(self.flow.file)

    def languages(self) -> None:
        for prompt, texts in self.flow.prompts.items():
            for tag in self.flow.languages:
                if tag not in texts:
                    self.report.add(
                        f"prompt {prompt} has no text in {tag}", self.place("prompts", prompt), expected=f"{tag}: words"
                    )
        for intent in self.flow.intents.values():
            for tag in self.flow.languages:
                if tag not in intent.label:
                    self.report.add(f"intent {intent.id} has no label in {tag}", intent.mark, expected=f"{tag}: words")
                if not intent.utterances.get(tag):
                    self.report.add(
                        f"intent {intent.id} has no utterances in {tag}", intent.mark, expected=f"{tag}: a list"
                    )

    def depth(self) -> None:
        reached = choices(self.flow)
        for menu in self.flow.menus.values():
            if menu.id not in reached:
                self.report.add(f"menu {menu.id} {UNREACHABLE}", menu.mark, do="lead a key to it, or take it out")
            elif reached[menu.id] > MAX_CHOICES:
                keys = next(k for k, t in routes(self.flow, self.flow.start) if t.kind == "menu" and t.name == menu.id)
                what = f"menu {menu.id} asks for choice number {reached[menu.id]}"
                self.report.add(
                    what, menu.mark, read=f"keys {keys}", expected=f"at most {MAX_CHOICES} choices", do="move it up"
                )

    def dead_ends(self) -> None:
        for menu in self.flow.menus.values():
            forward = [t for t in menu.keys.values() if t.kind not in ("back", "repeat", "language")]
            if not forward and not menu.intents:
                self.report.add(f"menu {menu.id} leads nowhere", menu.mark, expected="keys: or intents:")
        for action in self.flow.actions.values():
            if action.then == Target("action", action.id) or action.on_error == Target("action", action.id):
                self.report.add(f"action {action.id} leads to itself", action.mark)

    def humans(self) -> None:
        """Words for a person, and both escalations, must end at one."""
        human = self.flow.defaults.human
        if human.kind == "intent" and human.name not in self.flow.intents:
            return
        if self.flow.queue_of(human) is None:
            self.report.add(
                "no way to a human", human.mark or self.place("defaults"), read=str(human), expected="human: queue:x"
            )
        for name, rungs in (("no_input", self.flow.defaults.no_input), ("no_match", self.flow.defaults.no_match)):
            if not any(r.goto and self.flow.queue_of(r.goto) for r in rungs):
                where = rungs[-1].mark if rungs else self.place("defaults")
                expected = f'{name}: under defaults, with a last step {{goto: "queue:x"}}'
                self.report.add(f"{name} never ends at a human", where, expected=expected)

    def shared(self) -> None:
        """Sentences that stand in two intents."""
        for tag in self.flow.languages:
            owners: dict[str, str] = {}
            for intent in self.flow.intents.values():
                for i, template in enumerate(intent.utterances.get(tag, ())):
                    for sentence in dict.fromkeys(normal(s) for s in expand(template)):
                        owner = owners.setdefault(sentence, intent.id)
                        if owner != intent.id:
                            where = self.place("intents", intent.id, "utterances", tag, str(i))
                            self.report.add(f"intents {owner} and {intent.id} share a sentence", where, read=sentence)
                            break


class Advising(Rules):
    """What is worth a second look in a flow that runs."""

    def check(self, agents: Iterable[Staff] | None = None) -> None:
        self.reach()
        self.keys_on_keypad()
        self.nearly_shared()
        self.secrets()
        self.unused()
        if agents is not None:
            self.skills(list(agents))

    def reach(self) -> None:
        """Intents no key leads to (they can still be said)."""
        keyed = {t.name for _, t in routes(self.flow, self.flow.start)} | {
            t.name for t in self.flow.defaults.keys.values()
        }
        for intent in self.flow.intents.values():
            if intent.id not in keyed:
                self.report.add(f"no key leads to intent {intent.id}", intent.mark, do="callers in noise need a key")

    def keys_on_keypad(self) -> None:
        """Two keys of a menu that lead to the same place."""
        for menu in self.flow.menus.values():
            seen: dict[Target, str] = {}
            for key, target in menu.keys.items():
                first = seen.setdefault(target, key)
                if first != key:
                    self.report.add(
                        f"keys {first} and {key} of menu {menu.id} lead to {target}", target.mark or menu.mark
                    )

    def nearly_shared(self) -> None:
        """Sentences of two intents that have the same words (Mandarin: characters) in another order."""
        for tag in self.flow.languages:
            owners: dict[frozenset[str], tuple[str, str]] = {}
            for intent in self.flow.intents.values():
                for i, template in enumerate(intent.utterances.get(tag, ())):
                    for sentence in expand(template):
                        words = normal(sentence)
                        bag = frozenset(words if is_mandarin(words) else words.split())
                        owner, other = owners.setdefault(bag, (intent.id, sentence))
                        if owner != intent.id and len(bag) > 1:
                            where = self.place("intents", intent.id, "utterances", tag, str(i))
                            what = f"intents {owner} and {intent.id} nearly share a sentence"
                            self.report.add(what, where, read=sentence, near=other)
                            break

    def secrets(self) -> None:
        """Sensitive slots spoken where the recording runs."""
        readbacks = {slot.confirm for slot in self.flow.slots.values()}
        for prompt, texts in self.flow.prompts.items():
            spoken = {name for words in texts.values() for name in names(words)}
            for name in sorted(spoken):
                slot = self.flow.slots.get(name)
                if slot and slot.sensitive and prompt not in readbacks:
                    self.report.add(
                        f"prompt {prompt} speaks the sensitive slot {name} into the recording",
                        self.place("prompts", prompt),
                    )

    def unused(self) -> None:
        used = {slot for intent in self.flow.intents.values() for slot in intent.slots}
        for slot in self.flow.slots.values():
            if slot.id not in used:
                self.report.add(f"slot {slot.id} is never asked for", slot.mark)

    def skills(self, agents: list[Staff]) -> None:
        """Queues whose skills nobody holds."""
        known = {skill for agent in agents for skill in agent.skills}
        for queue in self.flow.queues.values():
            if not any(all(a.skills.get(s, 0) >= level for s, level in queue.skills.items()) for a in agents):
                wanted = ", ".join(f"{skill} {level}" for skill, level in queue.skills.items()) or "any agent"
                near = next((n for s in queue.skills if s not in known and (n := nearest(s, known))), None)
                self.report.add(f"nobody can take calls of queue {queue.id}", queue.mark, read=wanted, near=near)
