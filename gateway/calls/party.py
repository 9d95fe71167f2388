"""A phone that talks with us: its SIP call, its leg of the media engine, and the call of ours that it is part of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.calls.negotiation import Negotiation
from gateway.media.leg import Leg
from gateway.sip.events import TransferAsked, TransferProgress
from gateway.sip.offer_answer import Agreed
from gateway.sip.place import Place


class Owner:
    """What a party is part of. The switchboard tells it what the phone does; what it leaves out does not matter to
    it."""

    @property
    def call_id(self) -> str:
        """The call of ours that the party belongs to; empty before there is one."""
        return ""

    def confirmed(self, party: Party) -> None:
        """The phone acknowledged our answer."""

    def rings(self, party: Party) -> None:
        """The phone that we call rings."""

    def answered(self, party: Party, media: Agreed) -> None:
        """The phone that we call was answered; `media` is what it settled."""

    def failed(self, party: Party, reason: str) -> None:
        """The phone that we call declined, was busy or can't be reached. Its SIP call is over."""

    def left(self, party: Party, by_peer: bool, reason: str) -> None:
        """The phone hung up, or its SIP call broke. `reason`: its own words, or ours."""

    def cancelled(self, party: Party) -> None:
        """The phone gave up before we answered."""

    def holds(self, party: Party) -> None:
        """The phone put us on hold, or took us back: see `party.held`."""

    def key(self, party: Party, digit: str) -> None:
        """A key by INFO."""

    def vanished(self, party: Party) -> None:
        """Nothing comes from the phone any more and it does not answer. Its SIP call still stands."""

    def referred(self, party: Party, event: TransferProgress) -> None:
        """How it goes that the phone calls somebody else, as we asked it to."""

    def asks_transfer(self, party: Party, event: TransferAsked) -> None:
        """The phone wants its place taken by somebody else; it is answered here or never."""


@dataclass(eq=False, slots=True)
class Party:
    """`sip` is the handle of its SIP call, empty before there is one; `place` is where it signals from, `media` what is
    agreed with it. `agent`: whose phone it is. `invited`: how it was called, where we called it."""

    owner: Owner
    place: Place
    media: Negotiation
    agent: str | None = None
    sip: str = ""
    invited: tuple[str, Mapping[str, Any]] | None = None

    @property
    def leg(self) -> Leg:
        return self.media.leg

    @property
    def held(self) -> bool:
        """It does not listen."""
        return self.media.held
