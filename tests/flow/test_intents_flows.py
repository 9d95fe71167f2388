"""The shipped flows understand callers, and none of the sentences that measure them stands in them."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from gateway.flow.background import sentences
from gateway.flow.bands import band
from gateway.flow.check import load
from gateway.flow.embedding import default_embedder
from gateway.flow.emergency import phrase_in
from gateway.flow.intents import IntentModel, lessons
from gateway.flow.model import Flow
from gateway.flow.sounds import content, plain
from gateway.flow.templates import expand

ROOT = Path(__file__).resolve().parents[2]
CALLERS = Path(os.environ.get("TRUNKLINE_SHARED") or ROOT.parent / "shared") / "callers"
FLOWS = ("bank", "shop")
LANGUAGES = ("en-US", "zh-CN")
EXCEPTIONS: frozenset[str] = frozenset()
"""Sentences that stand in both because there is no other way to say it. None so far."""

needs_callers = pytest.mark.skipif(
    not CALLERS.exists() and not os.environ.get("CI"), reason=f"{CALLERS} is absent: callers' sentences to measure with"
)


@pytest.fixture(scope="module", params=FLOWS)
def flow(request: pytest.FixtureRequest) -> Flow:
    return load(ROOT / "ivr_flows" / f"{request.param}.yaml")


def callers(name: str, language: str) -> list[tuple[str, str]]:
    with (CALLERS / f"{name}.{language}.tsv").open(encoding="utf-8", newline="") as table:
        return [(r["intent"], r["text"]) for r in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)]


@needs_callers
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_measuring_sentence_stands_in_a_flow_or_the_background(flow: Flow, language: str) -> None:
    measured = {
        form(text, language) for name in FLOWS for _, text in callers(name, language) for form in (plain, content)
    }
    said, unsaid = lessons(flow)
    taught = [v for groups in said[language].values() for variants in groups for v in variants]
    written = {
        form(t, language) for t in [*taught, *unsaid[language], *sentences(language)] for form in (plain, content)
    }
    assert (written & measured) - {""} <= EXCEPTIONS


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_intent_has_thirty_examples_and_none_twice(flow: Flow, language: str) -> None:
    for name, intent in flow.intents.items():
        said = [plain(v, language) for t in intent.utterances[language] for v in expand(t)]
        assert len(said) == len(set(said)) >= 30, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_background_is_large_and_without_doubles(language: str) -> None:
    said = [plain(s, language) for s in sentences(language)]
    assert len(said) == len(set(said)) >= 400


@needs_callers
@pytest.mark.model
@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", LANGUAGES)
def test_callers_are_understood(flow: Flow, language: str) -> None:
    said, unsaid = lessons(flow)
    model = IntentModel.fit(said[language], sentences(language), language, default_embedder(), unsaid[language])
    at = flow.defaults
    inside: list[tuple[bool, bool]] = []
    outside: list[bool] = []
    for intent, text in callers(flow.id, language):
        ranked = model.rank(text)
        rejected = band(ranked, at.accept, at.confirm, at.margin) == "reject"
        if intent == "-":
            outside.append(rejected)
        else:
            inside.append((ranked.best[0] == intent and not rejected, rejected))
    assert sum(right for right, _ in inside) >= 0.9 * len(inside)
    assert sum(rejected for _, rejected in inside) <= 0.05 * len(inside)
    assert sum(outside) >= 0.8 * len(outside)


EMERGENCIES = {
    "en-US": [
        "help my card was stolen",
        "somebody stole my wallet on the train and my bank card is inside",
        "um someone is using my card right now",
        "i think my account has been hacked",
        "there's an unauthorized charge on my account",
        "i've been scammed",
        "my money has been stolen",
    ],
    "zh-CN": [
        "等一下我的卡被盗刷了",
        "我的卡被倒刷了",
        "我的卡被人盗了",
        "我的钱被转走了",
        "有人在用我的卡",
        "我遇到诈骗了",
        "小偷偷了我的钱包",
    ],
}
NO_EMERGENCIES = {
    "en-US": [
        "my card was not stolen",
        "what happens if my card is stolen",
        "i want to talk about a loan",
        "steal of a deal",
    ],
    "zh-CN": ["我的卡没有被盗", "如果卡被盗怎么办", "我想刷卡", "我收到刷卡机了"],
}


def templates(flow: Flow, language: str) -> list[str]:
    return [t for intent in flow.intents.values() for t in intent.emergency.get(language, ())]


@pytest.mark.parametrize("language", LANGUAGES)
def test_emergencies_are_heard_in_the_bank(language: str) -> None:
    phrases = templates(load(ROOT / "ivr_flows" / "bank.yaml"), language)
    assert [t for t in EMERGENCIES[language] if not phrase_in(t, phrases)] == []
    assert [t for t in NO_EMERGENCIES[language] if phrase_in(t, phrases)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_no_emergency_does_not_sound_like_one(flow: Flow, language: str) -> None:
    urgent = {"fraud", "card_lost", "payment_problem"}
    phrases = templates(flow, language)
    ordinary = [v for n, gs in lessons(flow)[0][language].items() if n not in urgent for g in gs for v in g]
    assert [t for t in [*ordinary, *sentences(language)] if phrase_in(t, phrases)] == []
