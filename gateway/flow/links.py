"""Whether every name in a flow leads somewhere, with the near match where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.core.errors import Mark, nearest
from gateway.flow.fields import Report
from gateway.flow.model import Flow, Menu, Rung, Target
from gateway.flow.schema import ROLES
from gateway.flow.shapes import BARE_TARGETS
from gateway.flow.templates import TemplateError, names

SPOKEN = {
    "welcome": None,
    "ask": "said when an intent was guessed wrong, and after `anything else?` was answered with yes",
    "sorry_value": "said when an answer was not understood",
    "keys_only": "said when speech can't be recognized",
    "confirm": "said to ask whether {intent} was meant",
    "yes_no": "said when neither yes nor no was understood",
    "more": "said after a result: is there anything else?",
    "goodbye": "said before the end of the call",
    "emergency": "said when an emergency phrase was heard",
    "trouble": "said when an action failed",
    "language": "said in each other language at the start",
}
"""Prompts the interpreter says by name, with when."""

QUEUE_VALUES = {"position": ["position", "minutes"], "wait": ["position", "minutes"]}


class Links:
    """One pass over a flow's names."""

    def __init__(self, flow: Flow, report: Report) -> None:
        self.flow, self.report = flow, report

    def check(self) -> None:
        """Report every name that leads nowhere."""
        flow = self.flow
        if flow.start and flow.start not in flow.menus:
            self.report.unknown("menu", flow.start, flow.menus, flow.places.value("flow", "start"))
        self.targets()
        self.used_prompts()
        for intent in flow.intents.values():
            for slot in intent.slots:
                self.known("slot", slot, flow.slots, flow.places.value("intents", intent.id, "slots"))
        for menu in flow.menus.values():
            for name in menu.intents:
                self.known("intent", name, flow.intents, flow.places.value("menus", menu.id, "intents"))
            self.known("hours", menu.hours, flow.hours, flow.places.value("menus", menu.id, "hours"))
        for queue in flow.queues.values():
            self.known("hours", queue.hours, flow.hours, flow.places.value("queues", queue.id, "hours"))
        for action in flow.actions.values():
            if action.table and action.table.by:
                where = flow.places.value("actions", action.id, "table", "by")
                self.known("slot", action.table.by, flow.slots, where)
        self.case_names()
        self.prompt_names()

    def known(self, what: str, name: str | None, known: Iterable[str], where: Mark | None) -> None:
        """Report a name that is not defined; None and "" were never given."""
        if name and name not in known:
            self.report.unknown(what, name, known, where)

    def target(self, target: Target | None, where: Mark | None) -> None:
        """Report a target that leads nowhere."""
        if target is None or target.kind in BARE_TARGETS:
            return
        flow = self.flow
        places: Mapping[str, Iterable[str]] = {
            "menu": flow.menus, "intent": flow.intents, "action": flow.actions,
            "queue": flow.queues, "message": flow.queues, "say": flow.prompts,
        }  # fmt: skip
        known = places[target.kind]
        if target.name in known:
            return
        if target.kind == "intent":
            near = self.near_target(target.name)
            what = f"unknown intent or place {target.name}"
            self.report.add(what, target.mark or where, near=near, expected="an intent, menu:x, queue:x, back, repeat")
        else:
            self.report.unknown(
                "prompt" if target.kind == "say" else target.kind, target.name, known, target.mark or where
            )

    def near_target(self, name: str) -> str | None:
        """What a bare word probably meant: an intent, a word such as back, or another kind of place."""
        flow = self.flow
        near = nearest(name, [*flow.intents, *BARE_TARGETS])
        if near:
            return near
        for kind, known in (("menu", flow.menus), ("queue", flow.queues), ("action", flow.actions)):
            found = nearest(name, known)
            if found:
                return f"{kind}:{found}"
        return None

    def targets(self) -> None:
        flow = self.flow
        self.target(flow.defaults.human, flow.places.key("defaults") or Mark(flow.file))
        for target in flow.defaults.keys.values():
            self.target(target, None)
        for rung in (*flow.defaults.no_input, *flow.defaults.no_match):
            self.target(rung.goto, rung.mark)
        for intent in flow.intents.values():
            self.target(intent.goto, intent.mark)
        for menu in flow.menus.values():
            for target in menu.keys.values():
                self.target(target, menu.mark)
            self.target(menu.closed, menu.mark)
        for action in flow.actions.values():
            self.target(action.on_error, action.mark)
            self.target(action.then, action.mark)

    def used_prompts(self) -> None:
        """Prompts named by menus, slots, actions, queues and escalations, and those the interpreter says by name."""
        flow = self.flow
        uses = [("menus", m.id, key, name) for m in flow.menus.values() for key, name in _prompts_of_menu(m)]
        uses += [
            ("slots", s.id, key, name)
            for s in flow.slots.values()
            for key, name in (("ask", s.ask), ("confirm", s.confirm))
        ]
        uses += [("actions", a.id, "say", a.say) for a in flow.actions.values()]
        for section, owner, key, name in uses:
            self.known("prompt", name, flow.prompts, flow.places.value(section, owner, key))
        missing: dict[str, str] = {}
        for queue in flow.queues.values():
            for role in ROLES:
                if role in queue.say:
                    self.known(
                        "prompt", queue.say[role], flow.prompts, flow.places.value("queues", queue.id, "say", role)
                    )
                elif role not in flow.prompts:
                    missing[role] = "queues say it"
        for rung in (*flow.defaults.no_input, *flow.defaults.no_match):
            self.rung(rung)
        for name, when in SPOKEN.items():
            needed = when is not None and (name != "language" or len(flow.languages) > 1)
            if needed and name not in flow.prompts:
                missing[name] = when or ""
        self.missing(missing)

    def missing(self, names: dict[str, str]) -> None:
        """Report the prompts the flow must have and has not; `names`: prompt to when it is said."""
        where = self.flow.places.key("prompts")
        if len(names) == 1:
            ((name, why),) = names.items()
            self.report.add(f"prompt {name} is missing", where, expected=f"{name}: under prompts; {why}")
        elif names:
            self.report.add(f"{len(names)} prompts are missing", where, expected=", ".join(names))

    def rung(self, rung: Rung) -> None:
        if rung.say and rung.say != "keys":
            self.known("prompt", rung.say, [*self.flow.prompts, "keys"], rung.mark)

    def case_names(self) -> None:
        for case in self.flow.cases:
            self.known("language", case.language, self.flow.languages, case.mark)
            self.known("queue", case.expect.get("queue"), self.flow.queues, case.mark)
            self.known("intent", case.expect.get("intent"), self.flow.intents, case.mark)

    def prompt_names(self) -> None:
        """The {names} prompts speak: slots, results, and what queues give."""
        flow = self.flow
        known = {"intent", "position", "minutes", *flow.slots, *(n for a in flow.actions.values() for n in a.returns)}
        for prompt, texts in flow.prompts.items():
            for language, words in texts.items():
                where = flow.places.value("prompts", prompt, language)
                try:
                    for name in names(words):
                        if name not in known:
                            self.report.unknown(
                                f"name in prompt {prompt}:", "{" + name + "}", ["{" + k + "}" for k in known], where
                            )
                except TemplateError as problem:
                    self.report.add(f"prompt {prompt} in {language}: {problem}", where, read=words[:60])


def _prompts_of_menu(menu: Menu) -> list[tuple[str, str | None]]:
    return [("say", menu.say), ("help", menu.help), ("say_again", menu.say_again)]
