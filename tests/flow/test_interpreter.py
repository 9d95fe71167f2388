"""What callers meet: the interpreter driven by events, on the shipped flows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.core.clock import Moment
from gateway.core.ports import Ranked
from gateway.flow import interpreter
from gateway.flow.model import Flow
from gateway.flow.state import State
from gateway.flow.turn import (
    ActionDone,
    Enqueue,
    FlowCommand,
    FlowEvent,
    HangUp,
    Heard,
    Key,
    Listen,
    Note,
    PartialHeard,
    PauseRecording,
    PromptDone,
    ResumeRecording,
    RunAction,
    Say,
    SpeechBegan,
    SpeechDropped,
    Started,
    StopListening,
    TakeMessage,
    Text,
    Tick,
    Unheard,
    Value,
)
from tests.flow.flows import perhaps, shipped, sure

MONDAY = datetime(2026, 11, 16, 2, 0, tzinfo=UTC)


class Talk:
    """Sends events and remembers what came back, with a clock that moves only when told."""

    def __init__(
        self, name: str = "bank", language: str | None = "en-US", flow: Flow | None = None, **started: str
    ) -> None:
        self.flow = flow or shipped(name)
        self.now = Moment(100.0, MONDAY)
        self.state: State = interpreter.start(self.flow)
        self.all: list[FlowCommand] = []
        self.last: list[FlowCommand] = []
        self.send(Started(language, **started))

    def send(self, *events: FlowEvent, after: float = 0.1) -> Talk:
        for event in events:
            self.now = self.now.plus(after)
            self.state, self.last = interpreter.step(self.flow, self.state, event, self.now)
            self.all += self.last
        return self

    def greeted(self) -> Talk:
        return self.send(PromptDone(), PromptDone())

    def keys(self, digits: str) -> Talk:
        return self.send(*(Key(d) for d in digits))

    def silence(self) -> Talk:
        if self.state.speaking:
            self.send(PromptDone())
        assert self.state.deadline is not None
        return self.send(Tick(), after=self.state.deadline - self.now.mono)

    def get(self, kind: type) -> list:  # type: ignore[type-arg]
        return [c for c in self.last if isinstance(c, kind)]

    @property
    def prompts(self) -> list[str]:
        return [s.prompt for s in self.get(Say)]

    def notes(self, kind: str) -> list[dict[str, object]]:
        return [c.data for c in self.all if isinstance(c, Note) and c.kind == kind]


def test_notice_then_welcome_with_barge_in_and_listening() -> None:
    talk = Talk(language=None)
    (notice,) = talk.get(Say)
    assert (notice.prompt, notice.barge_in, notice.keys_stop) == ("recording", False, False)
    assert talk.get(Listen) == []
    talk.send(PromptDone())
    offer, welcome = talk.get(Say)
    assert (offer.prompt, offer.language, offer.queue) == ("language", "zh-CN", False)
    assert (welcome.prompt, welcome.language, welcome.barge_in, welcome.queue) == ("welcome", "en-US", True, True)
    (listen,) = talk.get(Listen)
    assert (listen.expect, listen.language, listen.sensitive) == ("menu", "en-US", False)
    assert "your balance" in listen.hints


def test_language_by_number_and_by_key() -> None:
    assert Talk(language="zh-CN").state.language == "zh-CN"
    talk = Talk(language=None, dialled="1002").send(PromptDone())
    assert [s.language for s in talk.get(Say)] == ["zh-CN"]
    talk = Talk(language=None).greeted().keys("8")
    assert [(s.prompt, s.language) for s in talk.get(Say)] == [("welcome", "zh-CN")]
    assert talk.get(Listen)[0].language == "zh-CN"
    assert talk.notes("language")[-1] == {"language": "zh-CN"}
    assert talk.keys("8").state.language == "en-US"
    assert Talk(language="fr-FR").state.language == "en-US"


@pytest.mark.parametrize(
    ("language", "words", "then"),
    [("en-US", "Mandarin please", "zh-CN"), ("en-US", "can i talk in chinese", "zh-CN"),
     ("en-US", "我要说中文", "zh-CN"),
     ("zh-CN", "请用英语", "en-US"), ("zh-CN", "English, please!", "en-US"), ("en-US", "english please", "en-US"),
     ("en-US", "is the chinese new year a holiday", "en-US")],
)  # fmt: skip
def test_language_by_word(language: str, words: str, then: str) -> None:
    talk = Talk(language=language).greeted().send(Heard(words))
    assert talk.state.language == then
    assert talk.prompts == (["sorry"] if then == language else ["welcome"])


def test_accepted_intent_goes_straight_to_its_queue() -> None:
    talk = Talk().greeted().send(Heard("i would like a car loan", sure("loan")))
    assert talk.prompts == ["hold"]
    assert talk.get(Enqueue) == [Enqueue("loans", "loan", {}, "said: intent loan at 0.95")]
    assert isinstance(talk.last[-2], StopListening)
    assert talk.state.phase == "over"
    assert talk.state.deadline is None
    assert talk.notes("matched")[0]["band"] == "accept"


def test_unsure_intent_is_confirmed_by_word_or_key() -> None:
    for answer in (Heard("yes please"), Key("1"), Heard("对的")):
        talk = Talk().greeted().send(Heard("about a loan maybe", perhaps("loan")))
        (say,) = talk.get(Say)
        assert say.segments == (Text("You are calling about a loan. Is that right?"),)
        assert talk.get(Listen)[0].expect == "yesno"
        assert talk.send(answer).get(Enqueue)[0].queue == "loans"
    for answer in (Heard("no"), Key("2"), Heard("不是")):
        talk = Talk().greeted().send(Heard("about a loan maybe", perhaps("loan")), answer)
        assert talk.prompts == ["ask"]
        assert talk.state.phase == "menu"
    talk = Talk().greeted().send(Heard("a loan maybe", perhaps("loan")), Heard("no i lost my card", sure("card_lost")))
    assert talk.get(Enqueue)[0].queue == "fraud"


def test_two_close_intents_are_confirmed_though_the_best_is_high() -> None:
    close = Ranked((("card_bill", 0.85), ("card_activate", 0.8)))
    talk = Talk().greeted().send(Heard("my card", close))
    assert talk.prompts == ["confirm"]


def test_somehow_asking_for_a_person_is_never_questioned() -> None:
    for before in ([], [Heard("x", sure("balance"))], [Heard("x", perhaps("loan"))]):
        talk = Talk().greeted().send(*before, Heard("i'd rather not talk to a machine", perhaps("agent")))
        assert talk.get(Enqueue)[0].queue == "general", before


def test_an_emergency_queue_is_one_however_it_was_reached() -> None:
    for way in (Key("6"), Heard("payments i never made", sure("fraud")), Heard("i lost my card", sure("card_lost"))):
        talk = Talk().greeted().send(way)
        assert talk.prompts == ["emergency"]
        assert (talk.get(Enqueue)[0].queue, talk.get(Enqueue)[0].emergency) == ("fraud", True)


def test_confirming_never_goes_round_for_ever() -> None:
    talk = Talk().greeted().send(Heard("a loan maybe", perhaps("loan")))
    for _ in range(3):
        talk.send(Heard("purple"))
    assert talk.get(Enqueue)[0].queue == "general"
    talk = Talk().greeted()
    for _ in range(4):
        talk.send(Heard("hm", perhaps("loan")), Heard("no"))
    assert talk.all[-1] == Enqueue("general", None, {}, "not understood")


@pytest.mark.parametrize(
    "words",
    ["agent", "Representative!", "i want to talk to a real person", "um can i speak to someone please", "operator",
     "a human please", "转人工", "人工", "我要人工服务", "嗯帮我接个人工客服", "请给我转人工。", "找你们客服"],
)  # fmt: skip
def test_words_for_a_person_always_reach_one(words: str) -> None:
    for before in (
        [],
        [Heard("x", perhaps("loan"))],
        [Heard("x", sure("balance"))],
        [Heard("x", sure("open_account")), Heard("tomorrow")],
    ):
        talk = Talk().greeted().send(*before, Heard(words))
        assert talk.get(Enqueue)[0].queue == "general", before


@pytest.mark.parametrize(
    "words",
    ["your agent was rude to me", "an agent told me to call", "人工智能是什么", "我不要人工", "person of interest"],
)
def test_a_mention_of_an_agent_is_no_wish_for_one(words: str) -> None:
    assert Talk().greeted().send(Heard(words)).get(Enqueue) == []


@pytest.mark.parametrize(
    "words", ["repeat that please", "say that again", "pardon", "再说一遍", "没听清", "请重复一遍"]
)
def test_repeat_by_word_and_key(words: str) -> None:
    talk = Talk().greeted().keys("2")
    said = [c for c in talk.last if isinstance(c, Say)]
    assert [c for c in talk.send(Heard(words)).last if isinstance(c, Say)] == said
    assert [c for c in talk.keys("9").last if isinstance(c, Say)] == said
    assert len(talk.get(Listen)) == 1


def test_repeat_tells_a_result_once_more() -> None:
    talk = Talk().greeted().keys("13").send(ActionDone("exchange_rate", {"rate": "7.12"})).keys("9")
    assert talk.prompts == ["rate_is", "more"]
    assert [s.queue for s in talk.get(Say)] == [False, True]


def test_tomorrow_is_reckoned_where_the_flow_is_at_home() -> None:
    talk = Talk()
    talk.now = Moment(100.0, datetime(2026, 11, 16, 20, 0, tzinfo=UTC))  # 04:00 on the 17th in Shanghai
    talk.greeted().send(Heard("can i open an account tomorrow", sure("open_account")))
    assert talk.get(Say)[0].segments[0] == Value("date", "2026-11-18")


def test_back_walks_the_menus_up() -> None:
    talk = Talk().greeted().keys("23")
    assert talk.state.menu == "card_service"
    assert talk.keys("*").state.menu == "cards"
    assert talk.send(Heard("go back")).state.menu == "root"
    assert talk.send(Heard("返回")).state.menu == "root"
    talk.send(Heard("open an account", sure("open_account"))).keys("*")
    assert (talk.state.phase, talk.state.menu, talk.state.intent) == ("menu", "root", None)


def test_keys_walk_three_levels_and_reach_a_person() -> None:
    talk = Talk().greeted().keys("231")
    assert talk.get(Enqueue)[0].intent == "card_activate"
    assert talk.state.path == ("root", "cards", "card_service", "card_activate")
    assert Talk().greeted().keys("0").get(Enqueue)[0].queue == "general"
    assert Talk().greeted().keys("20").get(Enqueue)[0].queue == "general"


def test_unknown_key_gets_the_keys_read_out() -> None:
    talk = Talk().greeted().keys("7")
    assert talk.prompts == ["sorry"]
    assert talk.keys("7").prompts == ["root_keys"]
    assert talk.keys("7").get(Enqueue)[0].queue == "general"
    assert Talk().greeted().keys("#").last == []


def test_keys_typed_ahead_skip_every_prompt() -> None:
    talk = Talk("shop")
    talk.keys("1155310278#")
    assert talk.get(Say) == []
    assert talk.state.keys == "1155310278#"
    talk.send(PromptDone())
    assert talk.get(Say) == []
    assert talk.get(RunAction) == [RunAction("track", {"order_no": "55310278"})]
    assert talk.state.path == ("root", "orders", "order_status")
    talk.send(ActionDone("track", {"status": "packed", "arrives": "2026-11-20"}))
    assert talk.get(Say)[0].segments == (
        Text("Your order is being packed. It will arrive on "), Value("date", "2026-11-20"), Text("."),
    )  # fmt: skip
    assert talk.prompts == ["status_is", "more"]
    assert talk.get(Say)[1].queue


def test_keys_during_a_prompt_answer_it_and_the_rest_waits_in_order() -> None:
    talk = Talk("shop").greeted().keys("1").keys("1")
    assert talk.prompts == ["ask_order"]
    for i, digit in enumerate("7026441"):
        talk.keys(digit)
        assert talk.state.digits == "7026441"[: i + 1]
    talk.keys("9")
    assert talk.get(RunAction)[0].slots == {"order_no": "70264419"}
    talk.keys("#2")  # kept while the action runs
    assert talk.last == []
    talk.send(ActionDone("track", {"status": "shipped", "arrives": "2026-11-18"}))
    assert talk.prompts == ["status_is", "goodbye"]
    assert talk.get(HangUp) != []


def test_a_wrong_key_drops_what_was_typed_ahead() -> None:
    talk = Talk("shop").keys("9921").send(PromptDone())
    assert talk.state.phase in ("menu", "slot")
    talk = Talk("shop").keys("711").send(PromptDone())
    assert talk.prompts == ["sorry"]
    assert talk.state.keys == ""


def test_digits_by_key_end_by_length_hash_or_a_pause() -> None:
    talk = Talk("shop").greeted().keys("11").keys("123#")
    assert talk.prompts == ["sorry_value", "ask_order"]
    talk.keys("5531")
    assert talk.state.deadline == pytest.approx(talk.now.mono + talk.flow.defaults.key_gap_s)
    talk.silence()
    assert talk.prompts == ["sorry_value", "ask_order"]
    talk.keys("123*55310278")
    assert talk.get(RunAction)[0].slots == {"order_no": "55310278"}


def test_spoken_digits_are_read_back_and_can_be_corrected() -> None:
    talk = Talk("shop").greeted().send(Heard("where is my parcel", sure("order_status")))
    (listen,) = talk.get(Listen)
    assert (listen.expect, listen.length, listen.silence_ms) == ("digits", 8, 1500)
    talk.send(Heard("seven zero two six four four one nine"))
    assert talk.get(Say)[0].segments == (Value("digits", "70264419"), Text(". Is that right?"))
    talk.send(Heard("no it's seven zero two six four four one eight"))
    assert talk.get(Say)[0].segments[0] == Value("digits", "70264418")
    assert talk.send(Heard("yes")).get(RunAction)[0].slots == {"order_no": "70264418"}


def test_digits_dictated_in_two_breaths() -> None:
    talk = Talk("shop").greeted().keys("11").send(PromptDone(), Heard("seven zero two six"))
    assert talk.get(Say) == []
    assert talk.get(Listen)[0].length == 4
    talk.send(SpeechBegan(), Heard("four four one nine"))
    assert talk.get(Say)[0].segments[0] == Value("digits", "70264419")
    talk = Talk("shop").greeted().keys("11").send(PromptDone(), Heard("7 0 2 6 4 4 1 9 5"))
    assert talk.prompts == ["sorry_value", "ask_order"]
    talk = Talk("shop").greeted().keys("11").send(PromptDone(), Heard("seven zero two six")).silence()
    assert talk.prompts == ["sorry_value", "ask_order"]


def test_a_value_in_the_first_sentence_is_not_asked_for_again() -> None:
    talk = (
        Talk("shop")
        .greeted()
        .send(Heard("where is order five five three one zero two seven eight", sure("order_status")))
    )
    assert talk.prompts == ["order_right"]
    assert talk.send(Heard("right")).get(RunAction)[0].slots == {"order_no": "55310278"}
    talk = Talk("shop", "zh-CN").greeted().send(Heard("订单55310278到哪了", perhaps("order_status")))
    assert talk.prompts == ["confirm"]
    assert talk.send(Heard("是的")).prompts == ["order_right"]


def test_slot_attempts_end_at_a_person() -> None:
    talk = Talk("shop").greeted().keys("11")
    talk.send(Heard("what number"), Heard("i have no idea"))
    assert talk.prompts == ["sorry_value", "ask_order"]
    talk.send(Heard("really"))
    assert talk.get(Enqueue)[0].queue == "general"
    assert talk.get(Enqueue)[0].intent == "order_status"
    talk = Talk("shop").greeted().keys("11")
    for _ in range(3):
        talk.send(Heard("five five three one zero two seven eight"), Heard("no"))
    assert talk.get(Enqueue)[0].queue == "general"


def test_another_intent_can_be_said_instead_of_an_answer() -> None:
    talk = Talk("shop").greeted().keys("11").send(Heard("i want my money back", sure("return_refund")))
    assert talk.prompts == ["ask_opened"]
    assert talk.send(Heard("no it's still closed")).get(Enqueue) == [
        Enqueue("aftersales", "return_refund", {"opened": "no"}, "intent return_refund")
    ]


def test_sensitive_slot_pauses_the_recording_and_is_masked() -> None:
    talk = Talk().greeted().send(Heard("what is left in my account", sure("balance")))
    assert isinstance(talk.last[0], PauseRecording)
    assert talk.get(Listen)[0].sensitive
    talk.send(Heard("four four one"))
    assert talk.get(PauseRecording) == []
    talk.send(Heard("uh purple"), Heard("four four one seven"))
    assert isinstance(talk.last[0], ResumeRecording)
    assert talk.get(RunAction) == [RunAction("balance", {"card_last4": "4417"})]
    assert "4417" not in str([c for c in talk.all if isinstance(c, Note)])
    assert "purple" not in str([c for c in talk.all if isinstance(c, Note)])
    assert talk.notes("filled") == [{"slot": "card_last4", "value": "****", "by": "speech"}]


def test_a_sensitive_value_read_back_is_marked_so() -> None:
    flow = shipped("bank")
    slots = {**flow.slots, "card_last4": replace(flow.slots["card_last4"], confirm="visit_right")}
    prompts = {
        **flow.prompts,
        "visit_right": {"en-US": "{card_last4}. Is that right?", "zh-CN": "{card_last4}，对吗？"},
    }
    talk = Talk(flow=replace(flow, slots=slots, prompts=prompts)).greeted()
    talk.send(Heard("balance", sure("balance")), Heard("four four one seven"))
    assert [s.sensitive for s in talk.get(Say)] == [True]
    assert [s.sensitive for s in talk.send(Heard("no")).get(Say)] == [False, False]
    assert talk.get(ResumeRecording) == []
    assert isinstance(talk.keys("4417").last[0], ResumeRecording)


def test_sensitive_value_in_passing_is_masked() -> None:
    talk = Talk().greeted().send(Heard("balance of my card ending four four one seven please", sure("balance")))
    assert talk.get(RunAction)[0].slots == {"card_last4": "4417"}
    assert "four four" not in str(talk.all)


def test_leaving_a_sensitive_slot_resumes_the_recording() -> None:
    for leave in (Heard("agent"), Key("*"), Heard("my card was stolen"), Heard("a loan", sure("loan"))):
        talk = Talk().greeted().send(Heard("balance", sure("balance")))
        talk.send(leave)
        assert isinstance(talk.last[0], ResumeRecording), leave


@pytest.mark.parametrize(
    ("language", "words"),
    [("en-US", "hold on my card was stolen"), ("zh-CN", "等一下我的卡被盗刷了"), ("en-US", "我的卡被盗刷")],
)
def test_emergency_mid_prompt_on_a_partial(language: str, words: str) -> None:
    talk = Talk(language=language).send(PromptDone())
    assert talk.state.speaking
    talk.send(SpeechBegan(), PartialHeard(words))
    assert talk.prompts == ["emergency"]
    (enqueue,) = talk.get(Enqueue)
    assert (enqueue.queue, enqueue.intent, enqueue.emergency) == ("fraud", "fraud", True)
    assert talk.send(Heard(words, sure("balance"))).last == []


@pytest.mark.parametrize(
    ("language", "words"),
    [("en-US", "my card was not stolen"), ("en-US", "no my card isn't stolen"),
     ("en-US", "if my card was stolen what would you do"),
     ("zh-CN", "我的卡没有被盗刷"), ("zh-CN", "卡没被盗"), ("zh-CN", "要是卡被盗刷怎么办")],
)  # fmt: skip
def test_negated_or_supposed_emergencies_are_none(language: str, words: str) -> None:
    talk = Talk(language=language).greeted().send(PartialHeard(words), Heard(words))
    assert talk.get(Enqueue) == []


def test_emergency_wins_in_every_phase_and_outside_hours() -> None:
    for before in ([], [Heard("x", sure("balance"))], [Heard("x", perhaps("loan"))], [Key("1"), Key("2")]):
        talk = Talk().greeted().send(*before, Heard("somebody hacked in my account was hacked", sure("loan")))
        assert talk.get(Enqueue)[0].emergency


def test_silence_escalates_to_a_person() -> None:
    talk = Talk().send(PromptDone())
    assert talk.state.speaking
    talk.send(Tick(), after=10.0)
    assert talk.last == []  # no silence is counted while a prompt plays
    talk.send(PromptDone())
    assert talk.state.deadline == pytest.approx(talk.now.mono + 5.0)
    assert talk.silence().prompts == ["again"]
    assert talk.silence().prompts == ["root_keys"]
    assert talk.silence().get(Enqueue)[0].queue == "general"
    assert [n["count"] for n in talk.notes("no_input")] == [1, 2, 3]


def test_speech_stops_the_clock_of_silence() -> None:
    talk = Talk().greeted()
    talk.send(SpeechBegan(), Tick(), after=4.0)
    assert talk.get(Say) == []
    assert talk.state.deadline is not None
    talk.send(SpeechDropped(), after=4.0)
    assert talk.state.deadline == pytest.approx(talk.now.mono + 5.0)
    talk.send(SpeechBegan(), PromptDone(interrupted=True))
    assert talk.state.deadline is not None
    assert talk.state.deadline > talk.now.mono + 10


def test_no_match_escalates_and_success_starts_afresh() -> None:
    talk = Talk().greeted().send(Heard("blah"))
    assert talk.prompts == ["sorry"]
    assert talk.send(Heard("blah")).prompts == ["root_keys"]
    assert talk.send(Heard("blah")).get(Enqueue)[0].queue == "general"
    talk = Talk().greeted().send(Heard("blah"), Heard("branches", sure("branch_info")))
    assert talk.prompts == ["branches", "more"]
    assert talk.send(Heard("blah")).prompts == ["sorry"]


def test_unrecognized_speech_falls_back_to_keys_and_then_to_a_person() -> None:
    talk = Talk().greeted().send(Unheard("saturated"))
    assert talk.prompts == ["keys_only", "root_keys"]
    assert talk.keys("2").prompts == ["cards"]
    talk = Talk().greeted().send(Heard("balance", sure("balance")), Unheard("failed"))
    assert talk.prompts == ["keys_only", "ask_card"]
    talk = Talk().greeted()
    for _ in range(4):
        talk.send(Unheard("failed"))
    assert talk.get(Enqueue)[0].queue == "general"


def test_answers_then_anything_else_then_goodbye() -> None:
    talk = Talk().greeted().keys("114417")
    assert talk.get(RunAction)[0].slots == {"card_last4": "4417"}
    talk.send(ActionDone("balance", {"balance": "1240.5"}))
    assert talk.get(Say)[0].segments == (Text("Your balance is "), Value("amount", "1240.50", "yuan"), Text("."))
    assert talk.send(Heard("yes")).prompts == ["ask"]
    talk.send(Heard("what is the dollar at", sure("exchange_rate")), ActionDone("exchange_rate", {"rate": "7.12"}))
    assert talk.prompts == ["rate_is", "more"]
    assert talk.send(Heard("no thanks")).prompts == ["goodbye"]
    assert talk.get(HangUp) == [HangUp("the caller needs nothing else")]
    talk = Talk().greeted().send(Heard("x", sure("branch_info"))).silence()
    assert talk.prompts == ["goodbye"]


def test_a_failing_or_silent_action_ends_at_a_person() -> None:
    talk = Talk().greeted().keys("13")
    talk.send(ActionDone("other"))
    assert talk.last == []
    talk.send(ActionDone("exchange_rate", error="503"))
    assert talk.prompts == ["trouble", "hold"]
    assert talk.get(Enqueue)[0].reason == "action exchange_rate failed: 503"
    talk = Talk().greeted().keys("13").silence()
    assert talk.get(Enqueue)[0].reason == "action exchange_rate failed: no answer in time"


def test_closed_queue_takes_a_message() -> None:
    talk = Talk()
    talk.now = Moment(100.0, datetime(2027, 1, 1, 3, 0, tzinfo=UTC))
    talk.greeted().send(Heard("a loan", sure("loan")))
    assert talk.prompts == ["closed"]
    assert talk.get(TakeMessage) == [TakeMessage("loans", "queue loans is closed")]


@pytest.mark.parametrize("ending", ["queue", "message", "goodbye"])
def test_the_last_prompt_of_a_flow_stops_for_nothing(ending: str) -> None:
    talk = Talk()
    if ending == "message":
        talk.now = Moment(100.0, datetime(2027, 1, 1, 3, 0, tzinfo=UTC))
    talk.greeted()
    if ending == "goodbye":
        talk.keys("13").send(ActionDone("exchange_rate", {"rate": "1.1"}), PromptDone(), Heard("no thanks"))
    else:
        talk.send(Heard("a loan", sure("loan")))
    assert talk.state.phase == "over"
    assert talk.get(Say)
    assert not any(say.barge_in or say.keys_stop for say in talk.get(Say))


def test_closed_menu_takes_a_message() -> None:
    flow = shipped("bank")
    menus = {**flow.menus, "cards": replace(flow.menus["cards"], hours="lending")}
    talk = Talk(flow=replace(flow, menus=menus))
    talk.now = Moment(100.0, datetime(2027, 1, 1, 3, 0, tzinfo=UTC))
    talk.greeted().keys("2")
    assert talk.prompts == ["closed"]
    assert talk.get(TakeMessage) == [TakeMessage("general", "menu cards is closed")]


def test_slot_of_a_date_and_of_an_amount_by_key() -> None:
    talk = Talk().greeted().keys("14").keys("1224#")
    assert talk.get(Say)[0].segments[0] == Value("date", "2026-12-24")
    assert talk.keys("1").get(RunAction)[0].slots == {"visit_day": "2026-12-24"}
    talk = Talk().greeted().keys("12").keys("150*5#")
    assert talk.get(Say)[0].segments[0] == Value("amount", "150.50", "yuan")
    assert talk.keys("1").get(Enqueue)[0].slots == {"amount": "150.50"}


def test_language_key_inside_a_question_asks_it_in_the_other_language() -> None:
    talk = Talk("shop").greeted().send(Heard("i want my money back", sure("return_refund")))
    talk.keys("8")
    assert [(s.prompt, s.language) for s in talk.get(Say)] == [("ask_opened", "zh-CN")]
    assert talk.send(Heard("没有拆")).get(Enqueue)[0].slots == {"opened": "no"}


def test_nothing_happens_before_the_answer_or_after_the_end() -> None:
    flow = shipped("bank")
    state = interpreter.start(flow)
    now = Moment(1.0, MONDAY)
    assert interpreter.step(flow, state, Key("1"), now) == (state, [])
    talk = Talk().greeted().keys("0")
    for event in (
        Key("1"),
        Heard("my card was stolen"),
        PromptDone(),
        Tick(),
        Unheard("failed"),
        ActionDone("x"),
        Started(),
    ):
        assert talk.send(event).last == []


def test_words_the_recognizer_doubts_are_asked_about_and_never_accepted() -> None:
    flow, now = shipped("bank"), Moment(1000.0, datetime(2026, 11, 16, 3, 0, tzinfo=UTC))
    for score, prompt in ((0.9, "ask_card"), (0.4, "confirm")):
        state = interpreter.start(flow)
        for event in (Started("en-US"), PromptDone(), PromptDone()):
            state, _ = interpreter.step(flow, state, event, now)
        heard = Heard("what is my balance", Ranked((("balance", 0.99),)), score)
        _, commands = interpreter.step(flow, state, heard, now)
        assert [c.prompt for c in commands if isinstance(c, Say)] == [prompt]
