"""The state of every trunk: who calls, which carries the next call, what is full, down or resting. Time is a value."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.sip.place import Place
from gateway.sip.trunks import Destinations, Network, Trunk
from gateway.sip.uri import Uri, ip_of

DOWN_AFTER = 2
UP_AFTER = 2
"""OPTIONS without an answer, and with one, in a row, after which a trunk is taken for down or up again."""

FAILOVER = frozenset((401, 407, 408, 430))
"""Final answers below 500 after which the next trunk is asked: ours or its login, its silence, its lost connection.
All from 500 to 599 are of the trunk too; what else comes was said by the callee or of the number."""

_REST_S = 10.0
_LONGEST_REST_S = 300.0
_LONGEST_RETRY_S = 3600.0
_MOST_PEERS = 4096
"""Source addresses whose trunk, or the lack of one, is remembered."""


def goes_on(status: int) -> bool:
    """Whether another trunk may succeed where one gave this final status."""
    return status in FAILOVER or 500 <= status < 600


class Bucket:
    """Lets `rate` through each second, at most `size` at once: a second's worth by default, one at least. A rate of 0
    lets all through."""

    def __init__(self, rate: float, size: float = 0.0) -> None:
        self.rate = rate
        self._size = max(1.0, size or rate)
        self._held = self._size
        self._at = 0.0

    def wait(self, now: float) -> float:
        """Takes one where there is one and gives 0; else seconds until there is."""
        if not self.rate:
            return 0.0
        self._held = min(self._size, self._held + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._held >= 1.0:
            self._held -= 1.0
            return 0.0
        return (1.0 - self._held) / self.rate

    def back(self) -> None:
        """One that was taken is not used."""
        self._held = min(self._size, self._held + 1.0)


@dataclass(slots=True)
class TrunkState:
    """How one trunk stands. Moments are monotonic seconds; `failure`: what went wrong last, in words, at `failed_at`.
    `registered`: None where it does not register; `routes`, `place`: the Service-Route and where it was granted.
    `answering`: what OPTIONS found, None where none are sent."""

    trunk: Trunk
    registered: bool | None = None
    registered_since: float | None = None
    expires_at: float | None = None
    answering: bool | None = None
    routes: tuple[str, ...] = ()
    place: Place | None = None
    failure: str = ""
    failed_at: float | None = None
    calls_in: int = 0
    calls_out: int = 0
    rests_until: float = 0.0
    failures: int = 0
    contrary: int = 0
    """OPTIONS in a row that said otherwise than `answering`."""
    inbound: Bucket = field(init=False)
    outbound: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.inbound, self.outbound = Bucket(self.trunk.per_second), Bucket(self.trunk.per_second)
        self.registered = False if self.trunk.register else None

    @property
    def up(self) -> bool:
        return self.registered is not False and self.answering is not False

    def words(self, now: float) -> str:
        """How it stands, for a person."""
        parts = ["up" if self.up else "down"]
        if self.registered_since is not None and self.expires_at is not None:
            since, left = now - self.registered_since, self.expires_at - now
            parts.append(f"registered for {_span(since)}, to be refreshed within {_span(left)}")
        if calls := self.calls_in + self.calls_out:
            parts.append(f"{calls} calls" if calls > 1 else "1 call")
        if self.failed_at is not None:
            parts.append(f"last trouble {_span(now - self.failed_at)} ago: {self.failure}")
        return "; ".join(parts)

    @property
    def full(self) -> bool:
        return 0 < self.trunk.max_calls <= self.calls_in + self.calls_out


class TrunkBook:
    """All trunks of one endpoint. Calls are named by their handles."""

    def __init__(
        self,
        trunks: Sequence[Trunk] = (),
        destinations: Destinations | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.destinations = destinations or Destinations()
        self.states = {trunk.name: TrunkState(trunk) for trunk in trunks}
        self._rng = rng or random.Random()
        self._networks = _by_length(trunks)
        self._peers: dict[str, Trunk | None] = {}
        self._accounts = {trunk.account.user: trunk for trunk in trunks if trunk.account}
        self._calls: dict[str, tuple[TrunkState, bool]] = {}
        self._calls_out = 0
        self._spend = Bucket(self.destinations.per_minute / 60, self.destinations.per_minute)
        self._homes: dict[str, tuple[frozenset[str], str]] = {}

    def __getitem__(self, name: str) -> TrunkState:
        return self.states[name]

    # --- who calls ------------------------------------------------------------------------------------------------

    def caller(self, ip: str, target: Uri) -> Trunk | None:
        """The trunk a request from `ip` to `target` comes by: one that we registered at, told by the line our contact
        had there, or by its address and the user we have there; else the one with the smallest network around `ip`."""
        if self._homes and (found := self._registered(ip, target)):
            return found
        return self._peer(ip)

    def at(self, ip: str) -> bool:
        """Whether any trunk is there."""
        return any(ip in ips for ips, _ in self._homes.values()) or self._peer(ip) is not None

    def _peer(self, ip: str) -> Trunk | None:
        if ip not in self._peers:
            if len(self._peers) >= _MOST_PEERS:
                self._peers.clear()
            address = ipaddress.ip_address(ip)
            self._peers[ip] = next((trunk for network, trunk in self._networks if address in network), None)
        return self._peers[ip]

    def _registered(self, ip: str, target: Uri) -> Trunk | None:
        line = target.param("line")
        found = None
        for name, (ips, ours) in self._homes.items():
            trunk = self.states[name].trunk
            if line and line == ours:
                return trunk
            if ip in ips:
                user = trunk.register.user if trunk.register else ""
                if target.user == user:
                    return trunk
                found = found or trunk
        return found

    def stands_at(self, trunk: Trunk, ip: str) -> bool:
        """Whether an address is one of a trunk's own: listed, its server's or proxy's, or where we registered. Whoever
        learns the line of our contact calls from elsewhere."""
        if ip in self._homes.get(trunk.name, (frozenset[str](), ""))[0]:
            return True
        if any(uri and ip_of(uri.host) == ip for uri in (trunk.server_uri, trunk.proxy_uri)):
            return True
        return any(ipaddress.ip_address(ip) in network for network in trunk.networks)

    def by_account(self, user: str) -> Trunk | None:
        return self._accounts.get(user)

    # --- calls ----------------------------------------------------------------------------------------------------

    def admit(self, name: str, call: str, now: float) -> float:
        """Counts a call that comes in; 0 where it may, else seconds after which it may be tried again."""
        state = self.states[name]
        if state.full:
            return 1.0 + self._rng.random() * 4.0
        wait = state.inbound.wait(now)
        if not wait:
            state.calls_in += 1
            self._calls[call] = (state, False)
        return wait

    def spends(self, now: float) -> bool:
        """Whether one more call may go out at all, by the limits over all trunks."""
        most = self.destinations.max_calls
        return (not most or self._calls_out < most) and not self._spend.wait(now)

    def take(self, name: str, call: str, now: float) -> bool:
        """Counts a call that goes out by a trunk, which leaves the one it went by before; False where the trunk is
        full."""
        self.release(call)
        state = self.states[name]
        if state.full or state.outbound.wait(now):
            return False
        state.calls_out += 1
        self._calls_out += 1
        self._calls[call] = (state, True)
        return True

    def release(self, call: str) -> None:
        """A call is over; one that nobody counted changes nothing."""
        state, out = self._calls.pop(call, (None, False))
        if state is None:
            return
        if out:
            state.calls_out -= 1
            self._calls_out -= 1
        else:
            state.calls_in -= 1

    def choose(self, number: str, name: str | None, now: float) -> list[Trunk]:
        """The trunks for a call to `number`, in the order in which they are tried: `name` and those after it, or those
        of a route, or all by priority and weight. One that is down is left out, one that rests comes last."""
        named = [name] if name else list(self.destinations.trunks_for(number)) or self._drawn()
        order = dict.fromkeys(named)
        for first in named:
            order.update(dict.fromkeys(self._after(first)))
        states = [self.states[each] for each in order if each in self.states]
        usable = [state for state in states if state.trunk.dials and state.up]
        return [state.trunk for state in sorted(usable, key=lambda state: state.rests_until > now)]

    def _after(self, name: str) -> tuple[str, ...]:
        return self.states[name].trunk.failover if name in self.states else ()

    def _drawn(self) -> list[str]:
        """Every trunk that dials, by priority; among equals a heavier one tends to come first (RFC 2782)."""
        trunks = [state.trunk for state in self.states.values() if state.trunk.dials]
        keys = {t.name: (t.priority, -(self._rng.random() ** (1.0 / max(1, t.weight)))) for t in trunks}
        return sorted(keys, key=keys.__getitem__)

    # --- up and down ----------------------------------------------------------------------------------------------

    def worked(self, name: str) -> None:
        """A call went through: the trunk rests no more."""
        state = self.states[name]
        state.failures, state.rests_until = 0, 0.0

    def failed(self, name: str, why: str, now: float, retry_after: float | None = None) -> None:
        """A call failed and the trunk is why: others go first for `retry_after` seconds, by default ever longer."""
        state = self.states[name]
        state.failures += 1
        rest = min(_LONGEST_REST_S, _REST_S * 2 ** min(state.failures - 1, 8))
        state.rests_until = now + (rest if retry_after is None else min(retry_after, _LONGEST_RETRY_S))
        state.failure, state.failed_at = why, now

    def registered(
        self,
        name: str,
        expires: float,
        now: float,
        ips: Iterable[str] = (),
        line: str = "",
        routes: tuple[str, ...] = (),
        place: Place | None = None,
    ) -> bool:
        """Our registration at `place` stands for `expires` seconds; its calls come from `ips` or to `line`, and go out
        with `routes`. True where the trunk is up by that."""
        state, was_up = self.states[name], self.states[name].up
        if not state.registered:
            state.registered_since = now
        state.registered, state.expires_at = True, now + expires
        state.routes, state.place = routes, place
        self._homes[name] = (frozenset(ips), line)
        return state.up and not was_up

    def unregistered(self, name: str, why: str, now: float) -> bool:
        """Our registration there is gone or was refused. True where the trunk is down by that."""
        state, was_up = self.states[name], self.states[name].up
        state.registered, state.registered_since, state.expires_at = False, None, None
        state.routes, state.place = (), None
        state.failure, state.failed_at = why, now
        self._homes.pop(name, None)
        return was_up

    def heard(self, name: str, alive: bool, why: str, now: float) -> bool:
        """OPTIONS were answered or not. True where the trunk is up or down by that; the first answer counts at once."""
        state, was_up = self.states[name], self.states[name].up
        if not alive:
            state.failure, state.failed_at = why, now
        if state.answering is alive:
            state.contrary = 0
        else:
            state.contrary += 1
            first_answer = state.answering is None and alive
            if first_answer or state.contrary >= (UP_AFTER if alive else DOWN_AFTER):
                state.answering, state.contrary = alive, 0
        return state.up is not was_up


def _span(seconds: float) -> str:
    """A duration as people say it, roughly."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {unit}"
    return f"{max(0, round(seconds))} s"


def _by_length(trunks: Sequence[Trunk]) -> list[tuple[Network, Trunk]]:
    """Networks of all trunks, the smallest first; among equals the order of the trunks."""
    pairs = [(network, trunk) for trunk in trunks for network in trunk.networks]
    return sorted(pairs, key=lambda pair: pair[0].max_prefixlen - pair[0].prefixlen)
