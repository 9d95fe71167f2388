"""Offer and answer for one leg: what we may agree to, what both sides said last, and the leg set up by it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gateway.core.errors import MediaError
from gateway.media.addresses import Addresses, family
from gateway.media.leg import Leg
from gateway.sip import crypto, offer_answer
from gateway.sip.crypto import CLEAR, Srtp
from gateway.sip.offer_answer import Agreed, Pair
from gateway.sip.place import Place
from gateway.sip.sdp import SessionDescription
from gateway.sip.uri import ip_of

SECURED = ("tls", "wss")
"""Transports over which nobody else hears what is signalled."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What may be agreed with a peer: `codecs` in order of liking, and how media is protected."""

    codecs: tuple[str, ...] = offer_answer.G711
    srtp: Srtp = CLEAR


def peer_address(offer: SessionDescription | None, place: Place) -> str:
    """The IP address that our own is chosen for: where a peer signals from, unless it hears media by the other version
    of IP."""
    for stream in offer.media if offer else ():
        if offer and stream.kind == "audio" and stream.port and (ip := ip_of(offer.address_of(stream))):
            return place.ip if family(ip) == family(place.ip) else ip
    return place.ip


@dataclass(eq=False, slots=True)
class Negotiation:
    """The media side of one SIP call. `peer`: as peer_address gives it; `secured`: nobody else hears what is signalled;
    `held`: the peer does not listen."""

    leg: Leg
    peer: str
    addresses: Addresses
    terms: Terms = field(default_factory=Terms)
    secured: bool = False
    agreed: Agreed | None = None
    _pair: Pair | None = None
    _offered: SessionDescription | None = None

    @property
    def held(self) -> bool:
        return self.agreed is not None and self.agreed.held

    def offer(self, direction: str = "sendrecv") -> SessionDescription:
        """Our offer: a first one, or one that changes a call. An offer is either protected or not, so keys are offered
        where SRTP is required, and where it is optional and nobody else hears them. Raises MediaError."""
        srtp = self.terms.srtp
        if self.secured and not self._pair and srtp.policy == crypto.OPTIONAL:
            srtp = replace(srtp, policy=crypto.REQUIRED)
        here = self.addresses.towards(self.peer)
        self._offered = offer_answer.offer(
            here, self.leg.port, self.terms.codecs, direction=direction, srtp=srtp, before=self._pair
        )
        return self._offered

    def answer(self, theirs: SessionDescription, direction: str = "sendrecv") -> SessionDescription:
        """Our answer, with the leg set up by it. Raises NotAcceptable or MediaError, and then nothing has changed."""
        mine = offer_answer.answer(
            theirs,
            self.addresses.towards(self.peer),
            self.leg.port,
            self.terms.codecs,
            direction=direction,
            srtp=self.terms.srtp,
            before=self._pair,
        )
        if self.agreed and not any(stream.port for stream in mine.media):
            self._attach(replace(self.agreed, send=False, receive=False))
        else:
            self._attach(offer_answer.agreed(mine, theirs, self.terms.codecs))
        self._pair, self._offered = (mine, theirs), None
        return mine

    def answered(self, theirs: SessionDescription, media: Agreed) -> None:
        """Our offer was answered: the leg is set up by what that settled, unless an offer of theirs was answered since.
        Raises MediaError."""
        if self._offered:
            self._attach(media)
            self._pair, self._offered = (self._offered, theirs), None

    def retreat(self) -> bool:
        """Our first offer was refused: whether it had keys that it can do without. The next one has none."""
        if self._pair or not self.secured or self.terms.srtp.policy != crypto.OPTIONAL:
            return False
        self.secured = False
        return True

    def _attach(self, media: Agreed) -> None:
        """Keys first, so that no packet leaves in the clear. A peer that hears nowhere is where it was before."""
        before = self.agreed
        if before and ip_of(media.ip) in ("0.0.0.0", "::"):
            media = replace(media, ip=before.ip, port=before.port, rtcp_port=before.rtcp_port)
        if family(media.ip) != family(self.leg.ip):
            raise MediaError("A call can't go on over the other version of IP.", read=media.ip)
        if before and before.profile and not media.profile:
            raise MediaError("An encrypted call can't go on in the clear.")
        if media.profile and (not before or _keys(media) != _keys(before)):
            self.leg.set_keys(media.profile, media.own_key, media.peer_key)
        self.leg.attach(
            media.ip,
            media.port,
            media.payload,
            media.dtmf_payload,
            send=media.send,
            receive=media.receive,
            codecs=media.codecs,
            noise_payload=media.noise_payload,
            rtcp_port=media.rtcp_port,
        )
        self.agreed = media


def _keys(media: Agreed) -> tuple[str | None, bytes, bytes]:
    return media.profile, media.own_key, media.peer_key
