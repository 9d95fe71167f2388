"""Who is listened to at all: rates by source, lock-out after wrong passwords, scanners.

Most is decided before a message is read. Trusted sources (networks of the configuration, trunks) are never limited.
Known ones (an IP address and port that registered, called, or answered a request of ours) may speak as they like inside
their calls. All others are strangers.
"""

from __future__ import annotations

import ipaddress
import math
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

_GOING_ON = frozenset(["ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "NOTIFY"])
"""Methods that belong to something begun before: a lock-out does not end calls."""
_BEGINNINGS = (*(f"{method} ".encode() for method in sorted(_GOING_ON)), b"SIP/2.0 ")

FAMILIAR_S = 86_400.0
"""How long a network is familiar after a phone of ours was there."""
SHARED_S = 5.0
"""The longest a familiar network is locked out as a whole: it may be an office, where one phone has a wrong password.
There each account that is guessed at has a lock-out of its own, of `GUESSED_S` at most."""
GUESSED_S = 60.0
_NAME = 64

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
    `others`: what else a known phone may outside its calls. `strangers`: what all strangers may together, and once more
    the same for those of them who answer a challenge or come from where phones were lately. `lockout`: seconds after
    the first wrong password, doubled with each one more, and the longest. `trusted`: networks never limited.
    `scanners`: parts of User-Agents, in lower case, whose requests are dropped. `max_message`: octets, more is refused
    with 513; `max_headers`: lines, more is refused with 400. Raises ConfigError at once where a network is none."""

    requests: Rate = Rate(50, 200)
    registers: Rate = Rate(10, 100)
    invites: Rate = Rate(10, 50)
    others: Rate = Rate(100, 400)
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

    def fail(self, key: str, now: float, longest: float = math.inf) -> float:
        """Seconds it is locked out from now on, `longest` at most."""
        failures, until = self._held.get(key) or (0, now)
        if self._quiet(failures, until, now):
            failures = 0
        wait = min(longest, self._wait(failures + 1))
        self._held.touch(key, (min(failures + 1, 64), now + wait), now)
        return wait

    def locked(self, key: str, now: float) -> bool:
        return self.left(key, now) > 0

    def left(self, key: str, now: float) -> float:
        """Seconds it is still locked out."""
        held = self._held.get(key) if self._held else None
        return max(0.0, held[1] - now) if held else 0.0

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
    """Pure: `now` in monotonic seconds is handed in. `trunk`: whether an IP address is a trunk's. `issued`: whether a
    message from an IP address carries a nonce that was given to it. `count` is told dropped_locked_out, dropped_rate,
    dropped_strangers, dropped_scanner, lockouts, account_lockouts."""

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
        self._others = Buckets(defence.others)
        self._strangers = Buckets(defence.strangers, 2)
        self._sources = Lockouts(*defence.lockout)
        self._guesses = Lockouts(*defence.lockout)
        self._familiar: _Lately[str, float] = _Lately(KEPT, lambda heard, now: now - heard > FAMILIAR_S)
        self.issued: Callable[[bytes, str, float], bool] = lambda data, ip, now: False
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
        if self._sources.locked(key, now) and not data.startswith(_BEGINNINGS):
            self._count("dropped_locked_out")
        elif not self._requests.take(key, now):
            self._count("dropped_rate")
        elif not self._strangers.take(self._expected(key, source.ip, data, now), now):
            self._count("dropped_strangers")
        else:
            return True
        return False

    def _expected(self, network: str, ip: str, data: bytes, now: float) -> bool:
        """Whether a stranger is likely one of our phones. Whoever forges sources never hears a challenge, so that a
        flood of forged messages leaves the share of those who are expected alone."""
        return self._is_familiar(network, now) or self.issued(data, ip, now)

    def _is_familiar(self, network: str, now: float) -> bool:
        heard = self._familiar.get(network)
        return heard is not None and now - heard <= FAMILIAR_S

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
        """What becomes of a request outside dialogs: IN, DROP, or a status to refuse it with. A lock-out is asked for
        again, since it may have come while the message waited for its turn."""
        if self._trusted(source.ip, now):
            return IN
        if self._scans(request.get("User-Agent") or ""):
            self._count("dropped_scanner")
            return DROP
        known = source[:2] in self._known
        key = _place(source) if known else _network(source.ip)
        if request.method not in _GOING_ON and self._sources.locked(key, now):
            self._count("dropped_locked_out")
            return DROP
        buckets = self._begins.get(request.method, self._others if known else None)
        if buckets is None or buckets.take(key, now):
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
        if source[:2] not in self._known:
            self._familiar.touch(_network(source.ip), now, now)
        self._known.touch(source[:2], now, now)

    def forgets(self, source: Place) -> None:
        """A source we deal with no more: its connection is gone."""
        self._known.pop(source[:2], None)

    def succeeded(self, source: Place, account: str, now: float) -> None:
        """The right password of `account` came from there. Guesses at other accounts from there still count."""
        network = _network(source.ip)
        self._sources.forgive(_place(source))
        self._guesses.forgive(_guess(network, account))
        self._familiar.touch(network, now, now)
        self.knows(source, now)

    def failed_auth(self, source: Place, account: str, now: float) -> None:
        """A wrong password for `account`, which there may be or not, came from there. A known source is locked out
        alone, and its calls go on; a stranger with all who share its address and are strangers too."""
        if self._trusted(source.ip, now):
            return
        network = _network(source.ip)
        familiar = self._is_familiar(network, now)
        if source[:2] in self._known:
            self._sources.fail(_place(source), now)
        else:
            self._sources.fail(network, now, SHARED_S if familiar else math.inf)
        self._count("lockouts")
        if familiar:
            self._guesses.fail(_guess(network, account), now, GUESSED_S)
            self._count("account_lockouts")

    def barred(self, source: Place, account: str, now: float) -> float:
        """Seconds for which strangers at this address can't use the password of `account`, since one of them guessed at
        it. Guesses from elsewhere never bar anybody."""
        if not len(self._guesses) or source[:2] in self._known or self._trusted(source.ip, now):
            return 0.0
        return self._guesses.left(_guess(_network(source.ip), account), now)

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
            "others": self._others,
        }
        kept |= {"sources": self._sources, "guesses": self._guesses, "familiar": self._familiar}
        return {name: len(each) for name, each in kept.items()}


def _guess(network: str, account: str) -> str:
    return f"{network} {account[:_NAME]}"


def _place(source: Place) -> str:
    return f"{source.ip} {source.port}"


@lru_cache(maxsize=KEPT)
def _network(ip: str) -> str:
    """What a stranger is counted by: an IPv4 address, or an IPv6 network of 64 bits: those are handed out whole."""
    if ":" not in ip:
        return ip
    return str(ipaddress.ip_network((ip.partition("%")[0], 64), strict=False).network_address)
