"""A flow as a picture: text for Graphviz or Mermaid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from gateway.flow.flatten import choices
from gateway.flow.model import Flow, Target

Edge = tuple[str, str, str]
"""From, to, and what leads there (a key, or "")."""

_SHAPES = {"menu": "box", "intent": "oval", "action": "hexagon", "queue": "house", "say": "note", "end": "doublecircle"}
_MERMAID = {
    "menu": "[{}]",
    "intent": "([{}])",
    "action": "{{{{{}}}}}",
    "queue": "[/{}/]",
    "say": ">{}]",
    "end": "(({}))",
}


def edges(flow: Flow) -> Iterator[Edge]:
    """Every step a caller can take from the start, by key, and where each intent and action leads."""
    for menu in choices(flow):
        for key, target in flow.menus[menu].keys.items():
            yield f"menu:{menu}", node(target), key
    for intent in flow.intents.values():
        yield f"intent:{intent.id}", node(intent.goto), ", ".join(intent.slots)
    for action in flow.actions.values():
        yield f"action:{action.id}", node(action.then), ""
        yield f"action:{action.id}", node(action.on_error), "on error"


def node(target: Target) -> str:
    """The name of the node a target stands for."""
    if target.kind == "message":
        return f"queue:{target.name}"
    return f"{target.kind}:{target.name}" if target.name else f"end:{target.kind}"


def draw(flow: Flow, form: Literal["dot", "mermaid"] = "dot") -> str:
    """The flow as Graphviz DOT or as a Mermaid flowchart. Ovals are intents, which can be said anywhere."""
    lines = list(dict.fromkeys(edges(flow)))
    nodes = list(dict.fromkeys([end for edge in lines for end in edge[:2]]))
    if form == "dot":
        body = [f'  "{n}" [label="{n.partition(":")[2]}", shape={_SHAPES[n.partition(":")[0]]}];' for n in nodes]
        body += [f'  "{a}" -> "{b}"' + (f' [label="{label}"];' if label else ";") for a, b, label in lines]
        return "\n".join([f'digraph "{flow.id}" {{', "  rankdir=LR;", *body, "}"]) + "\n"
    ids = {n: f"n{i}" for i, n in enumerate(nodes)}
    body = [f"  {ids[n]}" + _MERMAID[n.partition(":")[0]].format(f'"{n.partition(":")[2]}"') for n in nodes]
    body += [f"  {ids[a]} -->" + (f'|"{label}"| ' if label else " ") + ids[b] for a, b, label in lines]
    return "\n".join(["flowchart LR", *body]) + "\n"
