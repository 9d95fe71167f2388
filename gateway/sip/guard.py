"""Who is listened to at all: rates by source, lock-out after wrong passwords, scanners.

Most is decided before a message is read. Trusted sources (networks of the configuration, trunks) are never limited.
Known ones (an IP address and port that registered, called, or answered a request of ours) may speak as they like inside
their calls. All others are strangers.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sized
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Generic, TypeVar

from gateway.core.errors import ConfigError
from gateway.sip.message import Request
from gateway.sip.place import Place

SCANNERS = (
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sip-scan",
    "sipscan",
    "sipcli",
    "sundayddr",
    "vaxsipuseragent",
    "vaxipuseragent",
    "pplsip",
    "siparmyknife",
    "mr.sip",
    "iwar",
    "sivus",
    "smap ",
    "nmap",
)
"""Parts of User-Agents of programs that look for open gateways and weak passwords, in lower case."""

KEPT = 16_384
KNOWN = 65_536
KNOWN_S = 7200.0
"""Sources remembered with what they did lately, known places, and how long those may be silent; the one heard longest
ago goes first."""

IN, DROP = 0, -1
BUSY = 503

_GOING_ON = (b"ACK ", b"BYE ", b"CANCEL ", b"PRACK ", b"UPDATE ", b"INFO ", b"NOTIFY ", b"SIP/2.0 ")
"""How messages begin that belong to something begun before: a lock-out does not end calls."""

_HOMES = 8
_VOUCHED_S = 10.0
_FRESH_S = 30.0
_QUIET_S = 600.0

_Where = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` for ever, `burst` at once."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class Defence:
    """`requests`, `registers`, `invites`: what one stranger may send (the last two also what one known phone may);
    `strangers`: what all of them may together. `lockout`: seconds after the first wrong password, doubled with each
    one more, and the longest. `trusted`: networks never limited. `scanners`: parts of User-Agents, in lower case, whose
    requests are dropped. `max_message`: octets, more is refused with 513; `max_headers`: lines, more is refused with
    400. Raises ConfigError at once where a network is none."""

    requests: Rate = Rate(50, 200)
    registers: Rate = Rate(10, 100)
    invites: Rate = Rate(10, 50)
    strangers: Rate = Rate(300, 300)
    lockout: tuple[float, float] = (1.0, 3600.0)
    trusted: tuple[str, ...] = ("127.0.0.0/8", "::1")
    scanners: tuple[str, ...] = SCANNERS
    max_message: int = 32_768
    max_headers: int = 200

    def __post_init__(self) -> None:
        _ = self.networks

    @cached_property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        try:
            return tuple(ipaddress.ip_network(text, strict=False) for text in self.trusted)
        except ValueError as error:
            raise ConfigError("A trusted network is none", read=str(error), expected="such as 192.0.2.0/24") from None


_K = TypeVar("_K")
_V = TypeVar("_V")


class _Lately(OrderedDict[_K, _V], Generic[_K, _V]):
    """A map that forgets what was touched longest ago. `over`: whether a value means nothing any more at a time."""

    def __init__(self, most: int, over: Callable[[_V, float], bool] = lambda value, now: False) -> None:
        super().__init__()
        self._most = most
        self._over = over

    def touch(self, key: _K, value: _V, now: float = 0.0) -> None:
        self[key] = value
        self.move_to_end(key)
        for _ in range(2):  # two go for each one that comes, so that it shrinks
            oldest = next(iter(self))
            if len(self) <= self._most and not self._over(self[oldest], now):
                break
            del self[oldest]


class Buckets:
    """A token bucket for each key."""

    def __init__(self, rate: Rate, most: int = KEPT) -> None:
        self._rate = rate
        full = rate.burst / rate.per_second
        self._held: _Lately[object, tuple[float, float]] = _Lately(most, lambda held, now: now - held[1] > full)

    def take(self, key: object, now: float) -> bool:
        """Whether one more may pass."""
        left, at = self._held.get(key) or (float(self._rate.burst), now)
        left = min(self._rate.burst, left + (now - at) * self._rate.per_second)
        self._held.touch(key, (left - 1 if left >= 1 else left, now), now)
        return left >= 1

    def __len__(self) -> int:
        return len(self._held)


class Lockouts:
    """Who waits after wrong passwords: each one more doubles the wait. Forgotten after a right one, or after ten quiet
    minutes (as long as the last wait, where that was longer)."""

    def __init__(self, first: float, longest: float, most: int = KEPT) -> None:
        self._first = first
        self._longest = longest
        self._held: _Lately[str, tuple[int, float]] = _Lately(most, lambda held, now: self._quiet(*held, now))

    def fail(self, key: str, now: float) -> float:
        """Seconds it is locked out from now on."""
        failures, until = self._held.get(key) or (0, now)
        if self._quiet(failures, until, now):
            failures = 0
        wait = self._wait(failures + 1)
        self._held.touch(key, (min(failures + 1, 64), now + wait), now)
        return wait

    def locked(self, key: str, now: float) -> bool:
        held = self._held.get(key) if self._held else None
        return held is not None and held[1] > now

    def forgive(self, key: str) -> None:
        self._held.pop(key, None)

    def waiting(self, now: float) -> list[tuple[str, float]]:
        """Who is locked out and until when, those locked out last first."""
        return [(key, until) for key, (_, until) in reversed(self._held.items()) if until > now]

    def _quiet(self, failures: int, until: float, now: float) -> bool:
        return now - until > max(_QUIET_S, self._wait(failures))

    def _wait(self, failures: int) -> float:
        return min(self._longest, self._first * 2.0 ** (failures - 1)) if failures else 0.0

    def __len__(self) -> int:
        return len(self._held)


class Guard:
    """Pure: `now` in monotonic seconds is handed in. `trunk`: whether an IP address is a trunk's. `count` is told
    dropped_locked_out, dropped_rate, dropped_strangers, dropped_scanner, lockouts, account_lockouts."""

    def __init__(
        self,
        defence: Defence,
        trunk: Callable[[str], bool] = lambda ip: False,
        count: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.defence = defence
        self._trunk = trunk
        self._count = count
        self._known: _Lately[_Where, float] = _Lately(KNOWN, lambda heard, now: now - heard > KNOWN_S)
        self._vouched: dict[str, bool] = {}
        self._vouched_until = 0.0
        self._requests = Buckets(defence.requests)
        self._begins = {"INVITE": Buckets(defence.invites), "REGISTER": Buckets(defence.registers)}
        self._strangers = Buckets(defence.strangers, 1)
        self._sources = Lockouts(*defence.lockout)
        self._accounts = Lockouts(*defence.lockout)
        self._homes: _Lately[str, tuple[str, ...]] = _Lately(KEPT)
        self._scans = lru_cache(maxsize=1024)(self._scanner)

    # --- before a message is read ---------------------------------------------------------------------------------

    def hears(self, source: Place, data: bytes, now: float) -> bool:
        """Whether a message is worth reading, by its source and how it begins."""
        where = source[:2]
        heard = self._known.get(where)
        if heard is not None:
            if now - heard > _FRESH_S:
                self._known.touch(where, now, now)
            return True
        if self._trusted(source.ip, now):
            return True
        key = _network(source.ip)
        if self._sources.locked(key, now) and not data.startswith(_GOING_ON):
            self._count("dropped_locked_out")
        elif not self._requests.take(key, now):
            self._count("dropped_rate")
        elif not self._strangers.take("", now):
            self._count("dropped_strangers")
        else:
            return True
        return False

    def _trusted(self, ip: str, now: float) -> bool:
        """Asked anew every few seconds, since trunks move."""
        if now >= self._vouched_until or len(self._vouched) > KEPT:
            self._vouched.clear()
            self._vouched_until = now + _VOUCHED_S
        found = self._vouched.get(ip)
        if found is None:
            address = ipaddress.ip_address(ip.partition("%")[0])
            found = any(address in network for network in self.defence.networks) or self._trunk(ip)
            self._vouched[ip] = found
        return found

    # --- once it is read ------------------------------------------------------------------------------------------

    def admits(self, source: Place, request: Request, now: float) -> int:
        """What becomes of a request that begins something: IN, DROP, or a status to refuse it with."""
        if self._trusted(source.ip, now):
            return IN
        if self._scans(request.get("User-Agent") or ""):
            self._count("dropped_scanner")
            return DROP
        known = source[:2] in self._known
        if known and self._sources.locked(_place(source), now):
            self._count("dropped_locked_out")
            return DROP
        buckets = self._begins.get(request.method)
        if buckets is None or buckets.take(source[:2] if known else _network(source.ip), now):
            return IN
        self._count("dropped_rate")
        return BUSY if known else DROP

    def stranger(self, source: Place, now: float) -> bool:
        """Whether nobody vouches for a source yet: it is told no more than it must be, and nothing is kept of it."""
        return source[:2] not in self._known and not self._trusted(source.ip, now)

    def _scanner(self, agent: str) -> bool:
        lower = agent.lower()
        return any(part in lower for part in self.defence.scanners)

    # --- what came of it ------------------------------------------------------------------------------------------

    def knows(self, source: Place, now: float) -> None:
        """A source we deal with: it was let in, or answered a request of ours."""
        self._known.touch(source[:2], now, now)

    def forgets(self, source: Place) -> None:
        """A source we deal with no more: its connection is gone."""
        self._known.pop(source[:2], None)

    def succeeded(self, source: Place, account: str, now: float) -> None:
        """The right password of `account` came from there."""
        network = _network(source.ip)
        self._sources.forgive(network)
        self._sources.forgive(_place(source))
        homes = self._homes.get(account) or ()
        self._homes.touch(account, (network, *(home for home in homes if home != network))[:_HOMES])
        if not self._accounts.locked(account, now):
            self._accounts.forgive(account)
        self.knows(source, now)

    def failed_auth(self, source: Place, account: str | None, now: float) -> None:
        """A wrong password came from there. `account`: whose, where there is such an account. A known source is locked
        out alone, and its calls go on; a stranger with all who share its address and are strangers too."""
        if self._trusted(source.ip, now):
            return
        network = _network(source.ip)
        self._sources.fail(_place(source) if source[:2] in self._known else network, now)
        self._count("lockouts")
        if account is not None and network not in (self._homes.get(account) or ()):
            self._accounts.fail(account, now)
            self._count("account_lockouts")

    def barred(self, source: Place, account: str, now: float) -> bool:
        """Whether even the right password of `account` is taken for a wrong one, since strangers guess at it. Never
        from a network it was right from before."""
        if not self._accounts.locked(account, now) or self._trusted(source.ip, now):
            return False
        return source[:2] not in self._known and _network(source.ip) not in (self._homes.get(account) or ())

    def locked_out(self, now: float, most: int = 100) -> list[tuple[str, float]]:
        """Sources that are not listened to after wrong passwords, and until when."""
        return self._sources.waiting(now)[:most]

    @property
    def sizes(self) -> dict[str, int]:
        """How much is remembered of each kind."""
        kept: dict[str, Sized] = {
            "known": self._known,
            "vouched": self._vouched,
            "requests": self._requests,
            **self._begins,
        }
        kept |= {"sources": self._sources, "accounts": self._accounts, "homes": self._homes}
        return {name: len(each) for name, each in kept.items()}


def _place(source: Place) -> str:
    return f"{source.ip} {source.port}"


@lru_cache(maxsize=KEPT)
def _network(ip: str) -> str:
    """What a stranger is counted by: an IPv4 address, or an IPv6 network of 64 bits: those are handed out whole."""
    if ":" not in ip:
        return ip
    return str(ipaddress.ip_network((ip.partition("%")[0], 64), strict=False).network_address)
