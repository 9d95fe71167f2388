"""Calls to numbers outside: whether they may be made, by which trunks in turn, and how the caller is named to each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.core.errors import SipError
from gateway.sip import identity
from gateway.sip.attempt import Attempt, Target
from gateway.sip.identity import Identity
from gateway.sip.numbers import e164, number_of, written
from gateway.sip.stack import HERE, Stack
from gateway.sip.trunkbook import TrunkBook, TrunkState, goes_on
from gateway.sip.trunks import Trunk
from gateway.sip.uri import Uri, ip_of, parse_route, parse_uri


class Barred(SipError):
    """A number may not be dialled. `status`: what to tell somebody else who asked for it: 403 for ever, 503 now."""

    def __init__(self, what: str, status: int = 403, do: str | None = None) -> None:
        super().__init__(what, do=do)
        self.status = status


def is_number(target: str) -> bool:
    """Whether a target is a number outside: tel: or with a plus."""
    return target.startswith("tel:") or (target.startswith("+") and target[1:2].isdigit())


def number_outside(book: TrunkBook, target: str, trunk: str | None = None) -> str | None:
    """The number a target means, as `e164` gives it; None where it is not on the list of what may be dialled. Raises
    SipError where there is no such trunk, or no such URI."""
    if trunk is not None and trunk not in book.states:
        raise SipError("There is no such trunk", read=trunk)
    country = book.states[trunk].trunk.country if trunk else book.destinations.country
    number = number_of(parse_uri(target), country) if target.startswith("tel:") else e164(target, country)
    return number if book.destinations.permits(number, country) else None


def way_out(stack: Stack, target: str) -> tuple[str, str]:
    """The trunk that would be asked first to carry a call to a number, and an IP address on the way there, to choose
    our own by: both empty where there is none, or where only DNS knows."""
    number = number_outside(stack.trunks, target) or ""
    for trunk in stack.trunks.choose(number, None, stack.now) if number else ():
        place, uri = stack.trunks[trunk.name].place, trunk.proxy_uri or trunk.server_uri
        return trunk.name, place.ip if place else (ip_of(uri.host) or "") if uri else ""
    return "", ""


def refer_uri(stack: Stack, trunk: str, number: str) -> str | None:
    """What a caller who came by `trunk` is asked to call instead of us, to go on to `number` without us. None where the
    trunk does not take that."""
    state = stack.trunks.states.get(trunk)
    if state is None or not state.trunk.refer or state.trunk.home is None:
        return None
    found = state.trunk
    return str(state.trunk.home._replace(user=written(number.removeprefix("tel:"), found.number_format, found.country)))


def permitted(stack: Stack, target: str, trunk: str | None) -> str:
    """The number a target means. Raises Barred where it may not be dialled."""
    number = number_outside(stack.trunks, target, trunk)
    if number is None:
        stack.count("dialling_barred")
        raise Barred("A number may not be dialled", do="list its beginning under outbound: allow: in trunks.yaml")
    return number


class Dialling:
    """One call to a number outside: which trunk takes it, and which one when that fails. `who`: the caller it is made
    for; `left`: the number of ours they had dialled, where their call goes on outside."""

    def __init__(
        self,
        stack: Stack,
        phones: Callable[[Uri], list[Target]],
        handle: str,
        number: str,
        trunk: str | None,
        who: Identity | None,
        left: str,
    ) -> None:
        """Raises Barred where no more calls may go out now."""
        if not stack.trunks.spends(stack.now):
            stack.count("dialling_full")
            raise Barred(
                "No more calls may go out now", 503, do="raise calls or per_minute of outbound: in trunks.yaml"
            )
        self.stack = stack
        self._phones = phones
        self._handle = handle
        self._number = number
        self._who = who
        self._left = left
        self._trunks = stack.trunks.choose(number, trunk, stack.now)

    def next(self, failed: Attempt | None = None) -> Target | None:
        """Where the call goes first, or after an attempt that failed; None where nothing is left that may do better."""
        book, now = self.stack.trunks, self.stack.now
        if failed is not None:
            name, status = failed.target.trunk, failed.status or 500
            if failed.rang or not goes_on(status):
                book.worked(name)
                return None
            if failed.left:
                return replace(failed.target, to=tuple(failed.left))
            book.failed(name, f"{status} {failed.reason.text}", now, failed.retry_after)
            self.stack.count("trunk_failed_over")
        while self._trunks:
            trunk = self._trunks.pop(0)
            if not book.take(trunk.name, self._handle, now):
                self.stack.count("trunk_full")
            elif target := self._target(trunk, book[trunk.name]):
                return target
        return None

    def _target(self, trunk: Trunk, state: TrunkState) -> Target | None:
        """The way to our number by one trunk. None where it is a peer that registers with us and has not."""
        number = written(self._number, trunk.number_format, trunk.country)
        target = self._server(trunk, state, number) if trunk.server_uri else self._registered(trunk, number)
        if target is None:
            return None
        told = self._introduced(trunk)
        register = trunk.register
        scheme = "sips" if target.uri.scheme == "sips" else "sip"
        contact = f"<{Uri(scheme, register.user, HERE)}>" if register and state.registered else ""
        return replace(
            target,
            trunk=trunk.name,
            sender=str(told.sender),
            addressee=f"<{target.uri.bare()}>",
            extra=told.headers,
            contact=contact,
            accounts=trunk.accounts,
            codecs=trunk.codecs,
            patience_s=trunk.patience_s,
            found=lambda: self.stack.trunks.worked(trunk.name),
        )

    def _server(self, trunk: Trunk, state: TrunkState, number: str) -> Target | None:
        server, home, proxy = trunk.server_uri, trunk.home, trunk.proxy_uri
        assert server
        assert home
        routes = state.routes or ((f"<{proxy};lr>",) if proxy else ())
        first = parse_route(routes[0]) if state.routes else proxy or server
        return Target(home._replace(user=number), (*((state.place,) if state.place else ()), first), routes)

    def _registered(self, trunk: Trunk, number: str) -> Target | None:
        account = trunk.account
        phones = self._phones(Uri("sip", account.user if account else "", self.stack.config.domain))
        return replace(phones[0], uri=phones[0].uri._replace(user=number)) if phones else None

    def _introduced(self, trunk: Trunk) -> identity.Introduction:
        def shown(number: str) -> str:
            return written(number, trunk.number_format, trunk.country)

        who = self._who
        user = trunk.register.user if trunk.register else self.stack.config.user
        return identity.introduce(
            who,
            mode=trunk.identity,
            own=shown(trunk.caller_id),
            user=user,
            domain=trunk.home.host if trunk.home else self.stack.config.domain,
            shown=shown(who.number) if who else "",
            asserted=shown(who.asserted) if who else "",
            withhold=trunk.privacy == "always",
            left=shown(self._left),
        )
