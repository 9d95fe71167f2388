"""A call as a pure function: barge-in, queue, agents, messages, the end. Time is an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.calls import commands as do
from gateway.calls import model as m
from gateway.calls import reducer, transfer, turns
from gateway.calls.destinations import ToAgent, ToNumber, ToOutside, ToQueue
from gateway.core.clock import FakeClock
from gateway.core.ports import Ranked
from gateway.flow.check import load
from gateway.flow.turn import ActionDone
from gateway.routing import model as routing

FLOW = load(Path(__file__).parents[2] / "ivr_flows" / "bank.yaml")


class Caller:
    """A call being driven by a test: every command that came out stands in `done`."""

    def __init__(self, language: str = "en-US") -> None:
        self.clock = FakeClock()
        self.call = reducer.start("call-1", FLOW, "5551000", "1000", language, self.clock.now())
        self.done: list[do.CallCommand] = []

    def feed(self, event: m.CallEvent) -> list[do.CallCommand]:
        self.call, commands = reducer.step(self.call, event, self.clock.now())
        self.done += commands
        return commands

    def finish_prompts(self, limit: int = 6) -> list[do.CallCommand]:
        out: list[do.CallCommand] = []
        while self.call.speaking and limit:
            limit -= 1
            out += self.feed(m.PromptDone(self.call.speaking))
        return out

    def asked(self) -> Caller:
        """The welcome was heard and the flow waits for what the caller wants."""
        self.feed(m.Confirmed())
        self.finish_prompts()
        assert self.call.listen is not None
        return self

    def says(self, text: str, intent: str = "-", score: float = 0.95) -> list[do.CallCommand]:
        return self.feed(m.UtteranceHeard(text, Ranked(((intent, score), ("other", 0.01))), speech_ended=1.0))


def kinds(commands: list[do.CallCommand]) -> list[str]:
    return [c.kind if isinstance(c, do.Write) else type(c).__name__ for c in commands]


def only(commands: list[do.CallCommand], kind: type[Any]) -> Any:
    found = [c for c in commands if isinstance(c, kind)]
    assert len(found) == 1, kinds(commands)
    return found[0]


def test_a_confirmed_call_is_greeted_and_told_that_it_is_recorded_where_it_is() -> None:
    out = Caller().feed(m.Confirmed())
    assert only(out, do.Speak).say.prompt == "recording"
    out = Caller().feed(m.Confirmed(recorded=False))
    assert [c.say.prompt for c in out if isinstance(c, do.Speak)][-1:] == ["welcome"]
    assert not any(c.say.prompt == "recording" for c in out if isinstance(c, do.Speak))


def test_without_the_callers_ack_the_call_is_given_up() -> None:
    caller = Caller()
    caller.clock.advance(reducer.CONFIRM_WAIT_S + 0.01)
    out = caller.feed(m.Tick())
    assert only(out, do.Finish).reason == "no ACK"
    assert caller.call.stage is m.Stage.ENDED


def test_a_false_alarm_lets_the_prompt_go_on_and_enough_words_end_it() -> None:
    caller = Caller().asked()
    caller.feed(m.KeyPressed("9"))  # repeat: a prompt that may be interrupted
    speaking = caller.call.speaking
    assert speaking
    caller.feed(m.SpeechStarted(muted=True))
    assert do.ResumePrompt() in caller.feed(m.TurnDropped())
    assert caller.call.speaking == speaking
    caller.feed(m.SpeechStarted(muted=True))
    out = caller.feed(m.PartialHeard("i want", 300))
    assert do.StopPrompt() in out
    assert caller.call.speaking == 0


def test_long_voice_without_words_ends_the_prompt_too_and_silence_is_counted_again() -> None:
    caller = Caller().asked()
    caller.feed(m.KeyPressed("9"))
    caller.feed(m.SpeechStarted(muted=True))
    assert do.StopPrompt() in caller.feed(m.PartialHeard("", turns.BARGE_VOICED_MS))
    caller.feed(m.TurnDropped())
    assert caller.call.deadline is not None
    caller.clock.advance(caller.call.deadline - caller.clock.now().mono + 0.01)
    assert "no_input" in kinds(caller.feed(m.Tick()))


def test_a_short_noise_word_during_a_prompt_is_no_answer() -> None:
    caller = Caller("zh-CN").asked()
    caller.feed(m.KeyPressed("9"))
    caller.feed(m.SpeechStarted(muted=True))
    out = caller.says("嗯", "balance", 0.1)
    assert do.ResumePrompt() in out
    assert "heard" not in kinds(out)


def test_the_callers_words_become_a_record_line_and_the_reply_is_timed() -> None:
    caller = Caller().asked()
    out = caller.says("i want to talk to somebody about a loan", "loan")
    heard = next(c for c in out if isinstance(c, do.Write) and c.kind == "heard")
    assert (heard.data["intent"], heard.data["score"]) == ("loan", 0.95)
    token = only([c for c in out if isinstance(c, do.Speak)][:1], do.Speak).token
    reply = only(caller.feed(m.PromptStarted(token, 1.7)), do.Write)
    assert (reply.kind, reply.data["latency_ms"]) == ("replied", 700)


def test_asking_for_a_person_queues_offers_and_bridges() -> None:
    caller = Caller().asked()
    out = caller.says("let me speak to a person please", "agent")
    queued = only(out, do.Route).event
    assert queued == routing.CallQueued("call-1", "bank.general", "en-US", caller.call.intent, 0, False)
    assert do.PlayMusic() in caller.finish_prompts()
    offer = routing.AgentOffer("call-1", "anna", "bank.general", 99.0, "longest idle")
    ring = only(caller.feed(offer), do.RingAgent)
    assert ring.about["Queue"] == "general"
    assert "person" in ring.about["Heard"]
    answered = caller.feed(m.AgentAnswered("anna"))
    assert do.Bridge("anna") in answered
    assert caller.call.stage is m.Stage.BRIDGED
    over = caller.feed(m.AgentLeft("anna", "hung up"))
    assert do.Route(routing.CallFinished("call-1", "anna")) in over
    assert only(over, do.HangUpCaller)


def test_an_agents_phone_that_vanishes_puts_the_caller_first_in_line_again() -> None:
    caller = Caller().asked()
    caller.says("a person please", "agent")
    caller.feed(routing.AgentOffer("call-1", "anna", "bank.general", 99.0, "why"))
    caller.feed(m.AgentAnswered("anna"))
    out = caller.feed(m.AgentLeft("anna", "phone vanished"))
    again = [c.event for c in out if isinstance(c, do.Route)][-1]
    assert isinstance(again, routing.CallQueued)
    assert again.priority == transfer.AGAIN_PRIORITY
    assert caller.call.stage is m.Stage.WAITING
    assert not any(isinstance(c, do.HangUpCaller) for c in out)


def test_no_answer_goes_back_to_routing_and_a_late_answer_is_hung_up() -> None:
    caller = Caller().asked()
    caller.says("a person please", "agent")
    caller.feed(routing.AgentOffer("call-1", "anna", "bank.general", 99.0, "why"))
    out = caller.feed(m.AgentFailed("anna", "486 Busy Here"))
    assert do.Route(routing.OfferFailed("call-1", "anna", "486 Busy Here")) in out
    assert only(caller.feed(m.AgentAnswered("anna")), do.HangUpAgent)


def test_the_caller_who_hangs_up_in_the_queue_leaves_it_and_stops_the_ringing() -> None:
    caller = Caller().asked()
    caller.says("a person please", "agent")
    caller.feed(routing.AgentOffer("call-1", "anna", "bank.general", 99.0, "why"))
    out = caller.feed(m.CallerLeft("caller hung up"))
    assert only(out, do.StopRinging).agent == "anna"
    assert do.Route(routing.CallLeft("call-1")) in out
    assert only(out, do.Finish)
    assert caller.feed(m.KeyPressed("1")) == []


def test_nobody_there_takes_a_message_until_silence_or_the_hash_key() -> None:
    for ending in ("silence", "key"):
        caller = Caller().asked()
        caller.says("a person please", "agent")
        caller.feed(routing.NobodyThere("call-1", "bank.general", "no agent is signed in"))
        out = caller.finish_prompts(limit=1)
        assert only(out, do.PlayBeep)
        assert do.Record("message_start") in caller.finish_prompts(limit=1)
        if ending == "key":
            out = caller.feed(m.KeyPressed("#"))
        else:
            caller.feed(m.SpeechStarted(muted=False))
            caller.feed(m.SpeechEnded())
            caller.clock.advance(turns.MESSAGE_QUIET_S + 0.01)
            out = caller.feed(m.Tick())
        assert do.Record("message_end") in out
        assert only(caller.finish_prompts(), do.HangUpCaller).reason == "message left"


def test_a_sensitive_value_is_neither_recorded_nor_written_down() -> None:
    caller = Caller().asked()
    out = caller.says("what is my balance", "balance")
    assert do.Record("mask") in out
    caller.finish_prompts()
    written = [c for digit in "4417" for c in caller.feed(m.KeyPressed(digit)) if isinstance(c, do.Write)]
    assert all(w.data.get("sensitive") for w in written if w.kind == "key")
    assert "4417" not in "".join(str(w.data) for w in written if w.kind != "key")
    assert any(c == do.Record("unmask") for c in caller.done)


def test_a_sensitive_value_said_before_it_was_asked_for_is_silenced_in_the_recording() -> None:
    caller = Caller().asked()
    ranked = Ranked((("balance", 0.95), ("other", 0.01)))
    said = m.UtteranceHeard("what is the balance of my card ending in 4 4 1 7", ranked, 0.9, 10.0, 13.0)
    out = caller.feed(said)
    assert do.Blank(10.0, 13.0) in out
    assert not any("4 4 1 7" in str(c.data) or "4417" in str(c.data) for c in out if isinstance(c, do.Write))
    plain = Caller().asked()
    assert not any(isinstance(c, do.Blank) for c in plain.says("what is my balance", "balance"))


def test_an_emergency_phrase_in_a_partial_jumps_the_queue_mid_prompt() -> None:
    caller = Caller()
    caller.feed(m.Confirmed())
    caller.feed(m.SpeechStarted(muted=True))
    out = caller.feed(m.PartialHeard("help my card was stolen", 900))
    queued = only(out, do.Route).event
    assert queued.emergency
    assert queued.queue == "bank.fraud"


def test_words_that_go_on_after_an_emergency_do_not_silence_what_the_queue_says() -> None:
    caller = Caller()
    caller.feed(m.Confirmed())
    caller.feed(m.PartialHeard("card was stolen", 700))
    caller.feed(m.SpeechStarted(muted=True))
    caller.feed(m.PartialHeard("card was stolen", 700))
    assert do.PlayMusic() in caller.finish_prompts()


EVENTS = st.sampled_from(
    [
        m.Confirmed(),
        m.SpeechStarted(True),
        m.SpeechStarted(False),
        m.SpeechEnded(),
        m.TurnDropped(),
        m.PartialHeard("card was stolen", 700),
        m.PartialHeard("", 100),
        m.UtteranceHeard("what is my balance", Ranked((("balance", 0.9),))),
        m.UtteranceHeard("four four one seven", Ranked((("balance", 0.2),))),
        m.UtteranceHeard("a person please", Ranked((("agent", 0.9),))),
        m.UtteranceHeard("", Ranked()),
        m.Unheard("failed"),
        *[m.KeyPressed(d) for d in "0123459#*"],
        m.AgentAnswered("anna"),
        m.AgentFailed("anna", "busy"),
        m.AgentLeft("anna", "hung up"),
        m.AgentLeft("anna", "phone vanished"),
        m.AgentRings("anna"),
        *[m.HoldChanged(by, on) for by in ("agent", "caller") for on in (True, False)],
        m.TransferWanted("anna", ToAgent("bo"), "ask"),
        m.TransferWanted("", ToAgent("bo")),
        m.TransferWanted("anna", ToQueue(FLOW, "cards"), "ask"),
        m.TransferWanted("anna", ToNumber(FLOW, "1001", None), "ask"),
        m.TransferWanted("anna", ToOutside("+4930"), "ask"),
        m.TransferWanted("anna", ToOutside("+4930", "sip:030@carrier"), "ask"),
        *[m.CallerReferred(status, final) for status in (100, 180, 200, 603) for final in (False, True)],
        m.TakenOver("bo"),
        m.TakenOver("bo", "anna", "ask"),
        m.AgentAnswered("bo"),
        m.AgentAnswered("+4930"),
        m.AgentFailed("+4930", "busy"),
        routing.AgentOffer("call-1", "bo", "bank.general", 1.0, "why"),
        ActionDone("balance", {"balance": "5.00"}),
        routing.AgentOffer("call-1", "anna", "bank.general", 1.0, "why"),
        routing.WithdrawOffer("call-1", "anna", "why"),
        routing.Position("call-1", 2, 60.0),
        routing.NobodyThere("call-1", "bank.general", "why"),
        m.Tick(),
        m.CallerLeft("caller hung up"),
        m.Shutdown(),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(EVENTS, st.just("prompt"), st.just("wait")), max_size=60))
def test_no_order_of_events_breaks_a_call_or_leaves_a_caller_in_silence(events: list[Any]) -> None:
    caller = Caller()
    caller.feed(m.Confirmed())
    for event in events:
        if event == "prompt":
            caller.feed(m.PromptDone(caller.call.speaking))
        elif event == "wait":
            due = caller.call.deadline
            caller.clock.advance(max(0.0, (due or 0) - caller.clock.now().mono) + 0.01)
            caller.feed(m.Tick())
        else:
            caller.feed(event)
        call = caller.call
        if call.stage is m.Stage.ENDED:
            assert kinds(caller.done).count("Finish") == 1
            continue
        heard = [type(c) for c in caller.done if isinstance(c, do.PlayMusic | do.Bridge | do.Speak | do.StopPrompt)]
        music = do.PlayMusic in heard
        if call.stage is m.Stage.BRIDGED:
            assert heard[-1] is (do.PlayMusic if "agent" in call.held else do.Bridge)
            assert call.agent
            assert call.transfer is None
        asked = [c.status for c in caller.done if isinstance(c, do.TellTransfer)]
        assert call.transfer is None or not call.transfer.ask or asked[-1] < 200
        assert call.speaking or call.deadline is not None or call.stage is m.Stage.BRIDGED or music, call.stage


def test_every_event_has_a_handler() -> None:
    import typing

    missing = [e for e in typing.get_args(m.CallEvent) if e not in reducer._HANDLERS]
    assert missing == []


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_queue_positions_are_told_in_the_callers_language(language: str) -> None:
    caller = Caller(language).asked()
    caller.says("转人工" if language == "zh-CN" else "agent", "agent")
    caller.finish_prompts()
    speak = only(caller.feed(routing.Position("call-1", 3, None)), do.Speak)
    assert speak.say.language == language
    assert do.PlayMusic() in caller.feed(m.PromptDone(speak.token))


def test_the_prompt_that_is_heard_is_the_one_that_is_interrupted() -> None:
    caller = Caller().asked()
    caller.says("what is my balance", "balance")
    caller.finish_prompts()
    for digit in "4417":
        caller.feed(m.KeyPressed(digit))
    out = caller.feed(ActionDone("balance", {"balance": "5.00"}))
    first, second = (c for c in out if isinstance(c, do.Speak))
    assert second.say.queue
    caller.feed(m.PromptStarted(first.token, 1.0))
    assert caller.call.say == first.say
    caller.feed(m.PromptStarted(second.token, 2.0))
    assert caller.call.say == second.say
