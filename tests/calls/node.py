"""A node without network, sound or clock: the exchange, its switchboard, the routing policy and the calls as they are;
SIP, the engine, ears, voices and records stand in by values that a test looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from gateway.calls import model as m
from gateway.calls.driver import CallDriver
from gateway.calls.exchange import Exchange
from gateway.calls.negotiation import Terms
from gateway.calls.party import Party
from gateway.calls.served import queues
from gateway.calls.switchboard import Switchboard
from gateway.core.clock import FakeClock
from gateway.flow import dialled
from gateway.flow.check import load
from gateway.media.addresses import Addresses
from gateway.media.leg import Leg
from gateway.routing import model as routing
from gateway.routing import policy
from gateway.sip import events as sip
from gateway.sip import offer_answer
from gateway.sip.place import Place

FLOW = load(Path(__file__).parents[1] / "peers" / "flows" / "floor.yaml")
PEER = Place("127.0.0.1", 5070)
OFFER = offer_answer.offer("127.0.0.1", 4000)


class Engine:
    """Rooms, what plays where, and the legs that are open."""

    def __init__(self) -> None:
        self.legs: dict[int, Leg] = {}
        self.rooms: dict[int, int] = {}
        self.playing: dict[int, bool] = {}
        self.recorder = MagicMock(rate=8000, suffix=".wav")
        self._count = 0

    def open_leg(self, bind: str, ports: tuple[int, int], near: Leg | None = None) -> Leg:
        self._count += 1
        leg = Leg(self, self._count, "127.0.0.1", 20000 + 2 * self._count)
        leg.record = lambda *args: None
        self.legs[leg.handle] = leg
        return leg

    def forget(self, leg: Leg) -> None:
        del self.legs[leg.handle]
        self.rooms.pop(leg.handle, None)
        self.playing.pop(leg.handle, None)

    def do(self, command: str, *args: Any, **options: Any) -> Any:
        match command, args:
            case "open_room", _:
                self._count += 1
                return self._count
            case "join", (room, leg, _):
                self.rooms[leg] = room
            case "leave", (leg,):
                self.rooms.pop(leg, None)
            case "play", (leg, *_):
                self.playing[leg] = options["loop"]
            case "stop_play", (leg,):
                self.playing.pop(leg, None)
            case "stats", _:
                return {"packets_received": 0, "lost": 0, "codec": ""}
        return None

    def hears(self, leg: Leg) -> list[Leg]:
        """Who is heard at a leg: nobody while something plays there."""
        room = self.rooms.get(leg.handle)
        if room is None or leg.handle in self.playing:
            return []
        return [other for other in self.legs.values() if other is not leg and self.rooms.get(other.handle) == room]

    def music(self, leg: Leg) -> bool:
        return self.playing.get(leg.handle, False)


class Node:
    """One call after another may be made by `caller`, `dial`; `sip` are the verbs that were called."""

    def __init__(self, *agents: str) -> None:
        self.engine = Engine()
        self.sip = MagicMock()
        self.sip.invite.side_effect = self._invited
        self.sip.endpoint.number_outside.side_effect = lambda dialled: dialled if dialled.startswith("+49") else None
        self.sip.endpoint.refer_uri.return_value = None
        self.invited: dict[str, str] = {}
        self.clock = FakeClock()
        board = Switchboard(self.engine, Addresses(), (20000, 30000), Terms())
        board.endpoint = self.sip
        names = agents
        people = {a: routing.Agent(a, a.title(), f"sip:{a}@x", {"en-US": 5, "move": 1, "pick": 1}) for a in names}
        store = MagicMock()
        store.begin.side_effect = lambda *args, then, **more: then(None)
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.exchange = Exchange(
            clock=self.clock,
            ears=MagicMock(),
            prompts=MagicMock(at_hand=lambda *args: [MagicMock(handle=1)], tone=lambda *args: MagicMock(handle=0)),
            understand=MagicMock(),
            actions=MagicMock(),
            store=store,
            metrics=MagicMock(),
            switchboard=board,
            recordings=Path("/nowhere"),
            numbers=dialled.numbers([FLOW]),
            flows={FLOW.id: FLOW},
            agents=people,
            routing_state=policy.start(queues([FLOW])),
        )
        self.exchange.on_write = lambda call, kind, data: self.lines.append((kind, data))
        self._calls = 0
        for agent in people:
            self.exchange.on_sip(sip.ContactUp(f"sip:{agent}@x", f"sip:{agent}@127.0.0.1", 600, PEER))

    def _invited(self, target: str, offer: object, **options: object) -> str:
        self._calls += 1
        handle = f"out-{self._calls}"
        self.invited[handle] = target.partition(":")[2].partition("@")[0]
        return handle

    def offered(self, number: str, aor: str | None = None, replaces: str | None = None) -> str:
        """An INVITE to `number`; gives its handle."""
        self._calls += 1
        call = f"in-{self._calls}"
        user = aor.partition(":")[2].partition("@")[0] if aor else "5551"
        self.exchange.on_sip(
            sip.CallOffered(call, user, "", number, None if aor else "t", aor, OFFER, PEER, replaces=replaces)
        )
        return call

    async def caller(self, queue: str = "move") -> CallDriver:
        """A caller who waits in a queue."""
        handle = self.offered("3001")
        await turn()
        self.exchange.on_sip(sip.CallConfirmed(handle))
        driver = next(d for d in self.exchange.calls.values() if d.caller.sip == handle)
        for key in {"move": "35", "pick": "36"}[queue]:
            while driver.call.speaking:
                driver.feed(m.PromptDone(driver.call.speaking))
            driver.feed(m.KeyPressed(key))
        return driver

    def dial(self, agent: str, number: str, replaces: str | None = None) -> str:
        """A call from an agent's phone."""
        return self.offered(number, f"sip:{agent}@x", replaces)

    def party(self, handle: str) -> Party:
        return self.exchange.switchboard.parties[handle]

    def rung(self, agent: str) -> str:
        """The handle of the newest call to an agent's phone that still stands."""
        found = [h for h, who in self.invited.items() if who == agent and h in self.exchange.switchboard.parties]
        assert found, f"{agent} is not rung"
        return found[-1]

    def answer(self, agent: str) -> str:
        handle = self.rung(agent)
        self.exchange.on_sip(sip.CallProgress(handle, 180, "Ringing"))
        answer = offer_answer.answer(self.party(handle).media._offered, "127.0.0.1", 5000)
        media = offer_answer.agreed(self.party(handle).media._offered, answer)
        self.exchange.on_sip(sip.CallAnswered(handle, answer, media))
        return handle

    def hang_up(self, handle: str) -> None:
        self.exchange.on_sip(sip.CallEnded(handle, True, "hung up"))

    def holds(self, handle: str, direction: str = "sendonly") -> None:
        self.exchange.on_sip(sip.OfferChanged(handle, offer_answer.offer("127.0.0.1", 4000, direction=direction)))

    def asks(self, handle: str, dialled: str, replaces: str | None = None) -> None:
        """REFER."""
        event = sip.TransferAsked(handle, f"transfer-{handle}", f"sip:{dialled}@x", dialled, replaces)
        self.exchange.on_sip(event)

    def told(self) -> list[int]:
        """What phones that asked for transfers were told."""
        return [args.args[1] for args in self.sip.transfer_progress.call_args_list]

    def doing(self, agent: str) -> str:
        return self.exchange.routing_state.seats[agent].doing

    def talk(self, *parties: Party) -> bool:
        """Whether these parties, and nobody else, hear each other."""
        legs = [party.leg for party in parties]
        return all({*self.engine.hears(leg)} == {*legs} - {leg} for leg in legs)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.lines]


async def turn() -> None:
    """What waits on the loop goes on."""
    import asyncio

    for _ in range(5):
        await asyncio.sleep(0)
