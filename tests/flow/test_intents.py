"""Intent models on small flows: what a ranking promises, without any model file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ConfigError
from gateway.core.ports import Ranked
from gateway.flow.background import sentences
from gateway.flow.bands import band
from gateway.flow.intents import FlowUnderstanding, IntentModel, serve
from gateway.lab.understand import understand

PIZZA = {
    "order": [
        "i want a pizza",
        "order two pizzas",
        "can i order food",
        "one large pizza to go",
        "i'd like to order dinner",
    ],
    "book": [
        "book a table",
        "a table for four",
        "reserve a table tonight",
        "do you have a free table",
        "book for sunday",
    ],
    "hours": ["when do you open", "are you open today", "opening hours", "how late are you open", "when do you close"],
}
NOODLES = {
    "order": ["我要点一份面条", "点两份炒饭", "我想订外卖", "来一份牛肉面", "点餐"],
    "book": ["我要订位子", "订一张桌子", "今晚有座位吗", "预订四个人的座位", "留个包间"],
    "hours": ["几点开门", "营业时间", "今天营业吗", "几点关门", "周末开不开"],
}


@pytest.fixture(scope="module")
def english() -> IntentModel:
    return IntentModel.fit(PIZZA, sentences("en-US"), "en-US")


@pytest.fixture(scope="module")
def mandarin() -> IntentModel:
    return IntentModel.fit(NOODLES, sentences("zh-CN"), "zh-CN")


@pytest.mark.parametrize(
    ("text", "intent"),
    [("could i book a table please", "book"), ("two large pizzas", "order"), ("When do you open tomorrow?", "hours")],
)
def test_english_sentences_nobody_wrote_down(english: IntentModel, text: str, intent: str) -> None:
    assert english.rank(text).best[0] == intent


@pytest.mark.parametrize(
    ("text", "intent"),
    [("我想点牛肉面", "order"), ("帮我订个包间", "book"), ("你们几点营业", "hours"), ("来一份牛肉棉", "order")],
)
def test_mandarin_sentences_nobody_wrote_down(mandarin: IntentModel, text: str, intent: str) -> None:
    assert mandarin.rank(text).best[0] == intent


def test_what_nobody_serves_scores_lower_than_what_is_served(english: IntentModel) -> None:
    served = [english.rank(t).best[1] for t in ("book a table for two", "order a pizza", "when are you open")]
    unserved = [english.rank(t).best[1] for t in ("my dog ran away", "what is the weather like", "turn left here")]
    assert min(served) > max(unserved)


@given(st.text(max_size=60))
def test_any_text_gets_every_intent_once_best_first(text: str) -> None:
    ranked = SHARED_MODEL.rank(text)
    scores = [score for _, score in ranked.scores]
    assert {name for name, _ in ranked.scores} == set(PIZZA)
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= s <= 1 for s in scores)
    assert sum(scores) <= 1.001


SHARED_MODEL = IntentModel.fit(PIZZA, ["hello", "what is the weather", "my dog is sick"], "en-US")


@pytest.mark.parametrize("text", ["", "  ", "?!", "。"])
def test_no_words_mean_no_intent(english: IntentModel, text: str) -> None:
    assert english.rank(text).best[1] == 0
    assert band(english.rank(text), 0.8, 0.5, 0.15) == "reject"


def test_training_is_deterministic(english: IntentModel) -> None:
    again = IntentModel.fit(PIZZA, sentences("en-US"), "en-US")
    assert again.rank("a table for pizza today") == english.rank("a table for pizza today")


def test_background_that_the_flow_serves_is_left_out() -> None:
    background = [*sentences("en-US"), "i want a pizza", "book a table"]
    model = IntentModel.fit(PIZZA, background, "en-US")
    unserved = {text for text, intent, _ in model.held_out if intent == "-"}
    assert "i want a pizza" not in unserved
    assert "my dog needs a vaccination" in unserved


def test_a_negative_example_is_obeyed_however_near_it_is() -> None:
    said = "can i order food"
    plain = IntentModel.fit({**PIZZA, "order": PIZZA["order"][:2] + PIZZA["order"][3:]}, sentences("en-US"), "en-US")
    taught = IntentModel.fit(
        {**PIZZA, "order": PIZZA["order"][:2] + PIZZA["order"][3:]}, sentences("en-US"), "en-US", negative=[said]
    )
    assert dict(taught.rank(said).scores)["order"] < dict(plain.rank(said).scores)["order"]


def test_variants_of_a_template_weigh_as_one_example() -> None:
    many = {**PIZZA, "hours": [*PIZZA["hours"], [f"are you open on {day}" for day in ("monday", "tuesday", "friday")]]}
    model = IntentModel.fit(many, sentences("en-US"), "en-US")
    assert model.rank("are you open on thursday").best[0] == "hours"


@pytest.mark.parametrize("examples", [{}, {"one": ["a thing"]}, {"one": ["a thing"], "two": []}])
def test_a_flow_without_two_taught_intents_is_refused(examples: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigError, match="two intents"):
        IntentModel.fit(examples, ["hello"], "en-US")


def test_a_language_without_background_still_works() -> None:
    model = IntentModel.fit({"order": ["pizza bestellen", "eine pizza bitte"], "book": ["tisch buchen"]}, [], "de-DE")
    assert model.rank("ich möchte einen tisch buchen").best[0] == "book"


def test_a_flow_understands_its_languages_only() -> None:
    flow = FlowUnderstanding({"en-US": PIZZA, "zh-CN": NOODLES})
    assert flow.rank("book a table", "en-US").best[0] == "book"
    assert flow.rank("我要订位子", "zh-CN").best[0] == "book"
    with pytest.raises(ConfigError, match="en-US, zh-CN"):
        flow.rank("pizza", "fr-FR")


def test_background_falls_back_to_a_sister_tag() -> None:
    assert sentences("en-GB") == sentences("en-US") != []
    assert sentences("xx-XX") == []


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=4).map(lambda s: sorted(s, reverse=True)),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 0.5),
)
def test_bands_follow_the_thresholds(scores: list[float], one: float, other: float, margin: float) -> None:
    accept, confirm = max(one, other), min(one, other)
    ranked = Ranked(tuple((f"i{n}", s) for n, s in enumerate(scores)))
    lead = scores[0] - (scores[1] if len(scores) > 1 else 0.0)
    expected = "reject" if scores[0] < confirm else "accept" if scores[0] >= accept and lead >= margin else "confirm"
    assert band(ranked, accept, confirm, margin) == expected


def test_nothing_ranked_is_rejected() -> None:
    assert band(Ranked(), 0.0, 0.0, 0.0) == "reject"


def test_understand_answers_each_line_that_holds_words(english: IntentModel) -> None:
    answers = list(understand(["book a table\n", "\n", "my dog ran away\n"], english.rank, (0.8, 0.5, 0.15)))
    assert [a["text"] for a in answers] == ["book a table", "my dog ran away"]
    assert set(answers[0]) == {"text", "intent", "score", "band", "runner_up"}
    assert answers[0]["intent"] == "book"
    assert answers[1]["band"] == "reject"


@pytest.mark.model
def test_the_factory_of_the_worker_process_ranks_by_meaning() -> None:
    flow = serve({"en-US": PIZZA})
    assert flow.rank("we're hungry and would like something brought to our house", "en-US").best[0] == "order"
