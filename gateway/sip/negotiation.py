"""Offer and answer within one dialog (RFC 3264, RFC 6337): what was settled last, and whose turn it is."""

from __future__ import annotations

from enum import Enum, auto

from gateway.sip import offer_answer, sdp
from gateway.sip.offer_answer import Agreed, Pair
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import Stack


class Turn(Enum):
    """Who has to answer: NOBODY while nothing is offered, PEER our offer, US theirs."""

    NOBODY = auto()
    PEER = auto()
    US = auto()


class Negotiation:
    """`mine`, `theirs`: the descriptions in force. `said`: the last one of ours that was sent, in force or not."""

    def __init__(self, stack: Stack) -> None:
        self.mine: SessionDescription | None = None
        self.theirs: SessionDescription | None = None
        self.said: SessionDescription | None = None
        self.turn = Turn.NOBODY
        self._codecs = stack.config.codecs
        self._id = str(stack.rng.getrandbits(48))
        self._version = 0
        self._answered: SessionDescription | None = None

    @property
    def settled(self) -> bool:
        """Whether both descriptions stand and nothing is open."""
        return self.turn is Turn.NOBODY and self.mine is not None and self.theirs is not None

    @property
    def pair(self) -> Pair | None:
        """Both descriptions in force, once there are two."""
        return (self.mine, self.theirs) if self.mine and self.theirs else None

    def began(self, mine: SessionDescription) -> None:
        """Our INVITE offered `mine` as it is: later descriptions count on from its o= line."""
        self.said, self._id, self._version = mine, mine.id, int(mine.version)
        self.turn = Turn.PEER

    def describe(self, mine: SessionDescription) -> bytes:
        """The body for a description of ours: our own o= line, its version one more when anything changed since the
        last one (RFC 3264 section 8)."""
        draft = sdp.replace_origin(mine, self._id, str(self._version))
        if self.said is None or draft != self.said:
            self._version += 1
            draft = sdp.replace_origin(mine, self._id, str(self._version))
        self.said = draft
        return draft.encode()

    def answered(self, offer: SessionDescription) -> None:
        """What was said last answers `offer`."""
        self.mine, self.theirs, self._answered, self.turn = self.said, offer, offer, Turn.NOBODY

    def repeats(self, offer: SessionDescription) -> bool:
        """Whether `offer` is, word for word, the one that what is in force answers: a session refresh."""
        return self.mine is not None and self._answered == offer

    def agreed(self, answer: SessionDescription) -> Agreed:
        """What our last description and an answer to it settle, without settling it. Raises NotAcceptable."""
        return offer_answer.agreed(self.said or answer, answer, self._codecs)

    def settle(self, answer: SessionDescription) -> Agreed:
        """The answer to our offer puts both in force. Raises NotAcceptable where they share nothing."""
        self.turn = Turn.NOBODY
        media = self.agreed(answer)
        self.mine, self.theirs, self._answered = self.said, answer, None
        return media
