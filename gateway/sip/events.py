"""What an Endpoint tells its user. `call` is the handle that `CallOffered` or `Endpoint.invite` gave.

Every call ends with exactly one of CallCancelled (the caller gave up before an answer), CallFailed (an outbound call
came to nothing) or CallEnded; nothing about that handle comes after it. `cause`: why, by ITU-T Q.850, where the peer
(or our own user) said so; 0 where nobody did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.sip.identity import Identity
from gateway.sip.offer_answer import Agreed
from gateway.sip.place import Place
from gateway.sip.sdp import SessionDescription


@dataclass(frozen=True, slots=True)
class CallOffered:
    """An INVITE that may come in; 100 Trying is sent already. `caller` and `dialled` are user parts, numbers as +E.164
    where the trunk's country tells, `requested` is what was dialled as it came; `display`: the caller's name; `trunk`
    or `aor` tells who vouches for the caller. `offer` None: the offer is ours (late offer).
    `replaces`: the call of ours whose place it takes (RFC 3891); hang that up once this one is answered.
    `headers`: those outside the protocol's own machinery (X-..., P-Asserted-Identity, Diversion, User-Agent, ...)."""

    call: str
    caller: str
    display: str
    dialled: str
    trunk: str | None
    aor: str | None
    offer: SessionDescription | None
    source: Place
    headers: Mapping[str, str] = field(default_factory=dict)
    replaces: str | None = None
    identity: Identity = field(default_factory=Identity)
    requested: str = ""


@dataclass(frozen=True, slots=True)
class CallConfirmed:
    """The ACK arrived. `answer` and `media` only where our 200 held the offer."""

    call: str
    answer: SessionDescription | None = None
    media: Agreed | None = None


@dataclass(frozen=True, slots=True)
class CallCancelled:
    """The caller gave up before the call was answered, or its INVITE ran out (`Expires`)."""

    call: str
    reason: str = ""
    cause: int = 0


@dataclass(frozen=True, slots=True)
class CallProgress:
    """A provisional answer to our INVITE: 180 is ringing, 183 with `answer` is early media."""

    call: str
    status: int
    reason: str
    answer: SessionDescription | None = None
    media: Agreed | None = None


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """Our INVITE was answered and the ACK is sent. `contact`: which phone it was; `trunk`: by which it was called."""

    call: str
    answer: SessionDescription
    media: Agreed
    contact: str = ""
    trunk: str = ""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """Our INVITE came to nothing; 408 and 503 may be our own words for silence and an unreachable place."""

    call: str
    status: int
    reason: str
    cause: int = 0


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over; `by_peer`: they hung up. `reason`: the peer's Reason header, or why we ended it."""

    call: str
    by_peer: bool
    reason: str = ""
    cause: int = 0


@dataclass(frozen=True, slots=True)
class OfferChanged:
    """The peer offers, in a re-INVITE, UPDATE or PRACK: `accept_change` or `reject_change` it. `offer` None: the offer
    is ours to make. Also before a call of ours is answered: a phone's own offer where our INVITE had none."""

    call: str
    offer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class ChangeAnswered:
    """A change is settled: our own `change` was answered, or an answer came in the ACK of one without an offer, or in
    the PRACK of early media that we offered; or a refresh of the session moved the peer's media."""

    call: str
    answer: SessionDescription
    media: Agreed


@dataclass(frozen=True, slots=True)
class ChangeFailed:
    """Our `change` was refused; the call goes on as it was."""

    call: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class InfoDigit:
    """A key sent by INFO. `ms`: how long it was held."""

    call: str
    digit: str
    ms: int


@dataclass(frozen=True, slots=True)
class TransferAsked:
    """The peer of `call` wants us to call somebody else in its place (REFER): `accept_transfer` or `reject_transfer`
    with the handle `transfer`, then `transfer_progress`. `target`: the URI, without headers; `dialled`: its user part
    where the URI is one of ours; `replaces`: our other call with this peer, whose far end is meant (attended)."""

    call: str
    transfer: str
    target: str
    dialled: str
    replaces: str | None = None
    referred_by: str = ""


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How a transfer goes that we asked the peer of `call` for. The last event is `final`: 2xx there means done, more
    that it failed, 1xx that the peer tells no more."""

    call: str
    status: int
    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class ContactUp:
    """A phone registered (or moved to another address). `expires`: seconds; `agent`: its User-Agent."""

    aor: str
    contact: str
    expires: int
    source: Place
    agent: str = ""


@dataclass(frozen=True, slots=True)
class ContactDown:
    """A phone is gone: unregistered, expired, replaced, or unreachable when it was called. `left`: contacts the
    address of record still has."""

    aor: str
    contact: str
    reason: str
    left: int


@dataclass(frozen=True, slots=True)
class Registered:
    """Our own registration, a trunk's by its name, stands for `expires` seconds; it is refreshed in time."""

    registration: str
    expires: int


@dataclass(frozen=True, slots=True)
class RegisterFailed:
    """Our own registration was refused, got no answer, or lost its connection; `retry_s`: when it is tried again."""

    registration: str
    status: int
    reason: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class TrunkChanged:
    """A trunk is up or down, by its registration or by what OPTIONS found; `why`: in words."""

    trunk: str
    up: bool
    why: str


@dataclass(frozen=True, slots=True)
class OptionsAnswered:
    """The answer to `Endpoint.options`."""

    ping: str
    status: int
    reason: str


OVER = (CallCancelled, CallFailed, CallEnded)
"""The last that is heard of a call."""

SipEvent = (
    CallOffered
    | CallConfirmed
    | CallCancelled
    | CallProgress
    | CallAnswered
    | CallFailed
    | CallEnded
    | OfferChanged
    | ChangeAnswered
    | ChangeFailed
    | InfoDigit
    | TransferAsked
    | TransferProgress
    | ContactUp
    | ContactDown
    | Registered
    | RegisterFailed
    | TrunkChanged
    | OptionsAnswered
)
