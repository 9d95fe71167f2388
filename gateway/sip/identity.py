"""Who calls, says who, and by whose diversion: P-Asserted-Identity (RFC 3325), Privacy (RFC 3323), Remote-Party-ID,
Diversion (RFC 5806), History-Info (RFC 7044); read from an INVITE and written into one of ours."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.message import Header, Request
from gateway.sip.numbers import number_of
from gateway.sip.trunks import Trunk
from gateway.sip.uri import Address, Uri, parse_address

ANONYMOUS = "anonymous"
"""What a caller is called who withholds their number."""

MODES = ("pai", "ppi", "rpid", "from", "none")
"""Where a peer is told the caller's number: P-Asserted-Identity, P-Preferred-Identity or Remote-Party-ID beside From;
From alone; or nowhere, From being our own number."""

_VOUCHING = {"pai": "P-Asserted-Identity", "ppi": "P-Preferred-Identity"}
_NAMELESS = frozenset(("anonymous", "restricted", "unavailable", "unknown"))
_WITHHELD = frozenset(("id", "user", "full"))
_MOST = 10
"""Entries of Diversion or History-Info kept of one call; a longer list is a loop."""

_NOBODY = Address("Anonymous", Uri("sip", ANONYMOUS, "anonymous.invalid"))


@dataclass(frozen=True, slots=True)
class Diverted:
    """One diversion of a call: the number it was dialled to, and why it went on (`unconditional`, `user-busy`, or the
    SIP cause of History-Info, such as 302)."""

    number: str
    reason: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a caller is. `number`: as our flows know them, `anonymous` where it is withheld; `display`: their name.
    `asserted`: what a trusted peer vouches for, which a withheld number has too: never shown, only passed on.
    `privacy`: the Privacy tokens. `diversion`, `history`: the entries as they came, newest first and oldest first.
    `country`: where numbers in them are dialled. `hops`: how many hops the call may still make (Max-Forwards).
    `trusted`: a trusted peer said so, which alone is vouched for and passed on to others."""

    number: str = ANONYMOUS
    display: str = ""
    asserted: str = ""
    privacy: tuple[str, ...] = ()
    diversion: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    country: str | None = None
    hops: int = 70
    trusted: bool = False

    @property
    def withheld(self) -> bool:
        return self.number == ANONYMOUS

    @property
    def diverted(self) -> tuple[Diverted, ...]:
        """The diversions, newest first: those of Diversion, or else of History-Info."""
        found = [_diversion(item, self.country) for item in self.diversion]
        if not found:
            found = [_history(item, self.country) for item in reversed(self.history)]
        return tuple(item for item in found if item)


def read(request: Request, trusted: bool, country: str | None = None) -> Identity:
    """The caller of an INVITE. Only a `trusted` peer's P-Asserted-Identity or Remote-Party-ID is believed; numbers are
    read as dialled in `country`. Damaged headers are passed over."""
    privacy = tuple(item.lower() for value in request.all("Privacy") for item in value.replace(",", ";").split(";"))
    privacy = tuple(item.strip() for item in privacy if grammar.is_token(item.strip()))[:_MOST]
    sender = request.from_
    vouched, hidden = _vouched(request) if trusted else (None, False)
    nameless = sender.uri.host.lower() == "anonymous.invalid" or (sender.uri.user or "").lower() in _NAMELESS
    withheld = hidden or not _WITHHELD.isdisjoint(privacy) or (nameless and vouched is None)
    shown = vouched or sender
    number = ANONYMOUS if withheld else number_of(shown.uri, country)
    return Identity(
        number=number or ANONYMOUS,
        display="" if withheld else grammar.clean(shown.display or sender.display),
        asserted=number_of(vouched.uri, country) if vouched else "",
        privacy=tuple(item for item in privacy if item != "none"),
        diversion=_kept(request, "Diversion"),
        history=_kept(request, "History-Info"),
        country=country,
        hops=70 if (left := grammar.number(request.get("Max-Forwards"))) is None else left,
        trusted=trusted,
    )


def _vouched(request: Request) -> tuple[Address | None, bool]:
    """Who a trusted peer says it is, and whether it says (by Remote-Party-ID) that this is withheld. Of several
    identities a number is preferred to a name."""
    found = [address for item in request.items("P-Asserted-Identity") if (address := _address(item))]
    if found:
        return next((a for a in found if _numeric(a.uri)), found[0]), False
    for item in request.items("Remote-Party-ID"):
        address = _address(item)
        if address and (address.param("party") or "calling").lower() == "calling":
            return address, (address.param("privacy") or "off").lower() not in ("off", "none")
    return None, False


def _numeric(uri: Uri) -> bool:
    return uri.scheme == "tel" or (uri.user or "").lstrip("+").isdigit()


def _address(text: str) -> Address | None:
    try:
        return parse_address(text)
    except SipError:
        return None


def _kept(request: Request, name: str) -> tuple[str, ...]:
    return tuple(grammar.clean(item) for item in request.items(name)[:_MOST]) if request.get(name) else ()


def _diversion(item: str, country: str | None) -> Diverted | None:
    address = _address(item)
    if address is None:
        return None
    private = (address.param("privacy") or "off").strip('"').lower() not in ("off", "none")
    number = ANONYMOUS if private else number_of(address.uri, country)
    return Diverted(number, grammar.clean(grammar.unquote(address.param("reason") or "unknown")))


def _history(item: str, country: str | None) -> Diverted | None:
    """An entry that was left for a reason: a `cause` in its URI or a Reason among the URI's headers (RFC 7044 10.2)."""
    address = _address(item)
    if address is None:
        return None
    cause = address.uri.param("cause") or ""
    private = False
    for part in address.uri.headers.split("&"):
        name, _, value = part.partition("=")
        text = unquote(value).lower()
        if name.lower() == "reason":
            cause = next((p.strip()[6:] for p in text.split(";") if p.strip().startswith("cause=")), cause)
        private = private or (name.lower() == "privacy" and "none" not in text)
    if grammar.number(cause) is None:
        return None
    return Diverted(ANONYMOUS if private else number_of(address.uri, country), cause)


def dialled(request: Request, trunk: Trunk | None) -> str:
    """The number an INVITE was dialled to, as it came. Where its URI is the contact that we registered at a trunk,
    P-Called-Party-ID (RFC 7315 4.2) or else To has it."""
    uri = request.target
    if trunk and trunk.register and uri.user == trunk.register.user:
        called = _address(request.get("P-Called-Party-ID") or "")
        uri = called.uri if called else request.to.uri
    return uri.number or request.target.number


@dataclass(frozen=True, slots=True)
class Introduction:
    """How we name the caller to a peer: the From address, and the headers beside it."""

    sender: Address
    headers: tuple[Header, ...] = ()


def introduce(
    who: Identity | None,
    *,
    mode: str,
    own: str,
    user: str,
    domain: str,
    shown: str = "",
    asserted: str = "",
    withhold: bool = False,
    left: str = "",
) -> Introduction:
    """The From and identity headers of a call that goes out. `who`: the caller it is made for, None for a call of our
    own. `own`: our number at the peer, if we have one, `user`: our user part there, `domain`: our host part. `shown`,
    `asserted`: the caller's number and the vouched one as the peer wants numbers written. `withhold`: nobody's number
    is shown. `left`: the number of ours whose call goes on elsewhere, which Diversion then names."""
    hidden = withhold or (who is not None and who.withheld and mode != "none")
    display = who.display if who and mode != "none" else ""
    number = shown if who and not who.withheld and mode != "none" else ""
    sender = _NOBODY if hidden else Address(display if number else "", Uri("sip", number or own or user, domain))
    headers: list[Header] = []
    vouched = Uri("sip", own or asserted, domain) if own or asserted else None
    known = display if asserted else ""
    if vouched and mode in _VOUCHING:
        headers.append((_VOUCHING[mode], str(Address(known, vouched))))
    elif vouched and mode == "rpid":
        tail = f"party=calling;screen=yes;privacy={'full' if hidden else 'off'}"
        headers.append(("Remote-Party-ID", f"{Address(known, vouched)};{tail}"))
    tokens = dict.fromkeys((*(who.privacy if who and mode != "none" else ()), *(("id",) if hidden else ())))
    if tokens:
        headers.append(("Privacy", ";".join(tokens)))
    if left:
        headers.append(("Diversion", f"<{Uri('sip', left, domain)}>;reason=deflection;counter=1"))
    if who and who.trusted:
        headers += [("Diversion", item) for item in who.diversion]
        headers += [("History-Info", item) for item in who.history]
    return Introduction(sender, tuple(headers))
