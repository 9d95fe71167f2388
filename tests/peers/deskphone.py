"""A phone of our own SIP stack that does what few free phones do: several calls, hold, transfers with Replaces.

It runs on the hall's loop; its verbs are called from a test's thread. In each call it says one tone without end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.lab.leg import Leg
from gateway.lab.sounds import tone
from gateway.sip import events as sip
from gateway.sip import offer_answer
from gateway.sip.auth import Account
from gateway.sip.config import SipConfig
from gateway.sip.edge import Edge, Listen
from gateway.sip.endpoint import Endpoint
from gateway.sip.trunks import Trunk
from tests.peers.whole import Hall, password, tones, wait


@dataclass
class DeskLine:
    """One call of the phone."""

    call: str
    leg: Leg
    events: list[Any] = field(default_factory=list)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def up(self) -> bool:
        return bool(self.of(sip.CallAnswered) or self.of(sip.CallConfirmed)) and not self.over

    @property
    def over(self) -> bool:
        return bool(self.of(sip.CallEnded) or self.of(sip.CallFailed) or self.of(sip.CallCancelled))

    def heard(self, since: float, candidates: Sequence[float]) -> set[float]:
        """Those of `candidates` heard for half a second since then (monotonic seconds)."""
        return tones(self.leg.track.sound(since), candidates)

    def hears(self, candidates: Sequence[float]) -> set[float]:
        """Those heard in the second that begins now."""
        since = time.monotonic()
        time.sleep(1.2)
        return self.heard(since, candidates)


class Deskphone:
    """An agent's phone at the gateway. `answers`: it takes calls at once, else it rings for ever. With a `port` it is a
    phone behind a carrier instead, that never registers."""

    def __init__(self, hall: Hall, agent: str, hertz: float, *, answers: bool = True, port: int = 0) -> None:
        self.hall, self.agent, self.answers, self.port = hall, agent, answers, port
        self.sound = tone(hertz, 60.0, -15.0)
        self.lines: list[DeskLine] = []
        self.events: list[Any] = []
        self.edge: Edge = hall.do(self._open())
        if port:
            return
        account = Account(agent, password(agent))
        server = hall.gateway.sip
        self._do(lambda: self.edge.register(f"sip:{server}", f"sip:{agent}@{server}", account))
        wait(lambda: [e for e in self.events if isinstance(e, sip.Registered)], f"{agent} to be registered")

    async def _open(self) -> Edge:
        config = SipConfig(
            domain="127.0.0.1",
            user=self.agent,
            credentials=(Account(self.agent, password(self.agent)),),
            trunks=(Trunk("gateway", ("127.0.0.1",)),),
            destinations=("*",),
        )
        return await Edge.open(Endpoint(config), [Listen("udp", "127.0.0.1", self.port)], self._take)

    def close(self) -> None:
        self.hall.do(self.edge.close())
        for line in self.lines:
            self.hall.pacer.remove(line.leg)

    def _do(self, verb: Callable[[], Any]) -> Any:
        async def done() -> Any:
            return verb()

        return self.hall.do(done())

    def _take(self, event: sip.SipEvent) -> None:
        self.events.append(event)
        if isinstance(event, sip.CallOffered):
            line = self._line(event.call)
            line.events.append(event)
            assert event.offer is not None
            self.edge.ring(event.call)
            if self.answers:
                mine = offer_answer.answer(event.offer, "127.0.0.1", line.leg.port)
                self._attach(line, offer_answer.agreed(mine, event.offer))
                self.edge.answer(event.call, mine)
            return
        line = next((one for one in self.lines if one.call == getattr(event, "call", "")), None)
        if line is None:
            return
        line.events.append(event)
        if isinstance(event, sip.CallAnswered):
            self._attach(line, event.media)
        elif isinstance(event, sip.CallEnded):
            line.leg.hush()
            line.leg.remote = None

    def _line(self, call: str) -> DeskLine:
        line = DeskLine(call, self.hall.pacer.add(Leg("127.0.0.1")))
        self.lines.append(line)
        return line

    def _attach(self, line: DeskLine, media: offer_answer.Agreed) -> None:
        line.leg.attach(media.ip, media.port, media.payload, media.dtmf_payload)
        line.leg.say(self.sound)

    # --- verbs ----------------------------------------------------------------------------------------------------

    def dial(self, number: str) -> DeskLine:
        """Calls `number` at the gateway."""

        def verb() -> DeskLine:
            leg = Leg("127.0.0.1")
            offer = offer_answer.offer("127.0.0.1", leg.port)
            call = self.edge.invite(self.hall.gateway.uri(number), offer, from_user=self.agent)
            line = DeskLine(call, self.hall.pacer.add(leg))
            self.lines.append(line)
            return line

        line: DeskLine = self._do(verb)
        return line

    def hold(self, line: DeskLine, direction: str = "sendonly") -> None:
        self._change(line, direction)

    def resume(self, line: DeskLine) -> None:
        self._change(line, "sendrecv")

    def _change(self, line: DeskLine, direction: str) -> None:
        seen = len(line.of(sip.ChangeAnswered))
        offer = offer_answer.offer("127.0.0.1", line.leg.port, direction=direction)
        self._do(lambda: self.edge.change(line.call, offer))
        wait(lambda: len(line.of(sip.ChangeAnswered)) > seen, f"the answer to {direction}")

    def refer(self, line: DeskLine, number: str, replaces: DeskLine | None = None) -> None:
        """Asks the gateway to transfer."""
        other = replaces.call if replaces else None
        self._do(lambda: self.edge.refer(line.call, self.hall.gateway.uri(number), other))

    def hang_up(self, line: DeskLine) -> None:
        self._do(lambda: self.edge.hangup(line.call))

    def first(self) -> DeskLine:
        """The first call the phone had, once it is up."""
        line: DeskLine = wait(lambda: next((one for one in self.lines if one.up), None), f"a call at {self.agent}")
        return line
