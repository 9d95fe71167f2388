"""Every phone in a call of this node: opens legs, settles media, and tells each party's owner what SIP reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.calls.lifeline import Lifelines
from gateway.calls.negotiation import SECURED, Negotiation, Terms, peer_address
from gateway.calls.party import Owner, Party
from gateway.core.errors import TrunklineError
from gateway.media.addresses import Addresses
from gateway.media.engine import MediaEngine
from gateway.media.events import MediaEvent, RtpBack, RtpLost
from gateway.media.leg import Leg
from gateway.sip import events as sip
from gateway.sip.edge import Edge
from gateway.sip.offer_answer import Agreed
from gateway.sip.place import Place
from gateway.sip.sdp import SessionDescription

AGENT_SILENCE_S = 2.0
CALLER_SILENCE_S = 30.0
"""Seconds without a packet, beyond the engine's own five, after which a phone is asked whether it is there. A caller's
phone may suppress silence, so it is asked less often."""


UNUSABLE = "no common codec"
"""What an owner is told where an answer can't be carried out."""


class Switchboard:
    """`addresses` are this machine's for media, on `ports`; `terms` are what may be agreed with everybody. The
    composition root sets `endpoint` before the first event. `on_called` is told of each SIP call that becomes part of a
    call of ours."""

    endpoint: Edge

    def __init__(self, media: MediaEngine, addresses: Addresses, ports: tuple[int, int], terms: Terms) -> None:
        self.media = media
        self.addresses = addresses
        self.terms = terms
        self.parties: dict[str, Party] = {}
        self._ports = ports
        self.on_called: Callable[[str, str], None] = lambda call, sip_call: None
        self._lifelines = Lifelines(lambda phone: self.endpoint.options(phone))

    # --- parties --------------------------------------------------------------------------------------------------

    def open(
        self,
        owner: Owner,
        place: Place,
        *,
        near: Leg | None = None,
        agent: str | None = None,
        offer: SessionDescription | None = None,
        terms: Terms | None = None,
    ) -> Party:
        """A party with a fresh leg, on the thread of `near`, of the family that the `offer` needs. `terms`: what may be
        agreed with it, where that is not what may be with everybody. Raises MediaError or PortBusy."""
        peer = peer_address(offer, place)
        leg = self.media.open_leg(self.addresses.bind(peer), self._ports, near=near)
        media = Negotiation(leg, peer, self.addresses, terms or self.terms, place.transport in SECURED)
        return Party(owner, place, media, agent)

    def give(self, party: Party, owner: Owner) -> None:
        """From now on the party is part of something else."""
        joins = party.owner.call_id != owner.call_id
        party.owner = owner
        if joins:
            self.on_called(owner.call_id, party.sip)

    def called(self, party: Party, sip_call: str) -> None:
        """From now on what SIP tells of this call goes to the party's owner."""
        party.sip = sip_call
        self.parties[sip_call] = party
        self.on_called(party.owner.call_id, sip_call)

    def invite(self, party: Party, target: str, **options: Any) -> None:
        """Calls `target`; `options` as Endpoint.invite takes them. Raises SipError."""
        party.invited = target, options
        self.called(party, self.endpoint.invite(target, party.media.offer(), **options))

    def describe(self, party: Party, offer: SessionDescription | None) -> SessionDescription:
        """Our answer, with the leg attached to what it settles; our offer where they made none: then theirs comes with
        the ACK. Raises SipError or MediaError."""
        if offer is None:
            return party.media.offer()
        before = party.held
        answer = party.media.answer(offer)
        self._held(party, before)
        return answer

    def _settle(self, party: Party, answer: SessionDescription, media: Agreed) -> bool:
        """Our offer was answered. False where that can't be carried out: then the party is gone."""
        before = party.held
        try:
            party.media.answered(answer, media)
        except TrunklineError as error:
            self.hang_up(party, error.what)
            return False
        self._held(party, before)
        return True

    def _held(self, party: Party, before: bool) -> None:
        if before != party.held:
            party.owner.holds(party)

    def hang_up(self, party: Party, reason: str) -> None:
        """Ends the party's SIP call, whatever its state; its owner is not told."""
        if party.sip:
            self.parties.pop(party.sip, None)
            self.endpoint.hangup(party.sip, reason)
            party.sip = ""

    def close(self, party: Party) -> None:
        """Lets go of a party whose SIP call is over: its leg is closed."""
        self.silence_over(party)
        self.parties.pop(party.sip, None)
        party.leg.close()

    # --- silence --------------------------------------------------------------------------------------------------

    def watch(self, party: Party) -> None:
        """Its owner hears when the phone is gone."""

        def heard(event: MediaEvent) -> None:
            match event:
                case RtpLost():
                    self.silence(party)
                case RtpBack():
                    self.silence_over(party)

        party.leg.on_event = heard

    def silence(self, party: Party) -> None:
        """A phone sends nothing: where it does not answer either, it is gone. Behind a trunk nobody can tell."""
        if not party.place.port:
            return
        wait = AGENT_SILENCE_S if party.agent else CALLER_SILENCE_S
        self._lifelines.silent(id(party), party.place, wait, lambda: party.owner.vanished(party))

    def doubt(self, agent: str) -> None:
        """A phone of the agent's is no longer registered: those that are silent are asked at once."""
        for party in list(self.parties.values()):
            if party.agent == agent:
                self._lifelines.ask(id(party))

    def silence_over(self, party: Party) -> None:
        self._lifelines.heard(id(party))

    # --- SIP ------------------------------------------------------------------------------------------------------

    def on_sip(self, event: sip.SipEvent) -> None:
        """What SIP reports of calls that stand or are being made."""
        if isinstance(event, sip.OptionsAnswered):
            self._lifelines.answered(event.ping, event.status)
            return
        handler = _SIP.get(type(event))
        party = self.parties.get(getattr(event, "call", ""))
        if handler and party:
            handler(self, party, event)
        elif isinstance(event, sip.OfferChanged):
            self.endpoint.reject_change(event.call)
        elif isinstance(event, sip.TransferAsked):
            self.endpoint.reject_transfer(event.transfer, 603)

    def _confirmed(self, party: Party, event: sip.CallConfirmed) -> None:
        if event.answer and event.media and not self._settle(party, event.answer, event.media):
            party.owner.left(party, False, UNUSABLE)
        else:
            party.owner.confirmed(party)

    def _over(self, party: Party, event: sip.CallEnded) -> None:
        self._gone(party)
        party.owner.left(party, event.by_peer, event.reason)

    def _cancelled(self, party: Party, event: sip.CallCancelled) -> None:
        self._gone(party)
        party.owner.cancelled(party)

    def _failed(self, party: Party, event: sip.CallFailed) -> None:
        self._gone(party)
        reason = f"{event.status} {event.reason}"
        if event.status == 488 and party.invited and party.media.retreat():
            target, options = party.invited
            try:
                self.invite(party, target, **options)
                return
            except TrunklineError as error:
                reason = error.what
        party.owner.failed(party, reason)

    def _gone(self, party: Party) -> None:
        self.parties.pop(party.sip, None)
        party.sip = ""

    def _progress(self, party: Party, event: sip.CallProgress) -> None:
        party.owner.rings(party)

    def _answered(self, party: Party, event: sip.CallAnswered) -> None:
        if self._settle(party, event.answer, event.media):
            party.owner.answered(party, event.media)
        else:
            party.owner.failed(party, UNUSABLE)

    def _changed(self, party: Party, event: sip.OfferChanged) -> None:
        try:
            self.endpoint.accept_change(event.call, self.describe(party, event.offer))
        except TrunklineError:
            self.endpoint.reject_change(event.call)

    def _change_answered(self, party: Party, event: sip.ChangeAnswered) -> None:
        if not self._settle(party, event.answer, event.media):
            party.owner.left(party, False, UNUSABLE)

    def _digit(self, party: Party, event: sip.InfoDigit) -> None:
        party.owner.key(party, event.digit)

    def _referred(self, party: Party, event: sip.TransferProgress) -> None:
        party.owner.referred(party, event)

    def _transfer(self, party: Party, event: sip.TransferAsked) -> None:
        party.owner.asks_transfer(party, event)


_SIP: Mapping[type, Callable[[Switchboard, Party, Any], None]] = {
    sip.CallConfirmed: Switchboard._confirmed,
    sip.CallCancelled: Switchboard._cancelled,
    sip.CallProgress: Switchboard._progress,
    sip.CallAnswered: Switchboard._answered,
    sip.CallFailed: Switchboard._failed,
    sip.CallEnded: Switchboard._over,
    sip.OfferChanged: Switchboard._changed,
    sip.ChangeAnswered: Switchboard._change_answered,
    sip.InfoDigit: Switchboard._digit,
    sip.TransferAsked: Switchboard._transfer,
    sip.TransferProgress: Switchboard._referred,
}
