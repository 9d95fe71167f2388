"""Call control of a node: who talks with whom after each thing that phones and the desk may ask for."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from unittest.mock import patch

import pytest

from gateway.calls import model as m
from gateway.calls import switchboard
from gateway.calls.driver import CallDriver
from gateway.core.errors import SipError
from gateway.media import events as media
from gateway.media.leg import Leg
from gateway.routing import model as routing
from gateway.sip import events as sip
from tests.calls.node import Node


async def talking(node: Node, agent: str = "anna") -> tuple[CallDriver, str]:
    """A caller who talks with an agent, and the handle of the agent's call."""
    driver = await node.caller()
    while driver.call.ringing != agent:
        node.exchange.on_sip(sip.CallFailed(node.rung(driver.call.ringing or ""), 486, "Busy Here"))
    handle = node.answer(agent)
    assert node.talk(driver.caller, node.party(handle))
    return driver, handle


async def test_hold_plays_music_and_retrieve_joins_again() -> None:
    node = Node("anna")
    driver, handle = await talking(node)
    node.holds(handle)
    assert node.engine.music(driver.leg)
    assert node.engine.hears(node.party(handle).leg) == []
    node.holds(handle, "sendrecv")
    assert node.talk(driver.caller, node.party(handle))
    node.exchange.control.hold(driver.call.id)
    assert node.engine.music(driver.leg)
    node.exchange.control.retrieve(driver.call.id)
    assert node.talk(driver.caller, node.party(handle))


async def test_an_attended_transfer_from_either_call() -> None:
    for inside in (False, True):
        node = Node("anna", "bo")
        driver, first = await talking(node)
        node.holds(first)
        second = node.dial("anna", "bo")
        assert node.doing("bo") == "talking"
        colleague = node.answer("bo")
        bo = node.party(colleague)
        assert node.talk(node.party(second), bo)
        assert node.engine.music(driver.leg)
        node.asks(second if inside else first, "bo", replaces=first if inside else second)
        assert node.talk(driver.caller, bo)
        assert driver.call.agent == "bo"
        assert node.told() == [200]
        ended = [call.args[0] for call in node.sip.hangup.call_args_list]
        assert {first, second} <= {*ended}
        assert node.doing("anna") != "talking"
        assert node.doing("bo") == "talking"
        assert len(node.engine.legs) == 2
        node.hang_up(colleague)
        assert not node.engine.legs
        assert node.doing("bo") == "idle"


async def test_a_transfer_to_a_call_that_only_rings_waits_for_it_in_the_agents_place() -> None:
    node = Node("anna", "bo")
    driver, first = await talking(node)
    second = node.dial("anna", "bo")
    node.asks(first, "bo", replaces=second)
    assert driver.call.ringing == "bo"
    colleague = node.answer("bo")
    assert node.talk(driver.caller, node.party(colleague))


async def test_a_picked_up_caller_leaves_the_phone_that_rang() -> None:
    node = Node("anna", "bo")
    driver = await node.caller("pick")
    rang = driver.call.ringing
    other = "bo" if rang == "anna" else "anna"
    handle = node.dial(other, "*8pick")
    assert node.talk(driver.caller, node.party(handle))
    assert (node.doing(other), node.doing(rang or "")) == ("talking", "idle")
    node.dial(other, "*8")  # talks already
    assert node.sip.reject.call_args.args[1] == 486
    node.hang_up(handle)
    assert not node.engine.legs


@pytest.mark.parametrize(("number", "status"), [("*8", 480), ("*8nothing", 480), ("anna", 486)])
async def test_what_an_agents_phone_is_refused(number: str, status: int) -> None:
    node = Node("anna")
    node.dial("anna", number)
    assert node.sip.reject.call_args.args[1] == status
    assert not node.engine.legs


async def test_a_colleague_who_declines_and_a_caller_who_gives_up() -> None:
    node = Node("anna", "bo")
    call = node.dial("anna", "bo")
    node.exchange.on_sip(sip.CallFailed(node.rung("bo"), 603, "Decline"))
    assert node.sip.reject.call_args.args[:2] == (call, 603)
    call = node.dial("anna", "bo")
    node.exchange.on_sip(sip.CallCancelled(call))
    assert (node.doing("anna"), node.doing("bo")) == ("idle", "idle")
    assert not node.engine.legs
    assert not node.exchange.control.internal


async def test_another_phone_comes_in_the_place_of_one_that_talks() -> None:
    node = Node("anna", "bo")
    driver, first = await talking(node)
    new = node.dial("anna", "trunkline", replaces=first)
    assert node.talk(driver.caller, node.party(new))
    assert (driver.call.agent, len(node.engine.legs)) == ("anna", 2)
    node.hang_up(new)
    one = node.dial("anna", "bo")
    colleague = node.answer("bo")
    two = node.dial("anna", "trunkline", replaces=one)
    assert node.talk(node.party(two), node.party(colleague))
    node.hang_up(colleague)
    assert not node.engine.legs
    node.offered("trunkline", replaces="gone")
    assert node.sip.reject.call_args.args[1] == 403


async def test_the_desk_has_a_colleague_asked_and_hands_the_caller_over() -> None:
    node = Node("anna", "bo", "chen")
    driver, first = await talking(node)
    control, call = node.exchange.control, driver.call.id
    with pytest.raises(SipError):
        control.complete(call)
    control.consult(call, "bo")
    assert node.engine.music(driver.leg)
    colleague = node.answer("bo")
    assert node.talk(node.party(first), node.party(colleague))
    with pytest.raises(SipError):
        control.consult(call, "chen")
    control.complete(call)
    assert node.talk(driver.caller, node.party(colleague))
    assert (driver.call.agent, node.doing("bo")) == ("bo", "talking")
    node.hang_up(colleague)
    assert not node.engine.legs


@pytest.mark.parametrize("how", ["declines", "hangs up", "taken back", "agent leaves", "caller leaves"])
async def test_a_colleague_who_was_asked_and_does_not_take_the_caller(how: str) -> None:
    node = Node("anna", "bo")
    driver, first = await talking(node)
    control = node.exchange.control
    control.consult(driver.call.id, "bo")
    if how == "declines":
        node.exchange.on_sip(sip.CallFailed(node.rung("bo"), 486, "Busy Here"))
    else:
        colleague = node.answer("bo")
    if how == "hangs up":
        node.hang_up(colleague)
    if how == "taken back":
        control.retrieve(driver.call.id)
    if how == "agent leaves":
        node.hang_up(first)
    if how == "caller leaves":
        node.hang_up(driver.caller.sip)
    assert node.doing("bo") == "idle"
    if "leaves" in how:
        assert not node.engine.legs
    else:
        assert node.talk(driver.caller, node.party(first))
        assert len(node.engine.legs) == 2


async def test_a_caller_whose_trunk_takes_them_back_is_asked_to_go_by_themselves() -> None:
    node = Node("anna")
    driver, first = await talking(node)
    caller = driver.caller.sip
    node.sip.endpoint.refer_uri.side_effect = lambda trunk, number: f"sip:{number}@{trunk}"
    node.asks(first, "+4930")
    assert node.sip.refer.call_args.args == (caller, "sip:+4930@t")
    assert node.engine.music(driver.leg)
    node.exchange.on_sip(sip.TransferProgress(caller, 180, "Ringing", False))
    node.exchange.on_sip(sip.TransferProgress(caller, 200, "OK", True))
    assert node.told() == [180, 200]
    assert not node.engine.legs


async def test_the_desk_gives_a_waiting_caller_to_an_agent() -> None:
    node = Node("anna", "bo")
    driver = await node.caller()
    other = "bo" if driver.call.ringing == "anna" else "anna"
    node.exchange.control.pick_up(other, driver.call.id)
    assert driver.call.ringing == other
    handle = node.answer(other)
    assert node.talk(driver.caller, node.party(handle))
    node.exchange.control.transfer(driver.call.id, "pick")
    assert driver.call.queue == "pick"
    with pytest.raises(SipError):
        node.exchange.control.transfer(driver.call.id, "nowhere at all")
    with pytest.raises(SipError):
        node.exchange.control.hold("no such call")


DEEDS = ("caller", "dial", "answer", "fail", "hangup", "hold", "refer", "replace", "pickup", "desk", "time")


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_phones_do_nobody_is_lost_and_nothing_leaks(seed: int) -> None:
    """Callers, agents and colleagues at random; then everybody hangs up."""
    dice = random.Random(seed)
    agents = ("anna", "bo", "chen")
    node = Node(*agents)
    board = node.exchange.switchboard
    for _ in range(120):
        standing = list(board.parties)
        handle = dice.choice(standing) if standing else ""
        party = board.parties.get(handle)
        match dice.choice(DEEDS):
            case "caller":
                await node.caller(dice.choice(("move", "pick")))
            case "dial":
                node.dial(dice.choice(agents), dice.choice(agents))
            case "pickup":
                node.dial(dice.choice(agents), dice.choice(("*8", "*8pick")))
            case "replace" if party:
                node.dial(dice.choice(agents), "trunkline", replaces=handle)
            case "answer" if party and handle in node.invited and party.media.agreed is None:
                node.answer(node.invited[handle])
            case "fail" if party and handle in node.invited and party.media.agreed is None:
                node.exchange.on_sip(sip.CallFailed(handle, 486, "Busy Here"))
            case "hangup" if party:
                node.hang_up(handle)
            case "hold" if party and party.media.agreed:
                node.holds(handle, dice.choice(("sendonly", "inactive", "sendrecv")))
            case "refer" if party and party.agent:
                target = dice.choice((*agents, "pick", "3001", "nobody"))
                node.asks(handle, target, dice.choice((None, dice.choice(standing))))
            case "desk" if node.exchange.calls:
                call = dice.choice(list(node.exchange.calls))
                control = node.exchange.control
                verb = dice.choice((control.hold, control.retrieve, control.complete))
                try:
                    if dice.random() < 0.5:
                        verb(call)
                    else:
                        dice.choice((control.consult, control.transfer))(call, dice.choice(agents))
                except SipError:
                    pass
            case "time":
                node.clock.advance(dice.choice((0.1, 5.0, 70.0)))
                for driver in list(node.exchange.calls.values()):
                    if driver.call.deadline is not None and driver.call.deadline <= node.clock.now().mono:
                        driver.feed(m.Tick())
        check(node)
    for _ in range(200):
        if not board.parties:
            break
        node.hang_up(next(iter(board.parties)))
    assert not board.parties
    assert not node.engine.legs, "a leg leaked"
    assert not node.exchange.calls
    assert not node.exchange.control.internal
    assert not node.exchange.routing_state.waiting
    assert all(seat.doing != "talking" for seat in node.exchange.routing_state.seats.values())


def check(node: Node) -> None:
    """No leg without an owner, and nobody in a conversation hears silence unless somebody holds."""
    owned = {party.leg.handle for party in node.exchange.switchboard.parties.values()}
    assert {*node.engine.legs} <= owned, "a leg that nobody has"
    for driver in node.exchange.calls.values():
        call = driver.call
        if call.stage is m.Stage.BRIDGED:
            side = driver.agent
            assert side.party, "a conversation with nobody"
            held = "agent" in call.held
            assert node.engine.music(driver.leg) if held else node.talk(driver.caller, side.party), call.held


# --- hold, and who is asked ---------------------------------------------------------------------------------------


async def asking(node: Node) -> tuple[CallDriver, str, str]:
    """Anna, who talks with a caller, asks bo: both phones."""
    driver, first = await talking(node)
    node.exchange.control.consult(driver.call.id, "bo")
    return driver, first, node.answer("bo")


async def test_the_hold_key_while_a_colleague_is_asked_holds_the_colleague() -> None:
    node = Node("anna", "bo")
    driver, first, colleague = await asking(node)
    anna, bo = node.party(first), node.party(colleague)
    node.holds(first)
    assert node.engine.music(bo.leg)
    assert node.engine.music(driver.leg)
    node.holds(first, "sendrecv")
    assert node.talk(anna, bo)
    assert node.engine.music(driver.leg)
    node.holds(colleague)
    assert node.engine.music(anna.leg)
    node.holds(first)
    node.exchange.control.complete(driver.call.id)
    assert node.engine.music(driver.leg)  # bo holds still
    node.holds(colleague, "sendrecv")
    assert node.talk(driver.caller, bo)


async def test_an_agent_who_holds_when_the_colleague_answers_keeps_them_on_hold() -> None:
    node = Node("anna", "bo")
    driver, first = await talking(node)
    node.holds(first)
    node.exchange.control.consult(driver.call.id, "bo")
    bo = node.party(node.answer("bo"))
    assert node.engine.music(bo.leg)
    node.holds(first, "sendrecv")
    assert node.talk(node.party(first), bo)
    assert node.engine.music(driver.leg)


async def test_a_colleague_who_declines_leaves_the_caller_on_hold_while_the_agents_phone_holds() -> None:
    node = Node("anna", "bo")
    driver, first = await talking(node)
    node.holds(first)
    node.exchange.control.consult(driver.call.id, "bo")
    node.exchange.on_sip(sip.CallFailed(node.rung("bo"), 486, "Busy Here"))
    assert node.engine.music(driver.leg)
    node.holds(first, "sendrecv")
    assert node.talk(driver.caller, node.party(first))


async def silent(node: Node, leg: Leg) -> None:
    """The phone at the leg sends nothing, until it is asked whether it is there."""
    asked = asyncio.Event()
    node.sip.options.side_effect = lambda place: asked.set() or "ping"
    leg.on_event(media.RtpLost(0.0))
    async with asyncio.timeout(20):
        await asked.wait()


async def test_a_colleague_whose_phone_vanishes_while_asked_leaves_the_caller_to_the_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(switchboard, "AGENT_SILENCE_S", 0.0)
    node = Node("anna", "bo")
    driver, first, colleague = await asking(node)
    bo = node.party(colleague)
    await silent(node, bo.leg)
    node.exchange.on_sip(sip.OptionsAnswered("ping", 408, "Request Timeout"))
    assert node.talk(driver.caller, node.party(first))
    assert colleague not in node.exchange.switchboard.parties
    node.sip.drop_contacts.assert_called_with("sip:bo@x", "phone vanished")
    assert len(node.engine.legs) == 2


async def test_the_next_agents_hold_plays_music_after_a_conversation_was_withdrawn() -> None:
    node = Node("anna", "bo")
    driver, first = await talking(node)
    node.holds(first)
    driver.feed(routing.WithdrawOffer(driver.call.id, "anna", "anna talks with somebody else"))
    assert (driver.call.held, node.kinds().count("retrieved")) == ({}, 1)
    while driver.call.ringing != "bo":
        node.exchange.on_sip(sip.CallFailed(node.rung(driver.call.ringing or ""), 486, "Busy Here"))
    second = node.answer("bo")
    node.holds(second)
    assert node.engine.music(driver.leg)


async def test_a_caller_who_leaves_on_hold_leaves_its_length() -> None:
    node = Node("anna")
    driver, first = await talking(node)
    node.holds(first)
    node.clock.advance(7.0)
    node.hang_up(driver.caller.sip)
    assert ("retrieved", {"by": "agent", "seconds": 7.0}) in node.lines


async def test_a_phone_on_hold_is_asked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switchboard, "AGENT_SILENCE_S", 0.0)
    node = Node("anna", "bo")
    driver, first = await talking(node)
    node.holds(first)
    await silent(node, node.party(first).leg)
    node.exchange.on_sip(sip.OptionsAnswered("ping", 408, "Request Timeout"))
    assert (driver.call.stage, driver.call.agent) == (m.Stage.WAITING, None)
    assert not driver.call.held


@pytest.mark.parametrize(("reason", "asked"), [("expired", True), ("does not answer", True), ("unregistered", False)])
async def test_a_silent_phone_whose_registration_ends_is_asked_at_once(reason: str, asked: bool) -> None:
    node = Node("anna")
    _, first = await talking(node)
    node.party(first).leg.on_event(media.RtpLost(0.0))
    node.exchange.on_sip(sip.ContactDown("sip:anna@x", "sip:anna@127.0.0.1", reason, 0))
    assert node.sip.options.called is asked


# --- who may take whose place -------------------------------------------------------------------------------------


async def test_an_agent_who_talks_may_not_come_in_a_colleagues_place() -> None:
    node = Node("anna", "bo")
    one, first = await talking(node)
    two, second = await talking(node, "bo")
    node.dial("bo", "trunkline", replaces=first)
    assert node.sip.reject.call_args.args[1] == 486
    assert not node.sip.answer.call_args.args[0].startswith("in-5")
    assert node.talk(one.caller, node.party(first))
    assert node.talk(two.caller, node.party(second))


async def test_a_phone_that_only_rings_is_not_replaced() -> None:
    node = Node("anna", "bo")
    driver = await node.caller()
    rung = driver.call.ringing or ""
    node.dial("bo" if rung == "anna" else "anna", "trunkline", replaces=node.rung(rung))
    assert node.sip.reject.call_args.args[1] == 403
    assert driver.call.ringing == rung
    node = Node("anna", "bo", "chen")
    node.dial("anna", "bo")
    node.dial("chen", "trunkline", replaces=node.rung("bo"))
    assert node.sip.reject.call_args.args[1] == 403
    assert node.doing("chen") == "idle"


async def test_a_colleague_who_comes_in_anothers_place_takes_their_seat() -> None:
    node = Node("anna", "bo", "chen")
    node.dial("anna", "bo")
    bo = node.answer("bo")
    node.dial("chen", "trunkline", replaces=bo)
    assert [node.doing(agent) for agent in ("anna", "bo", "chen")] == ["talking", "idle", "talking"]


@pytest.mark.parametrize("how", ["REFER", "the desk"])
async def test_a_colleague_who_takes_a_caller_over_is_offered_nobody_in_between(how: str) -> None:
    node = Node("anna", "bo")
    if how == "the desk":
        driver, _, _ = await asking(node)
    else:
        driver, first = await talking(node)
        second = node.dial("anna", "bo")
        node.answer("bo")
    other = await node.caller()
    before = dict(node.invited)
    if how == "the desk":
        node.exchange.control.complete(driver.call.id)
    else:
        node.asks(first, "bo", replaces=second)
    assert driver.call.agent == "bo"
    assert [who for handle, who in node.invited.items() if handle not in before] == ["anna"]
    assert other.call.ringing == "anna"


async def test_a_caller_who_is_put_through_to_a_phone_that_rings_goes_before_one_who_waits() -> None:
    node = Node("anna", "bo")
    driver, first = await talking(node)
    second = node.dial("anna", "bo")
    other = await node.caller()
    node.asks(first, "bo", replaces=second)
    assert driver.call.ringing == "bo"
    assert other.call.ringing == "anna"
    assert node.talk(driver.caller, node.party(node.answer("bo")))


async def test_the_sip_call_that_takes_a_caller_over_is_told_to_be_part_of_the_call() -> None:
    node = Node("anna", "bo")
    joined: list[tuple[str, str]] = []
    node.exchange.switchboard.on_called = lambda call, handle: joined.append((call, handle))
    driver = await node.caller("pick")
    picked = node.dial("bo" if driver.call.ringing == "anna" else "anna", "*8")
    assert (driver.call.id, picked) in joined
    node.hang_up(picked)
    driver, first = await talking(node)
    second = node.dial("anna", "bo")
    colleague = node.answer("bo")
    node.asks(first, "bo", replaces=second)
    assert joined.count((driver.call.id, colleague)) == 1


async def test_a_colleague_whose_phone_is_a_number_outside_may_take_long_to_ring() -> None:
    node = Node("anna", "bo")
    outside = replace(node.exchange.agents["bo"], aor="tel:+4915112345678")
    node.exchange.agents = {**node.exchange.agents, "bo": outside}
    node.sip.endpoint.way_out.side_effect = lambda number: ("t", "127.0.0.1")
    loop = asyncio.get_running_loop()
    with patch.object(loop, "call_later", wraps=loop.call_later) as later:
        node.dial("anna", "bo")
        assert "caller" in node.sip.invite.call_args.kwargs
        assert [call.args[0] for call in later.call_args_list if call.args[0] in (4.0, 30.0)] == [30.0]
        node.exchange.control.close()
        driver, _ = await talking(node)
        later.reset_mock()
        node.exchange.control.consult(driver.call.id, "bo")
        assert [call.args[0] for call in later.call_args_list if call.args[0] in (4.0, 30.0)] == [30.0]
        node.hang_up(driver.caller.sip)


async def test_calls_between_colleagues_count_among_the_calls_that_a_node_takes() -> None:
    node = Node("anna", "bo")
    node.exchange.max_calls = 1
    node.dial("anna", "bo")
    node.offered("3001")
    assert node.sip.reject.call_args.args[1] == 503


async def test_the_desk_does_not_ring_an_agent_who_talks_for_a_waiting_caller() -> None:
    node = Node("anna")
    await talking(node)
    waits = await node.caller()
    before = dict(node.exchange.routing_state.waiting)
    with pytest.raises(SipError):
        node.exchange.control.pick_up("anna", waits.call.id)
    assert node.exchange.routing_state.waiting == before
