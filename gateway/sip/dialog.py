"""Dialogs (RFC 3261 section 12): the peer-to-peer relation that outlives a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.core.errors import SipError
from gateway.sip.message import Header, Request, Response
from gateway.sip.place import DEFAULT_PORTS, SECURE, Place
from gateway.sip.uri import Uri, ip_of, parse_address
from gateway.sip.via import COOKIE

DialogId = tuple[str, str, str]
"""Call-ID, our tag, their tag."""


@dataclass(slots=True)
class Dialog:
    """`local`, `remote`: From and To values with their tags, as our requests carry them. `routes`: the route set in the
    order our requests carry it. `peer`: where the peer's messages come from, used in place of an address behind NAT.
    `flow`: where the next hop was last heard. `sips`: it was made for a sips URI, so that our Contact is one (12.1.1).
    `secure`: it is that, or began over TLS: nothing of it leaves in clear any more."""

    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    remote: str
    local_seq: int
    remote_seq: int | None
    target: Uri
    routes: tuple[str, ...] = ()
    peer: Place | None = None
    flow: Place | None = None
    sips: bool = False
    secure: bool = False
    early: bool = field(default=True)

    @property
    def id(self) -> DialogId:
        return self.call_id, self.local_tag, self.remote_tag

    @classmethod
    def answering(cls, request: Request, tag: str, source: Place) -> Dialog:
        """The server's side (12.1.1). Raises SipError where the INVITE has not exactly one SIP Contact. A phone of RFC
        2543 may have none: From stands in for it there."""
        old = "Contact" not in request.index and not request.via.branch.startswith(COOKIE)
        target = request.from_.uri if old else _target(request)
        to = request.get("To") or ""
        dialog = cls(
            call_id=request.call_id,
            local_tag=tag,
            remote_tag=request.from_.tag,
            local=to if request.to.tag else f"{to};tag={tag}",
            remote=request.get("From") or "",
            local_seq=0,
            remote_seq=request.cseq[0],
            target=target,
            routes=tuple(request.items("Record-Route")),
        )
        dialog.peer = _behind_nat(request.items("Via"), target, source)
        dialog._begin(request.target, source)
        return dialog

    @classmethod
    def asking(cls, request: Request, response: Response, peer: Place | None, flow: Place | None = None) -> Dialog:
        """The client's side (12.1.2), from a response with a To tag. `peer`: where a registered phone is; `flow`: where
        the request went."""
        dialog = cls(
            call_id=request.call_id,
            local_tag=request.from_.tag,
            remote_tag=response.to.tag,
            local=request.get("From") or "",
            remote=response.get("To") or "",
            local_seq=request.cseq[0],
            remote_seq=None,
            target=_target(response) if response.contacts else request.target,
            routes=tuple(reversed(response.items("Record-Route"))),
            peer=peer,
        )
        dialog._begin(request.target, flow)
        return dialog

    def _begin(self, uri: Uri, flow: Place | None) -> None:
        self.flow = flow
        self.sips = "sips" in (uri.scheme, self._next.scheme)
        self.secure = self.sips or (flow is not None and flow.transport in SECURE)

    def refresh(self, message: Request | Response) -> None:
        """INVITE and UPDATE move the target (12.2.1.2, 12.2.2); a bad Contact leaves it. A request that came straight
        from the peer tells where that is by now: behind another port of its NAT, or over another connection."""
        try:
            self.target = _target(message)
        except SipError:
            return
        source = message.source if isinstance(message, Request) else None
        if source is None or (self.secure and source.transport not in SECURE):
            return
        self.flow = source
        vias = message.items("Via")
        if len(vias) == 1:
            self.peer = _behind_nat(vias, self.target, source)

    def confirm(self, response: Response) -> None:
        """A 2xx sets the route set anew (13.2.2.4)."""
        self.early = False
        self.routes = tuple(reversed(response.items("Record-Route")))
        self.refresh(response)

    def request(self, method: str, headers: Sequence[Header], body: bytes = b"", seq: int | None = None) -> Request:
        """A request inside the dialog (12.2.1.1), without Via. `seq` is for ACK; else the next number is taken."""
        if seq is None:
            self.local_seq += 1
            seq = self.local_seq
        uri, routes = self.uri, list(self.routes)
        if self._strict:
            routes = [*routes[1:], f"<{self.target}>"]
        own: list[Header] = [("Route", route) for route in routes]
        own += [
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{seq} {method}"),
        ]
        return Request(method, uri, [*own, *headers], body)

    @property
    def _strict(self) -> Uri | None:
        """The first route, where that is a strict router: it wants its own address as Request-URI."""
        first = parse_address(self.routes[0]).uri if self.routes else None
        return first if first and first.param("lr") is None else None

    @property
    def uri(self) -> str:
        """The Request-URI of requests inside the dialog."""
        return str(self._strict or self.target)

    @property
    def _next(self) -> Uri:
        return parse_address(self.routes[0]).uri if self.routes else self.target

    @property
    def way(self) -> list[Place | Uri]:
        """Where requests go: to the first route, else to the peer's own address or connection, else to its Contact; by
        the flow that leads there, where one does. A secure dialog goes by TLS or not at all (26.2.2)."""
        uri, near = self._next, None if self.routes else self.peer
        if near is None and self.flow and _leads(uri, self.flow, self.secure):
            near = self.flow
        if self.secure:
            uri = uri._replace(scheme="sips")
            near = near if near and near.transport in SECURE else None
        if near is None:
            return [uri]
        return [near, uri] if near.reliable else [near]


def _target(message: Request | Response) -> Uri:
    contacts = message.contacts if message.get("Contact") != "*" else []
    if len(contacts) != 1 or contacts[0].uri.scheme not in ("sip", "sips") or not contacts[0].uri.host:
        raise SipError("Exactly one SIP Contact is needed")
    return contacts[0].uri


def _behind_nat(vias: Sequence[str], target: Uri, source: Place) -> Place | None:
    """The source of a request that came straight from a peer whose Contact names another address, or over a connection
    of its own (RFC 5923)."""
    if len(vias) != 1 or (not source.reliable and ip_of(target.host) == source.ip):
        return None
    return source


def _leads(uri: Uri, flow: Place, secure: bool) -> bool:
    """Whether a connection is the way to a URI: it comes from that very port; or to a WebSocket, since nobody can
    connect to those (RFC 7118 section 5); or, in a secure dialog, to an address that names no transport."""
    transport = (uri.param("transport") or "").lower()
    if not flow.reliable:
        return False
    if transport in ("ws", "wss"):
        return flow.transport in ("ws", "wss")
    there = ip_of(uri.host) == flow.ip or uri.host.lower() == flow.name
    same = transport == flow.transport and (uri.port or DEFAULT_PORTS[flow.transport]) == flow.port
    return there and (same or (secure and not transport and uri.scheme == "sip"))
