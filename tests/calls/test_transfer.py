"""Hold, transfers, pick-up: the call as a pure function."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.calls import commands as do
from gateway.calls import model as m
from gateway.calls import transfer
from gateway.calls.destinations import Plan, ToAgent, ToNumber, ToOutside, ToQueue
from gateway.calls.exchange import outcome
from gateway.flow.dialled import Number
from gateway.routing import model as routing
from gateway.sip.trunks import Destinations
from tests.calls.test_reducer import FLOW, Caller, kinds, only


def bridged() -> Caller:
    """A caller who talks with anna."""
    caller = waiting()
    caller.feed(routing.AgentOffer("call-1", "anna", "bank.general", 99.0, "longest idle"))
    caller.feed(m.AgentAnswered("anna"))
    assert (caller.call.stage, caller.call.agent) == (m.Stage.BRIDGED, "anna")
    caller.done.clear()
    return caller


def waiting() -> Caller:
    caller = Caller().asked()
    caller.says("a person please", "agent")
    caller.finish_prompts()
    assert caller.call.stage is m.Stage.WAITING
    return caller


def routed(commands: list[do.CallCommand]) -> list[routing.RoutingEvent]:
    return [c.event for c in commands if isinstance(c, do.Route)]


def written(commands: list[do.CallCommand], kind: str) -> dict[str, object]:
    return next(c.data for c in commands if isinstance(c, do.Write) and c.kind == kind)


def told(commands: list[do.CallCommand]) -> list[int]:
    return [c.status for c in commands if isinstance(c, do.TellTransfer)]


# --- hold ---------------------------------------------------------------------------------------------------------


def test_a_held_caller_hears_music_until_the_agent_is_back() -> None:
    caller = bridged()
    out = caller.feed(m.HoldChanged("agent", True))
    assert [do.Part(), do.PlayMusic()] == [c for c in out if not isinstance(c, do.Write)]
    assert caller.feed(m.HoldChanged("agent", True)) == []
    caller.clock.advance(12.0)
    out = caller.feed(m.HoldChanged("agent", False))
    assert do.Bridge("anna") in out
    assert written(out, "retrieved") == {"by": "agent", "seconds": 12.0}


def test_a_caller_who_holds_is_written_down_and_hears_what_their_phone_plays() -> None:
    caller = bridged()
    assert kinds(caller.feed(m.HoldChanged("caller", True))) == ["held"]
    assert kinds(caller.feed(m.HoldChanged("caller", False))) == ["retrieved"]


def test_an_agent_who_hangs_up_while_holding_ends_the_call() -> None:
    caller = bridged()
    caller.feed(m.HoldChanged("agent", True))
    out = caller.feed(m.AgentLeft("anna", "hung up", "user pressed the hook"))
    assert only(out, do.HangUpCaller)
    assert written(out, "agent_left") == {"agent": "anna", "told": "user pressed the hook"}


# --- blind --------------------------------------------------------------------------------------------------------


def handed_to_bo() -> Caller:
    caller = bridged()
    out = caller.feed(m.TransferWanted("anna", ToAgent("bo"), "ask"))
    (queued,) = routed(out)
    assert isinstance(queued, routing.CallQueued)
    assert (queued.only, queued.queue) == ("bo", "bank.general")
    assert [do.StepAside(), do.PlayMusic()] == [c for c in out if isinstance(c, do.StepAside | do.PlayMusic)]
    assert told(out) == [100]
    return caller


def test_a_caller_is_put_through_to_a_colleague() -> None:
    caller = handed_to_bo()
    ring = only(caller.feed(routing.AgentOffer("call-1", "bo", "bank.general", 99.0, "put through")), do.RingAgent)
    assert ring.about["Transferred-By"] == "anna"
    assert told(caller.feed(m.AgentRings("bo"))) == [180]
    out = caller.feed(m.AgentAnswered("bo"))
    assert told(out) == [200]
    assert do.Bridge("bo") in out
    assert do.LetGo("transferred") in out
    assert routing.OfferAnswered("call-1", "bo") in routed(out)
    assert written(out, "transferred") == {"by": "anna", "to": "bo"}
    assert do.Route(routing.CallFinished("call-1", "bo")) in caller.feed(m.AgentLeft("bo", "hung up"))


def test_a_colleague_who_does_not_answer_gives_the_caller_back_to_the_agent() -> None:
    caller = handed_to_bo()
    out = caller.feed(routing.NobodyThere("call-1", "bank.general", "Bo did not answer"))
    assert told(out) == [480]
    assert [c for c in out if isinstance(c, do.StepBack | do.Bridge)] == [do.StepBack(), do.Bridge("anna")]
    assert routed(out) == [routing.Engaged("call-1", "anna", "bank.general")]
    assert caller.call.agent == "anna"


def test_where_the_agent_talks_with_somebody_else_by_then_the_caller_waits_first_in_line() -> None:
    caller = handed_to_bo()
    caller.feed(routing.NobodyThere("call-1", "bank.general", "Bo did not answer"))
    out = caller.feed(routing.WithdrawOffer("call-1", "anna", "Anna talks with somebody else"))
    assert only(out, do.HangUpAgent).agent == "anna"
    (queued,) = routed(out)
    assert (queued.only, queued.priority) == (None, transfer.AGAIN_PRIORITY)


def test_an_agent_who_hung_up_meanwhile_is_rung_again_and_then_the_queue() -> None:
    caller = handed_to_bo()
    assert caller.feed(m.AgentLeft("anna", "hung up")) == []
    (again,) = routed(caller.feed(routing.NobodyThere("call-1", "bank.general", "Bo talks")))
    assert again.only == "anna"
    ring = caller.feed(routing.AgentOffer("call-1", "anna", "bank.general", 99.0, "put through"))
    assert "Transferred-By" not in only(ring, do.RingAgent).about
    (last,) = routed(caller.feed(routing.NobodyThere("call-1", "bank.general", "Anna did not answer")))
    assert (last.only, last.priority) == (None, transfer.AGAIN_PRIORITY)
    assert caller.call.transfer is None
    caller.feed(routing.AgentOffer("call-1", "chen", "bank.general", 99.0, "longest idle"))
    assert do.Bridge("chen") in caller.feed(m.AgentAnswered("chen"))


def test_a_caller_who_leaves_in_a_transfer_ends_it_for_everybody() -> None:
    caller = handed_to_bo()
    out = caller.feed(m.CallerLeft("caller hung up"))
    assert told(out) == [487]
    assert routing.CallLeft("call-1") in routed(out)


def test_only_the_agent_who_talks_may_hand_the_caller_on() -> None:
    caller = bridged()
    assert told(caller.feed(m.TransferWanted("bo", ToAgent("anna"), "ask"))) == [603]
    assert told(caller.feed(m.TransferWanted("anna", ToAgent("anna"), "ask"))) == [486]
    assert caller.call.agent == "anna"


def test_to_a_queue_to_a_number_of_ours_and_to_one_outside() -> None:
    caller = bridged()
    out = caller.feed(m.TransferWanted("anna", ToQueue(FLOW, "cards"), "ask"))
    assert told(out) == [100, 200]
    assert only(out, do.HangUpAgent).agent == "anna"
    assert [e.queue for e in routed(out) if isinstance(e, routing.CallQueued)] == ["bank.cards"]
    assert caller.call.queue == "cards"

    caller = bridged()
    out = caller.feed(m.TransferWanted("anna", ToNumber(FLOW, "1001", "zh-CN"), "ask"))
    assert routing.CallFinished("call-1", "anna") in routed(out)
    assert (caller.call.stage, caller.call.language, caller.call.queue) == (m.Stage.FLOW, "zh-CN", None)
    assert any(isinstance(c, do.Speak) for c in out)
    assert not any(isinstance(c, do.Speak) and c.say.prompt == "recording" for c in out)

    caller = bridged()
    out = caller.feed(m.TransferWanted("anna", ToOutside("+4930"), "ask"))
    assert only(out, do.CallOutside).number == "+4930"
    out = caller.feed(m.AgentAnswered("+4930"))
    assert told(out) == [200]
    assert routed(out) == []
    assert only(caller.feed(m.AgentLeft("+4930", "hung up")), do.HangUpCaller)


def test_a_number_outside_that_does_not_answer_gives_the_caller_back() -> None:
    for event in (m.AgentFailed("+4930", "486 Busy Here"), m.Tick()):
        caller = bridged()
        caller.feed(m.TransferWanted("anna", ToOutside("+4930"), "ask"))
        caller.clock.advance(transfer.OUTSIDE_RING_S + 0.1)
        out = caller.feed(event)
        assert told(out) == [480]
        assert do.Bridge("anna") in out
        assert caller.call.deadline is None


# --- somebody else takes over -------------------------------------------------------------------------------------


def test_an_attended_transfer_joins_the_caller_with_the_colleague_who_knows_already() -> None:
    caller = bridged()
    caller.feed(m.HoldChanged("agent", True))
    out = caller.feed(m.TakenOver("bo", "anna", "ask"))
    assert told(out) == [200]
    assert [c for c in out if isinstance(c, do.TakeOver | do.Bridge)] == [do.TakeOver("transferred"), do.Bridge("bo")]
    assert routing.Engaged("call-1", "bo", "bank.general") in routed(out)
    assert written(out, "transferred") == {"by": "anna", "to": "bo", "attended": True}
    assert caller.call.held == {}


def test_a_waiting_caller_is_picked_up_and_the_phone_that_rang_stops() -> None:
    caller = waiting()
    caller.feed(routing.AgentOffer("call-1", "anna", "bank.general", 99.0, "longest idle"))
    out = caller.feed(m.TakenOver("bo"))
    assert only(out, do.StopRinging).agent == "anna"
    assert do.Bridge("bo") in out
    assert written(out, "picked_up") == {"agent": "bo", "queue": "general"}
    assert caller.call.agent == "bo"


def test_who_comes_too_late_is_turned_away() -> None:
    caller = bridged()
    assert only(caller.feed(m.TakenOver("bo")), do.TurnAway)
    assert only(caller.feed(m.TakenOver("bo", "chen", "ask")), do.TurnAway)
    assert caller.call.agent == "anna"


def test_a_caller_is_taken_out_of_the_queue_for_one_agent_and_goes_back_there() -> None:
    caller = waiting()
    (queued,) = routed(caller.feed(m.TransferWanted("", ToAgent("bo"))))
    assert queued.only == "bo"
    (again,) = routed(caller.feed(routing.NobodyThere("call-1", "bank.general", "Bo is not signed in")))
    assert again.only is None
    assert caller.call.stage is m.Stage.WAITING


# --- where to -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialled", "found"),
    [
        ("anna", ToAgent("anna")),
        ("cards", ToQueue(FLOW, "cards")),
        ("bank.cards", ToQueue(FLOW, "cards")),
        ("1001", ToNumber(FLOW, "1001", None)),
        ("+493012345", ToOutside("+493012345")),
        ("112", None),
        ("bank.nothing", None),
        ("", None),
    ],
)
def test_what_a_dialled_name_means(dialled: str, found: object) -> None:
    outside = Destinations(allow=("+4930",))
    plan = Plan({"anna"}, {"bank": FLOW}, {"1001": Number("bank")}, lambda n: n if outside.permits(n) else None)
    assert plan.find(dialled) == found


# --- the caller's own side goes there by itself -------------------------------------------------------------------


def referred_to_berlin() -> Caller:
    caller = bridged()
    out = caller.feed(m.TransferWanted("anna", ToOutside("+4930", "sip:030@carrier"), "ask"))
    assert only(out, do.ReferCaller).uri == "sip:030@carrier"
    assert not any(isinstance(c, do.CallOutside) for c in out)
    assert told(out) == [100]
    return caller


def test_a_caller_is_handed_back_to_the_trunk_they_came_by() -> None:
    caller = referred_to_berlin()
    assert told(caller.feed(m.CallerReferred(202, False))) == []
    assert told(caller.feed(m.CallerReferred(180, False))) == [180]
    out = caller.feed(m.CallerReferred(200, True))
    assert told(out) == [200]
    assert written(out, "transferred") == {"by": "anna", "to": "+4930", "refer": True}
    assert only(out, do.HangUpCaller).reason == "transferred"
    assert outcome(caller.call) == "served"


@pytest.mark.parametrize("status", [100, 408, 491, 603])
def test_a_trunk_that_will_not_take_the_caller_back_has_the_number_called(status: int) -> None:
    caller = referred_to_berlin()
    out = caller.feed(m.CallerReferred(status, True))
    assert only(out, do.CallOutside).number == "+4930"
    assert told(caller.feed(m.AgentAnswered("+4930"))) == [200]
    assert caller.feed(m.CallerReferred(200, True)) == []
    assert caller.call.agent == "+4930"


def test_an_emergency_stays_one_when_the_conversation_breaks() -> None:
    caller = bridged()
    caller.call = replace(caller.call, emergency=True)
    (_, queued) = routed(caller.feed(m.AgentLeft("anna", "phone vanished")))
    assert isinstance(queued, routing.CallQueued)
    assert queued.emergency
