"""Alarms: those due ring in order, those cancelled never do and take no room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.timers import Timers


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=300))
def test_what_is_due_rings_in_order_and_what_was_cancelled_never(alarms: list[tuple[float, bool]]) -> None:
    timers, rung = Timers(), []
    made = [(timers.at(at, lambda i=i: rung.append(i)), cancel) for i, (at, cancel) in enumerate(alarms)]
    for alarm, cancel in made:
        if cancel:
            alarm.cancel()
            alarm.cancel()  # twice is once
    assert len(timers) == sum(not cancel for _, cancel in alarms)
    timers.fire(50.0)
    due = [i for i, (at, cancel) in enumerate(alarms) if at <= 50 and not cancel]
    assert rung == sorted(due, key=lambda i: (alarms[i][0], i))
    timers.fire(100.0)
    assert len(rung) == sum(not cancel for _, cancel in alarms)
    assert timers.next() is None
    assert len(timers) == 0


def test_alarms_far_ahead_that_are_cancelled_do_not_pile_up() -> None:
    timers = Timers()
    kept = timers.at(1e6, lambda: None)
    for n in range(10_000):
        timers.at(1000.0 + n, lambda: None).cancel()
    assert len(timers._heap) < 200
    assert len(timers) == 1
    assert timers.next() == kept.at
