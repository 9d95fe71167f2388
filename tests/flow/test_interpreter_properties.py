"""Whatever happens in whatever order: no exception, no dead end, no lost key."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.clock import Moment
from gateway.flow import interpreter
from gateway.flow.model import Flow
from gateway.flow.state import ASKING, State
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
    Tick,
    Unheard,
)
from tests.flow.flows import perhaps, shipped, sure

ENDINGS = (Enqueue, TakeMessage, HangUp)
BEGIN = Moment(100.0, datetime(2026, 11, 16, 2, 0, tzinfo=UTC))

WORDS = ["yes", "no", "对", "不是", "agent", "repeat", "go back", "返回", "blah", "", "four four one seven",
         "五五三幺零二七八",
         "tomorrow", "fifty yuan", "no it's tomorrow", "my card was stolen", "没有了", "one two", "三百块"]  # fmt: skip


def events(flow: Flow) -> st.SearchStrategy[FlowEvent]:
    """Any event, most of them such as a caller causes."""
    intents = st.sampled_from([*flow.intents, "unknown"])
    ranked = st.one_of(intents.map(sure), intents.map(perhaps))
    answer = st.fixed_dictionaries(
        {}, optional={"balance": st.sampled_from(["12.5", "much"]), "arrives": st.sampled_from(["2026-12-01", "soon"])}
    )
    return st.one_of(
        st.sampled_from([PromptDone(), PromptDone(True), SpeechBegan(), SpeechDropped(), Tick(), Started("zh-CN")]),
        st.sampled_from("0123456789*#A").map(Key),
        st.sampled_from("0123456789*#A").map(Key),
        st.sampled_from(WORDS).map(Heard),
        st.builds(Heard, st.sampled_from(WORDS), ranked),
        st.sampled_from(WORDS).map(PartialHeard),
        st.sampled_from(["saturated", "failed"]).map(Unheard),  # type: ignore[arg-type]
        st.builds(
            ActionDone, st.sampled_from([*flow.actions, "unknown"]), answer, st.sampled_from([None, None, "down"])
        ),
    )


class Watch:
    """Steps the interpreter and holds every promise it makes after each step."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.now = flow, BEGIN
        self.state: State = interpreter.start(flow)
        self.listening = self.paused = False
        self.ended = 0
        self.step(Started())

    def step(self, event: FlowEvent, seconds: float = 0.5) -> list[FlowCommand]:
        self.now = self.now.plus(seconds)
        before = self.state
        self.state, commands = interpreter.step(self.flow, self.state, event, self.now)
        for command in commands:
            self.carry_out(command)
        self.promises(before, commands)
        return commands

    def carry_out(self, command: FlowCommand) -> None:
        if isinstance(command, Listen | StopListening):
            self.listening = isinstance(command, Listen)
            assert not isinstance(command, Listen) or command.sensitive == self.paused
        elif isinstance(command, PauseRecording):
            assert not self.paused
            self.paused = True
        elif isinstance(command, ResumeRecording):
            assert self.paused
            self.paused = False
        elif isinstance(command, ENDINGS):
            self.ended += 1
        elif isinstance(command, Say):
            assert command.segments
            assert command.language in self.flow.languages

    def promises(self, before: State, commands: list[FlowCommand]) -> None:
        state = self.state
        assert (state.phase == "over") == (self.ended == 1)
        if state.phase == "over":
            assert before.phase != "over" or commands == []
            assert not self.paused
            assert not self.listening
            assert state.deadline is None
            return
        assert state.deadline is not None
        assert state.deadline > self.now.mono - 1e-9
        assert (state.phase in ASKING) == self.listening or state.phase in ("announce", "action")
        assert not (state.keys and state.phase in ASKING)
        says = [c for c in commands if isinstance(c, Say)]
        assert [s.queue for s in says] == [i > 0 for i in range(len(says))]
        secrets = [v.value for name, v in state.slots if self.flow.slots[name].sensitive]
        for note in (c for c in commands if isinstance(c, Note)):
            assert not any(secret in str(note.data) for secret in secrets)


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_any_sequence_of_events_keeps_every_promise(data: st.DataObject) -> None:
    flow = shipped(data.draw(st.sampled_from(["bank", "shop"])))
    watch = Watch(flow)
    for event in data.draw(st.lists(events(flow), max_size=40)):
        watch.step(event, data.draw(st.sampled_from([0.0, 0.1, 2.0, 30.0])))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_caller_who_falls_silent_anywhere_is_never_left_alone(data: st.DataObject) -> None:
    flow = shipped(data.draw(st.sampled_from(["bank", "shop"])))
    watch = Watch(flow)
    for event in data.draw(st.lists(events(flow), max_size=25)):
        watch.step(event)
    for _ in range(40):
        if watch.state.phase == "over":
            return
        assert watch.state.deadline is not None
        watch.step(Tick(), watch.state.deadline - watch.now.mono)
    raise AssertionError(f"still {watch.state.phase} after 40 deadlines")


@given(st.text("0123456789", min_size=8, max_size=8), st.lists(st.integers(0, 11), max_size=5))
def test_keys_keep_their_order_whenever_prompts_end(number: str, done_after: list[int]) -> None:
    watch = Watch(shipped("shop"))
    commands: list[FlowCommand] = []
    for i, key in enumerate("11" + number):
        if i in done_after:
            commands += watch.step(PromptDone())
        commands += watch.step(Key(key), 0.1)
    commands += watch.step(PromptDone())
    assert [c.slots for c in commands if isinstance(c, RunAction)] == [{"order_no": number}]
