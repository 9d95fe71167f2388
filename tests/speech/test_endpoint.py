"""When a turn begins and ends, from probabilities alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.endpoint import WINDOW, Dropped, Ended, Endpoint, Event, Peeked, Resumed, Rules, Started, windows

VOICE, QUIET = 0.95, 0.05


def run(machine: Endpoint, *spans: tuple[float, float]) -> list[Event]:
    """Steps through (probability, seconds) spans."""
    return [
        event
        for probability, seconds in spans
        for _ in range(round(seconds * 1000 / 32))
        for event in machine.step(probability)
    ]


def test_a_word_starts_a_turn_that_ends_after_the_silence() -> None:
    events = run(Endpoint(Rules(silence_ms=600)), (QUIET, 0.32), (VOICE, 0.64), (QUIET, 1.0))
    start, peek, end = events
    assert isinstance(start, Started)
    assert start.at == 10 * WINDOW
    assert isinstance(peek, Peeked)
    assert peek.ended == 30 * WINDOW
    assert isinstance(end, Ended)
    assert (end.started, end.ended, end.why) == (10 * WINDOW, 30 * WINDOW, "silence")
    assert end.at == (30 + windows(600)) * WINDOW


def test_sound_without_speech_is_dropped_after_a_second() -> None:
    events = run(Endpoint(Rules()), (QUIET, 3.0))
    assert events == [Dropped(windows(1000) * WINDOW)]


def test_a_click_is_no_turn() -> None:
    events = run(Endpoint(Rules()), (QUIET, 0.2), (VOICE, 0.064), (QUIET, 3.0))
    assert [type(event) for event in events] == [Dropped]


def test_a_pause_shorter_than_the_silence_does_not_end_a_turn() -> None:
    events = run(Endpoint(Rules(silence_ms=600)), (VOICE, 0.5), (QUIET, 0.45), (VOICE, 0.5), (QUIET, 1.0))
    assert [type(event) for event in events] == [Started, Peeked, Resumed, Peeked, Ended]


def test_dictation_waits_longer() -> None:
    spans = ((VOICE, 0.4), (QUIET, 1.2), (VOICE, 0.4), (QUIET, 2.0))
    events = run(Endpoint(Rules(silence_ms=1500)), *spans)
    assert [type(event) for event in events].count(Ended) == 1
    assert isinstance(events[-1], Ended)
    assert events[-1].ended > 1.9 * 16000


def test_a_detector_that_notices_silence_late_does_not_delay_the_end() -> None:
    machine = Endpoint(Rules(silence_ms=600))
    run(machine, (QUIET, 0.32), (VOICE, 0.96))
    assert machine.voiced_ms == 960
    machine.silent_since(30 * WINDOW)
    events = run(machine, (QUIET, 1.0))
    end = events[-1]
    assert isinstance(end, Ended)
    assert (end.ended, end.at) == (30 * WINDOW, (30 + windows(600)) * WINDOW)
    assert machine.voiced_ms == 960 - 10 * 32


@given(st.integers(-16000, 64000))
def test_late_silence_never_reaches_before_the_turn(sample: int) -> None:
    machine = Endpoint(Rules(silence_ms=600))
    machine.silent_since(sample)
    run(machine, (VOICE, 1.0))
    machine.silent_since(sample)
    end = run(machine, (QUIET, 2.0))[-1]
    assert isinstance(end, Ended)
    assert 0 <= end.started < end.ended <= 31 * WINDOW
    assert machine.voiced_ms > 0


def test_enough_ends_a_turn_at_the_next_short_silence() -> None:
    machine = Endpoint(Rules(silence_ms=1500))
    run(machine, (VOICE, 1.0))
    machine.enough()
    assert run(machine, (VOICE, 0.5)) == []
    (end,) = run(machine, (QUIET, 1.0))
    assert isinstance(end, Ended)
    assert end.why == "enough"
    assert end.at - end.ended == windows(160) * WINDOW


def test_the_longest_turn_is_cut() -> None:
    events = run(Endpoint(Rules(max_ms=3000)), (VOICE, 20.0))
    assert isinstance(events[-1], Ended)
    assert events[-1].why == "too long"
    assert events[-1].at - events[-1].started <= 3.1 * 16000


def test_between_the_two_thresholds_a_voice_goes_on_but_none_begins() -> None:
    assert run(Endpoint(Rules()), (0.42, 0.9)) == []
    machine = Endpoint(Rules(silence_ms=600))
    run(machine, (VOICE, 0.5))
    assert run(machine, (0.42, 2.0)) == []


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=700),
    st.integers(100, 2000),
    st.integers(1000, 12000),
    st.sets(st.integers(0, 700), max_size=3),
)
def test_whatever_the_sound_a_turn_is_told_in_order_and_once(
    probabilities: list[float], silence_ms: int, max_ms: int, enough: set[int]
) -> None:
    machine = Endpoint(Rules(silence_ms=silence_ms, max_ms=max_ms))
    events: list[Event] = []
    for number, probability in enumerate(probabilities):
        if number in enough:
            machine.enough()
        was_over = machine.over
        new = machine.step(probability)
        assert not (was_over and new)
        events += new
    kinds = [type(event) for event in events]
    assert kinds.count(Started) <= 1
    assert kinds.count(Dropped) + kinds.count(Ended) == int(machine.over)
    if Dropped in kinds:
        assert kinds == [Dropped]
    elif kinds:
        assert kinds[0] is Started
        waits = [kind for kind in kinds if kind in (Peeked, Resumed)]
        assert waits == [(Peeked, Resumed)[n % 2] for n in range(len(waits))]
    for event in events:
        if isinstance(event, Ended):
            assert 0 <= event.started < event.ended <= event.at <= len(probabilities) * WINDOW


@given(st.lists(st.floats(0.0, 1.0), max_size=200))
def test_silence_ends_every_turn(probabilities: list[float]) -> None:
    machine = Endpoint(Rules())
    for probability in [*probabilities, *[0.0] * (windows(1000) + 8)]:
        machine.step(probability)
    assert machine.over
