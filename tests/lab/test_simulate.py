"""Conversations in text: the same interpreter, virtual time, and the shipped flows' own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.ports import Ranked
from gateway.flow.check import check, load
from gateway.flow.model import Case, Flow
from gateway.flow.turn import Enqueue, HangUp
from gateway.flow.understanding import lessons, serve
from gateway.lab.simulate import LikeExamples, Simulation, run_case, run_cases, sentence, simulate
from tests.flow.flows import Named, shipped


class Trained:
    """The flow's real intent model, called in this process."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.models = flow, serve({flow.id: lessons(flow)})

    def rank(self, text: str, language: str) -> Ranked:
        return self.models.rank(self.flow.id, text, language)


@pytest.mark.model
@pytest.mark.parametrize("name", ["bank", "shop"])
def test_shipped_flows_pass_their_own_tests(name: str) -> None:
    flow = shipped(name)
    assert len(flow.cases) >= 10
    assert [(case.name, wrong) for case, wrong in run_cases(flow, Trained(flow)) if wrong] == []


def play(name: str, *lines: str, language: str | None = "en-US") -> tuple[Simulation, list[str]]:
    talk = Simulation(shipped(name), Named())
    said = talk.begin(language)
    for line in lines:
        said += talk.turn(line)
    return talk, [sentence(s) for s in said]


def test_a_conversation_with_words_keys_and_silence() -> None:
    talk, said = play("bank", "intent:balance", "#4417", "", "")
    assert said[2:] == [
        "Please say or key in the last four digits of your card.",
        "Your balance is 1240.50 yuan.",
        "Is there anything else?",
        "Thank you for calling Harbour Bank. Goodbye.",
    ]
    assert isinstance(talk.ending, HangUp)


def test_keys_while_the_prompt_plays_and_hash() -> None:
    talk, said = play("shop", "!#11 55310278##")
    assert said[-2:] == ["Your order is being packed. It will arrive on 2026-11-20.", "Is there anything else?"]
    assert talk.state.path == ("root", "orders", "order_status")


def test_partial_words_act_before_the_sentence_ends() -> None:
    talk, _ = play("bank", "!my card was stolen")
    assert isinstance(talk.ending, Enqueue)
    assert talk.ending.emergency
    assert [n for n in talk.notes if n.kind == "matched"] == []


def test_virtual_time_needs_no_clock() -> None:
    talk, _ = play("bank", "", "", "")
    assert isinstance(talk.ending, Enqueue)
    assert talk.now.mono - 1000.0 == pytest.approx(24.1, abs=8)


def test_talking_through_callbacks() -> None:
    lines = iter(["maybe:loan", "yes"])
    shown: list[tuple[str, str]] = []
    ending = simulate(
        shipped("bank"), "en-US", lambda: next(lines), lambda kind, text: shown.append((kind, text)), Named()
    )
    assert isinstance(ending, Enqueue)
    assert ("en-US", "You are calling about a loan. Is that right?") in shown
    assert shown[-1] == ("end", "queue loans: confirmed: intent loan")
    kinds = [kind for kind, _ in shown]
    assert kinds.index("matched") < kinds.index("confirmed")


def test_hanging_up_in_the_middle() -> None:
    assert simulate(shipped("shop"), None, lambda: None, lambda kind, text: None) is None


def test_the_stand_in_ranker_knows_examples_and_what_is_like_them() -> None:
    flow = shipped("bank")
    ranker = LikeExamples(flow)
    for intent in flow.intents.values():
        for language in flow.languages:
            plain = next(u for u in intent.utterances[language] if not set("([|") & set(u))
            assert ranker.rank(plain, language).best[0] == intent.id
    assert ranker.rank("purple elephants dance", "en-US").best[1] < 0.5


def test_a_failing_case_says_what_was_wrong() -> None:
    case = Case(
        "x", "en-US", ("intent:loan",), {"queue": "cards", "end": "hangup", "said": "Bonjour", "language": "en-US"}
    )
    wrong = run_case(shipped("bank"), case, Named())
    assert wrong[:2] == ["queue: expected cards, was loans", "end: expected hangup, was queue"]
    assert wrong[2].startswith("said: expected 'Bonjour'")
    assert len(wrong) == 3


def test_the_flow_in_the_handbook_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "flows.md").read_text(encoding="utf-8")
    path = tmp_path / "taxi.yaml"
    path.write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    assert [str(finding) for finding in check(path)] == []
    flow = load(path)
    assert [wrong for _, wrong in run_cases(flow, LikeExamples(flow))] == [[]]
