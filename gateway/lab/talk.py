"""`trunkline simulate`: a person types what a caller would say, and reads what the flow answers."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from gateway.core.ports import Ranked
from gateway.flow import understanding
from gateway.flow.model import Flow
from gateway.lab.simulate import Understanding, simulate


class _Ranker:
    """The live intent models of one flow."""

    def __init__(self, flow: Flow, language: str) -> None:
        self.flow = flow.id
        self.model = understanding.serve({flow.id: understanding.lessons(flow, (language,))})

    def rank(self, text: str, language: str) -> Ranked:
        if language not in self.model.flows[self.flow].models:  # the caller changed the language
            return Ranked()
        return self.model.rank(self.flow, text, language)


def talk(flow: Flow, language: str, console: Console) -> None:
    """Runs until the flow ends the call or the person ends the input."""
    with console.status("Learning the flow's sentences"):
        ranker: Understanding = _Ranker(flow, language)
    console.print("[dim]Type what a caller says; #1 presses a key; an empty line is silence; Ctrl-D hangs up.[/]")

    def ask() -> str | None:
        try:
            return console.input("[bold]caller:[/] ")
        except (EOFError, KeyboardInterrupt):
            return None

    def answer(kind: str, text: str) -> None:
        style = "" if kind in flow.languages else "dim"
        console.print(f"[cyan]{kind:>8}[/] {escape(text)}", style=style, highlight=False)

    ending = simulate(flow, language, ask, answer, ranker)
    console.print(f"[bold]{escape(str(ending))}[/]" if ending else "[bold]the caller hung up[/]")
