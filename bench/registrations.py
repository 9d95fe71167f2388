"""A day of 500 phones that register again and again, time being a value: what a registrar keeps, what a message costs.

    python bench/registrations.py --phones 500 --hours 24

Every phone asks for an hour and comes back after 45 to 55 minutes, with credentials of a nonce that is too old by then,
is challenged and answers. Some stand behind a NAT and are pinged each 25 s; one ping in twenty is lost. Some leave for
a while and come back from another port, some only fall silent. Bytes are those that Python's allocator holds for the
endpoint and the phones (tracemalloc) after the caches of parsed headers, which have a size of their own, were emptied.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from gateway.sip.auth import Account, credentials, read_challenges
from gateway.sip.config import SipConfig
from gateway.sip.endpoint import Endpoint
from gateway.sip.message import Request, Response, parse, respond
from gateway.sip.place import Place
from gateway.sip.via import parse_via

_Cached = type(parse_via)
HERE = "192.0.2.1"
LIFE_S = 3600
BEGIN = 1000.0
LOST_PINGS = 0.05


class Phone:
    """One phone's side, by hand. `place`: what the gateway sees; `inside`: the address it calls its own."""

    def __init__(self, number: int, behind_nat: bool, rng: random.Random) -> None:
        self.user = f"agent{number}"
        self.account = Account(self.user, f"secret-{number}")
        self.rng = rng
        self.behind_nat = behind_nat
        self.call_id = f"{rng.getrandbits(64):016x}"
        self.cseq = 0
        self.challenge = ""
        self.count = 0
        self.expires = LIFE_S
        self.move()

    def move(self) -> None:
        """Another port, as after a restart of the phone or its NAT."""
        ip = f"198.51.{self.rng.randrange(100)}.{self.rng.randrange(1, 255)}"
        self.place = Place(ip, self.rng.randrange(1024, 65536))
        self.inside = "192.168.1.5:5060" if self.behind_nat else f"{self.place.ip}:{self.place.port}"

    def register(self) -> bytes:
        self.cseq += 1
        branch = f"z9hG4bK{self.rng.getrandbits(64):016x}"
        lines = [
            f"REGISTER sip:{HERE} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.inside};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{self.user}@{HERE}>;tag={self.rng.getrandbits(32):08x}",
            f"To: <sip:{self.user}@{HERE}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} REGISTER",
            f'Contact: <sip:{self.user}@{self.inside}>;+sip.instance="<urn:uuid:{self.user}>"',
            f"Expires: {self.expires}",
            "Supported: path, outbound, gruu",
            "User-Agent: bench 1.0",
        ]
        if self.challenge:
            self.count += 1
            (found,) = read_challenges([self.challenge], ())
            value = credentials(found, self.account, "REGISTER", f"sip:{HERE}", self.count, "0a4f113b")
            lines.append(f"Authorization: {value}")
        return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()

    def challenged(self, response: Response) -> None:
        self.challenge, self.count = response.all("WWW-Authenticate")[0], 0


def settled() -> None:
    """Empties the caches of parsed headers and collects garbage, so that memory can be compared."""
    gc.collect()
    for thing in gc.get_objects():
        if isinstance(thing, _Cached) and thing.__module__.startswith("gateway.sip"):
            thing.cache_clear()
    gc.collect()


class Day:
    """The gateway and its phones. `run(seconds)` lets time pass; nothing but time decides what happens."""

    def __init__(self, phones: int = 500, nat_share: float = 0.02, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.phones = [Phone(n, n < phones * nat_share, self.rng) for n in range(phones)]
        accounts = tuple(phone.account for phone in self.phones)
        config = SipConfig(domain=HERE, host=HERE, port=5060, accounts=accounts)
        self.endpoint = Endpoint(config, random.Random(seed))
        self.now = BEGIN
        self.answers: dict[int, int] = {}
        self.spent_s = 0.0
        self.messages = 0
        self._order = 0
        self._due: list[tuple[float, int, Phone]] = []
        self._by_place: dict[Place, Phone] = {}
        for phone in self.phones:
            self._later(phone, self.rng.uniform(0, 60))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            timer = self.endpoint.next_timer()
            next_phone = self._due[0][0] if self._due else until + 1
            at = min(next_phone, until + 1 if timer is None else timer)
            if at > until:
                break
            self.now = max(self.now, at)
            if timer is not None and timer <= self.now:
                self._timed(lambda: self.endpoint.tick(self.now))
                self._carry()
            else:
                self._turn(heapq.heappop(self._due)[2])
        self.now = until

    def counts(self) -> dict[str, int]:
        """Everything an endpoint keeps that could grow."""
        stack, register = self.endpoint._stack, self.endpoint._register
        return {
            "bindings": len(register.registrar),
            "nonces": len(register.admission.authenticator._counts),
            "alarms": len(stack.timers._heap),
            "transactions": len(stack.transactions),
            "pings": len(register.keepalive),
            "dialogs": len(stack.dialogs),
        }

    def _later(self, phone: Phone, seconds: float) -> None:
        self._order += 1
        heapq.heappush(self._due, (self.now + seconds, self._order, phone))

    def _turn(self, phone: Phone) -> None:
        chance = self.rng.random()
        if chance < 0.03 and phone.cseq:  # switched off without a word, and on again elsewhere
            self._by_place.pop(phone.place, None)
            phone.move()
            self._later(phone, self.rng.uniform(0, 2 * LIFE_S))
            return
        leaves = chance > 0.97
        self._by_place[phone.place] = phone
        phone.expires = 0 if leaves else LIFE_S
        self._send(phone.register(), phone)
        self._later(phone, self.rng.uniform(600, 1200) if leaves else self.rng.uniform(2700, 3300))

    def _send(self, data: bytes, phone: Phone) -> None:
        self._timed(lambda: self.endpoint.receive(data, phone.place, self.now))
        self._carry()

    def _carry(self) -> None:
        self.endpoint.take_events()
        for data, place in self.endpoint.take_messages():
            phone = self._by_place.get(place)
            message = parse(data)
            if isinstance(message, Response):
                self.answers[message.status] = self.answers.get(message.status, 0) + 1
                if message.status == 401 and phone:
                    phone.challenged(message)
                    self._send(phone.register(), phone)
            elif isinstance(message, Request) and phone and self.rng.random() > LOST_PINGS:
                self._send(respond(message, 200, tag="t").encode(), phone)

    def _timed(self, work: Callable[[], None]) -> None:
        began = time.perf_counter()
        work()
        self.spent_s += time.perf_counter() - began
        self.messages += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phones", type=int, default=500)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--nat", type=float, default=0.02, help="share of phones behind a NAT")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tracemalloc.start()
    day = Day(options.phones, options.nat)
    rows: list[list[object]] = []
    for hour in range(1, options.hours + 1):
        day.run(3600)
        settled()
        if hour in (1, 2, options.hours) or hour % 4 == 0:
            rows.append([hour, tracemalloc.get_traced_memory()[0], *day.counts().values()])
    figures.table(f"{options.phones} phones, {options.hours} h", ("hour", "bytes", *day.counts()), rows)
    tracemalloc.stop()
    plain = Day(options.phones, options.nat)
    plain.run(3600 * min(options.hours, 4))
    answers = ", ".join(f"{status}: {n:,}" for status, n in sorted(day.answers.items()))
    figures.out.print(
        f"Answers {answers}. One message or alarm: {plain.spent_s / plain.messages * 1e6:.0f} us"
        f" (n = {plain.messages:,}, without tracemalloc)",
        highlight=False,
    )
    figures.write_json(options.json, {"rows": rows, "answers": day.answers})


if __name__ == "__main__":
    main()
