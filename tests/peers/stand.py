"""A gateway and sipp at the two ends of scenarios: what is dialled, or which phone rings, says who takes a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gateway.sip import offer_answer
from gateway.sip.config import SipConfig, Trunk
from gateway.sip.edge import Edge, Listen
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import (
    CallEnded,
    CallOffered,
    SipEvent,
)
from gateway.sip.sdp import SessionDescription
from tests.peers import script
from tests.peers.programs import free_port, need
from tests.peers.relay import Relay
from tests.sip.peers import listening

Kind = TypeVar("Kind")
PATIENCE_S = 40.0


class Line:
    """One call of the gateway's, and what happened to it."""

    def __init__(self, hall: Hall, call: str) -> None:
        self.hall, self.call = hall, call
        self.edge = hall.edge
        self.queue: asyncio.Queue[SipEvent] = asyncio.Queue()

    async def event(self, kind: type[Kind]) -> Kind:
        """The next event of a kind; those before it are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event = await self.queue.get()
                if isinstance(event, kind):
                    return event

    async def offered(self) -> CallOffered:
        return await self.event(CallOffered)

    async def answer(self) -> CallOffered:
        """Answers what comes in, at once."""
        offered = await self.offered()
        self.edge.answer(self.call, described(offered.offer))
        return offered


class Hall:
    """The gateway: what is dialled says who deals with a call."""

    def __init__(self) -> None:
        self.edge: Edge
        self.lines: dict[str, Line] = {}
        self.users: dict[str, Callable[[Line], Awaitable[None]]] = {}
        self.tasks: dict[str, list[asyncio.Task[None]]] = {}

    @classmethod
    async def open(cls, **config: Any) -> Hall:
        self = cls()
        settings = {"trunks": (Trunk("loopback", ("127.0.0.0/8",)),), "destinations": ("*",), **config}
        endpoint = Endpoint(SipConfig(domain="127.0.0.1", **settings))
        self.edge = await Edge.open(endpoint, (Listen("udp", "127.0.0.1", 0),), self.hear)
        return self

    def hear(self, event: SipEvent) -> None:
        if isinstance(event, CallOffered):
            line = self.lines[event.call] = Line(self, event.call)
            user = self.users[event.dialled]
            self.tasks.setdefault(event.dialled, []).append(asyncio.ensure_future(user(line)))
        call = getattr(event, "call", "")
        if call in self.lines:
            self.lines[call].queue.put_nowait(event)

    def dial(self, port: int, **more: Any) -> Line:
        """The gateway calls the phone on `port`."""
        offer = more.pop("offer", described())
        call = self.edge.invite(f"sip:phone@127.0.0.1:{port}", offer, **more)
        line = self.lines[call] = Line(self, call)
        return line


def described(
    offer: SessionDescription | None = None, port: int = 6000, direction: str = "sendrecv"
) -> SessionDescription:
    if offer is None:
        return offer_answer.offer("127.0.0.1", port, direction=direction)
    return offer_answer.answer(offer, "127.0.0.1", port)


@dataclass
class Scenario:
    """`steps` of sipp; `user` deals with the call in the gateway, `dials` makes it. `timed`: by the gateway whose calls
    stand for four seconds without a refresh. `lossy`: over a link that loses the first of everything."""

    steps: list[str]
    user: Callable[[Line], Awaitable[None]] | None = None
    dials: Callable[[Hall, int], Awaitable[None]] | None = None
    calls: int = 1
    timed: bool = False
    lossy: bool = False


async def ended(line: Line) -> None:
    await line.event(CallEnded)


async def never_hears_of_it(line: Line) -> None:
    """The user of calls that are refused before any user hears of them."""
    raise AssertionError("a call was offered")


async def play(hall: Hall, name: str, scenario: Scenario, folder: Path) -> str:
    """One scenario to its end; what went wrong, or nothing."""
    script.write(folder, name, scenario.steps)
    port = free_port()
    relay = await Relay.open(hall.edge.port, port) if scenario.lossy else None
    near, far = (relay.near, relay.far) if relay else (hall.edge.port, port)  # where sipp and the gateway send to
    command = [need("sipp"), "-sf", "scenario.xml", "-i", "127.0.0.1", "-p", str(port), "-mp", str(free_port(4))]
    command += ["-m", str(scenario.calls), "-r", "20", "-nostdin", "-timeout", "60s", "-timeout_error", "-s", name]
    command += ["-key", "contact", str(far)]
    command += ["-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log"]
    if not scenario.dials:
        command.append(f"127.0.0.1:{near}")
        hall.users[name] = scenario.user or never_hears_of_it
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=quiet, stderr=quiet)
    try:
        async with asyncio.timeout(70):
            if scenario.dials:
                await listening(port)
                await scenario.dials(hall, far)
            code = await process.wait()
            await asyncio.gather(*hall.tasks.get(name, ()))
        assert not relay or min(relay.lost) > 0, relay.lost
    except (AssertionError, TimeoutError) as error:
        return f"{error!r}\n{logs(folder)}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if relay:
            relay.close()
    return "" if code == 0 else f"sipp ended with {code}\n{logs(folder)}"


def logs(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-4000:] for path in sorted(folder.glob("*.log")))
