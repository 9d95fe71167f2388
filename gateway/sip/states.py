"""Transactions as tables: RFC 3261 section 17 with the corrections of RFC 6026, reliable and unreliable transports.

`TABLE` says for every kind, state and event what happens; `TIMERS` how long each timer runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    INVITE_CLIENT = auto()
    CLIENT = auto()
    INVITE_SERVER = auto()
    SERVER = auto()


class State(Enum):
    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


@dataclass(frozen=True, slots=True)
class Base:
    """RFC 3261 17.1.1.1, in seconds: T1 round trip estimate, T2 longest interval, T4 longest life of a message; and how
    long an INVITE may stay without any answer before it gets a 100 (17.2.1)."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    trying: float = 0.2


@dataclass(frozen=True, slots=True)
class Timer:
    """`first`: the first interval as (base, factor). Repeating timers double up to `top` (None: without end).
    `reliable`: the factor over TCP and the like, where None means the timer isn't used."""

    first: tuple[str, float]
    top: str | None = None
    repeats: bool = False
    reliable: float | None = None


TIMERS: Mapping[str, Timer] = {
    "A": Timer(("t1", 1), None, repeats=True),  # INVITE request again
    "B": Timer(("t1", 64), reliable=64),  # INVITE gives up
    "D": Timer(("t1", 64), reliable=0),  # wait for repeated final responses; at least 32 s at the default T1
    "E": Timer(("t1", 1), "t2", repeats=True),  # other request again
    "F": Timer(("t1", 64), reliable=64),  # other request gives up
    "G": Timer(("t1", 1), "t2", repeats=True),  # INVITE's final response again
    "H": Timer(("t1", 64), reliable=64),  # no ACK came
    "I": Timer(("t4", 1), reliable=0),  # wait for repeated ACKs
    "J": Timer(("t1", 64), reliable=0),  # wait for repeated requests
    "K": Timer(("t4", 1), reliable=0),  # wait for repeated responses
    "L": Timer(("t1", 64), reliable=64),  # wait for repeated INVITEs after a 2xx (RFC 6026)
    "M": Timer(("t1", 64), reliable=64),  # wait for repeated and forked 2xx (RFC 6026)
    "T": Timer(("trying", 1), reliable=1),  # nobody has answered an INVITE yet
}

_C, _T, _P, _D, _F, _A, _X = (
    State.CALLING,
    State.TRYING,
    State.PROCEEDING,
    State.COMPLETED,
    State.CONFIRMED,
    State.ACCEPTED,
    State.TERMINATED,
)
Row = tuple[State, tuple[str, ...]]

# Actions: up (to the user), send (the message at hand), again (the last message), ack, trying (send a 100), late (tell
# the user it timed out), lost (tell the user the transport failed), +X start timer X, -X stop it.
_INVITE_CLIENT: dict[tuple[State, str], Row] = {
    (_C, "start"): (_C, ("send", "+A", "+B")),
    (_C, "A"): (_C, ("again",)),
    (_C, "B"): (_X, ("late",)),
    (_C, "1xx"): (_P, ("-A", "-B", "up")),
    (_C, "2xx"): (_A, ("-A", "-B", "+M", "up")),
    (_C, "final"): (_D, ("-A", "-B", "ack", "+D", "up")),
    (_C, "error"): (_X, ("lost",)),
    (_P, "1xx"): (_P, ("up",)),
    (_P, "2xx"): (_A, ("+M", "up")),
    (_P, "final"): (_D, ("ack", "+D", "up")),
    (_D, "final"): (_D, ("ack",)),
    (_D, "D"): (_X, ()),
    (_D, "error"): (_X, ()),
    (_A, "2xx"): (_A, ("up",)),
    (_A, "M"): (_X, ()),
}
_CLIENT: dict[tuple[State, str], Row] = {
    (_T, "start"): (_T, ("send", "+E", "+F")),
    (_T, "E"): (_T, ("again",)),
    (_T, "F"): (_X, ("late",)),
    (_T, "1xx"): (_P, ("up",)),
    (_T, "2xx"): (_D, ("-E", "-F", "+K", "up")),
    (_T, "final"): (_D, ("-E", "-F", "+K", "up")),
    (_T, "error"): (_X, ("lost",)),
    (_P, "E"): (_P, ("again",)),
    (_P, "F"): (_X, ("late",)),
    (_P, "1xx"): (_P, ("up",)),
    (_P, "2xx"): (_D, ("-E", "-F", "+K", "up")),
    (_P, "final"): (_D, ("-E", "-F", "+K", "up")),
    (_P, "error"): (_X, ("lost",)),
    (_D, "K"): (_X, ()),
}
_INVITE_SERVER: dict[tuple[State, str], Row] = {
    (_P, "start"): (_P, ("+T",)),
    (_P, "T"): (_P, ("trying",)),
    (_P, "request"): (_P, ("again",)),
    (_P, "send 1xx"): (_P, ("-T", "send")),
    (_P, "send 2xx"): (_A, ("-T", "send", "+L")),
    (_P, "send final"): (_D, ("-T", "send", "+G", "+H")),
    (_D, "request"): (_D, ("again",)),
    (_D, "G"): (_D, ("again",)),
    (_D, "ack"): (_F, ("-G", "-H", "+I")),
    (_D, "H"): (_X, ("-G",)),
    (_F, "I"): (_X, ()),
    (_A, "L"): (_X, ()),
}
_SERVER: dict[tuple[State, str], Row] = {
    (_T, "start"): (_T, ()),
    (_T, "send 1xx"): (_P, ("send",)),
    (_T, "send 2xx"): (_D, ("send", "+J")),
    (_T, "send final"): (_D, ("send", "+J")),
    (_P, "request"): (_P, ("again",)),
    (_P, "send 1xx"): (_P, ("send",)),
    (_P, "send 2xx"): (_D, ("send", "+J")),
    (_P, "send final"): (_D, ("send", "+J")),
    (_D, "request"): (_D, ("again",)),
    (_D, "J"): (_X, ()),
}
TABLE: Mapping[Kind, Mapping[tuple[State, str], Row]] = {
    Kind.INVITE_CLIENT: _INVITE_CLIENT,
    Kind.CLIENT: _CLIENT,
    Kind.INVITE_SERVER: _INVITE_SERVER,
    Kind.SERVER: _SERVER,
}
START = {Kind.INVITE_CLIENT: _C, Kind.CLIENT: _T, Kind.INVITE_SERVER: _P, Kind.SERVER: _T}
