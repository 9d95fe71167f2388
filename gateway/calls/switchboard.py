"""Every phone in a call of this node: opens legs, settles media, and tells each party's owner what SIP reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.calls.lifeline import Lifelines
from gateway.calls.party import Owner, Party
from gateway.core.errors import TrunklineError
from gateway.media.engine import MediaEngine
from gateway.media.leg import Leg
from gateway.sip import events as sip
from gateway.sip import offer_answer
from gateway.sip.edge import Edge
from gateway.sip.offer_answer import Agreed
from gateway.sip.place import Place
from gateway.sip.sdp import SessionDescription

AGENT_SILENCE_S = 2.0
CALLER_SILENCE_S = 30.0
"""Seconds without a packet, beyond the engine's own five, after which a phone is asked whether it is there. A caller's
phone may suppress silence, so it is asked less often."""


class Switchboard:
    """`address_towards` gives this machine's address as a peer (an IP address) can reach it: put into SDP. `codecs` may
    be agreed, in order of liking. The composition root sets `endpoint` before the first event."""

    endpoint: Edge

    def __init__(
        self,
        media: MediaEngine,
        bind: str,
        ports: tuple[int, int],
        address_towards: Callable[[str], str],
        codecs: tuple[str, ...] = ("PCMU", "PCMA"),
    ) -> None:
        self.media = media
        self.codecs = codecs
        self.parties: dict[str, Party] = {}
        self._bind = bind
        self._ports = ports
        self._address_towards = address_towards
        self._lifelines = Lifelines(lambda phone: self.endpoint.options(phone))

    # --- parties --------------------------------------------------------------------------------------------------

    def open(
        self,
        owner: Owner,
        place: Place,
        *,
        near: Leg | None = None,
        agent: str | None = None,
        codecs: tuple[str, ...] = (),
    ) -> Party:
        """A party with a fresh leg, on the thread of `near`. `codecs`: what may be agreed with it, where that is not
        what may be with everybody. Raises MediaError or PortBusy."""
        leg = self.media.open_leg(self._bind, self._ports, near=near)
        return Party(owner, leg, place, codecs or self.codecs, agent)

    def called(self, party: Party, sip_call: str) -> None:
        """From now on what SIP tells of this call goes to the party's owner."""
        party.sip = sip_call
        self.parties[sip_call] = party

    def invite(self, party: Party, target: str, **options: Any) -> None:
        """Calls `target`; `options` as Endpoint.invite takes them. Raises SipError."""
        offer = offer_answer.offer(self._address_towards(party.place.ip), party.leg.port, party.codecs)
        self.called(party, self.endpoint.invite(target, offer, **options))

    def describe(self, party: Party, offer: SessionDescription | None) -> SessionDescription:
        """Our answer, with the leg attached to what it settles; our offer where they made none. Raises SipError."""
        address = self._address_towards(party.place.ip)
        if offer is None:  # late offer: ours goes into the 200, theirs comes with the ACK
            return offer_answer.offer(address, party.leg.port, party.codecs)
        answer = offer_answer.answer(offer, address, party.leg.port, party.codecs)
        self.attach(party, offer_answer.agreed(answer, offer, party.codecs))
        return answer

    def attach(self, party: Party, media: Agreed) -> None:
        """Points a party's leg at what offer and answer settled."""
        party.leg.attach(
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
        before, party.held = party.held, media.held
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

    def silence(self, party: Party) -> None:
        """A phone sends nothing: where it does not answer either, it is gone."""
        wait = AGENT_SILENCE_S if party.agent else CALLER_SILENCE_S
        self._lifelines.silent(id(party), party.place, wait, lambda: party.held, lambda: party.owner.vanished(party))

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
        if event.media is not None:
            self.attach(party, event.media)
        party.owner.confirmed(party)

    def _over(self, party: Party, event: sip.CallEnded) -> None:
        self._gone(party)
        party.owner.left(party, event.by_peer, event.reason)

    def _cancelled(self, party: Party, event: sip.CallCancelled) -> None:
        self._gone(party)
        party.owner.cancelled(party)

    def _failed(self, party: Party, event: sip.CallFailed) -> None:
        self._gone(party)
        party.owner.failed(party, f"{event.status} {event.reason}")

    def _gone(self, party: Party) -> None:
        self.parties.pop(party.sip, None)
        party.sip = ""

    def _progress(self, party: Party, event: sip.CallProgress) -> None:
        party.owner.rings(party)

    def _answered(self, party: Party, event: sip.CallAnswered) -> None:
        party.owner.answered(party, event.media)

    def _changed(self, party: Party, event: sip.OfferChanged) -> None:
        try:
            self.endpoint.accept_change(event.call, self.describe(party, event.offer))
        except TrunklineError:
            self.endpoint.reject_change(event.call)

    def _change_answered(self, party: Party, event: sip.ChangeAnswered) -> None:
        self.attach(party, event.media)

    def _digit(self, party: Party, event: sip.InfoDigit) -> None:
        party.owner.key(party, event.digit)

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
}
