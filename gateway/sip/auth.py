"""Digest authentication, both ends (RFC 7616, RFC 8760, RFC 3261 section 22): MD5, SHA-256, qop=auth, nonce count."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from gateway.core.errors import SipError
from gateway.sip import grammar

ALGORITHMS = ("SHA-256", "MD5")
"""Best first (RFC 8760 section 2.3)."""

MODERN = re.compile(
    r"(?:Linphone[A-Za-z-]*|belle-sip)/(?:[4-9]|\d\d)|baresip v(?:3\.(?:1[1-9]|[2-9]\d)|[4-9]|\d\d)|Trunkline"
)
"""User-Agents known to take SHA-256. The others get MD5: baresip before 3.11 gives up where SHA-256 stands beside it in
whatever order; sipp, JsSIP, Asterisk 18 and PJSIP 2.10 look at the first challenge alone."""

_MAX_NONCES = 20_000
_NONCE = re.compile(rb'nonce="([0-9a-f]{1,16}\.[0-9a-f]{14}\.[0-9a-f]{16})"')
"""A nonce of ours: the milliseconds it was made at, for whom and a random part, and the seal over that."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who may register and call, or who we are. `ha1`: algorithm -> H(user:realm:password) in hex, in place of a
    password in clear. `realm` None: the endpoint's own, or (outbound) whatever realm asks."""

    user: str
    password: str | None = field(default=None, repr=False)
    realm: str | None = None
    ha1: Mapping[str, str] = field(default_factory=dict, repr=False)
    display: str = ""

    def secret(self, algorithm: str, realm: str) -> str | None:
        """H(user:realm:password), or None where it can't be known for this algorithm."""
        if algorithm in self.ha1:
            return self.ha1[algorithm].lower()
        return None if self.password is None else digest(algorithm, f"{self.user}:{realm}:{self.password}")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate value; `proxy` tells which."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ()
    opaque: str | None = None
    stale: bool = False
    proxy: bool = False


class Verdict(Enum):
    """`STALE`: the password is right, the nonce too old or used before. `MISSING`: no credentials for our realm, or
    by a digest that was not offered."""

    GOOD = "good"
    MISSING = "missing"
    STALE = "stale"
    WRONG = "wrong"
    MALFORMED = "malformed"


def digest(algorithm: str, text: str) -> str:
    """The hash of `text` in hex."""
    data = text.encode("utf-8", "surrogateescape")
    if algorithm == "SHA-256":
        return hashlib.sha256(data).hexdigest()
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def response(ha1: str, algorithm: str, method: str, uri: str, nonce: str, qop: str, nc: str, cnonce: str) -> str:
    """RFC 7616 section 3.4.1; an empty `qop` is RFC 2069's way."""
    ha2 = digest(algorithm, f"{method}:{uri}")
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return digest(algorithm, f"{ha1}:{middle}:{ha2}")


def fields(value: str) -> dict[str, str]:
    """`Digest a="1", b=2` -> {"a": "1", "b": "2"}. Raises SipError."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        raise SipError("Only Digest authentication is known", read=grammar.clean(scheme[:20]))
    found: dict[str, str] = {}
    for part in grammar.split(rest):
        name, equals, text = part.partition("=")
        name = name.strip().lower()
        if not equals or not grammar.is_token(name) or name in found:
            raise SipError("A digest parameter is malformed", read=grammar.clean(part[:80]))
        found[name] = grammar.unquote(text.strip())
    return found


# --- the side that asks for credentials ---------------------------------------------------------------------------


class Authenticator:
    """Asks and checks. Nonces carry their own time and seal, so that unanswered challenges take no memory; only a nonce
    that was used rightly is kept, with its highest count. `algorithms`: offered in this order; nothing: each phone is
    offered the one it is known to take, and either is taken. `now` in monotonic seconds."""

    def __init__(
        self,
        realm: str,
        accounts: Iterable[Account],
        token: Callable[[], str],
        life: float = 300.0,
        algorithms: Sequence[str] = (),
    ) -> None:
        self.realm = realm
        self.accounts = {account.user: account for account in accounts}
        self.life = life
        self.algorithms = tuple(algorithms)
        self._taken = frozenset(algorithms or ALGORITHMS)
        self._token = token
        self._secret = (token() + token()).encode()
        self._nobody = Account("", token())
        """Stands in for accounts that there are none of, so that an answer about them takes as long."""
        self._counts: OrderedDict[str, int] = OrderedDict()

    def challenges(self, now: float, stale: bool = False, agent: str = "", ip: str = "") -> list[str]:
        """Header values, one an algorithm, the same nonce in all. `agent`, `ip`: the phone's User-Agent and address."""
        offered = self.algorithms or (("SHA-256",) if MODERN.search(agent) else ("MD5",))
        stamp = f"{int(now * 1000):x}.{self._mark(ip)}{self._token()[:6]}"
        nonce = f"{stamp}.{self._seal(stamp)}"
        tail = ", stale=true" if stale else ""
        realm = grammar.quote(self.realm)
        return [f'Digest realm={realm}, nonce="{nonce}", algorithm={a}, qop="auth"{tail}' for a in offered]

    def claim(self, values: Iterable[str], ip: str) -> tuple[str, bool]:
        """Which user refused credentials name, whether there is one of that name or not, and whether the one who sent
        them heard our challenge: whoever forges a source address did not."""
        for value in values:
            try:
                given = fields(value)
            except SipError:
                continue
            if given.get("realm") == self.realm:
                user, nonce = given.get("username", ""), given.get("nonce", "")
                return user, nonce.partition(".")[2].startswith(self._mark(ip))
        return "", False

    def issued(self, data: bytes, ip: str, now: float) -> bool:
        """Whether a message nobody has read yet carries a nonce that this address was given, and may still use."""
        found = _NONCE.search(data)
        if found is None:
            return False
        nonce = found[1].decode()
        born = self._born(nonce) if nonce.partition(".")[2].startswith(self._mark(ip)) else None
        return born is not None and 0 <= now - born <= self.life

    def check(self, values: Iterable[str], method: str, now: float) -> tuple[Verdict, Account | None]:
        """Judges Authorization values: the one for our realm counts. The digest's own uri is hashed, not compared to
        the Request-URI: proxies rewrite that, and some phones never had them equal."""
        for value in values:
            if value.split(" ", 1)[0].lower() != "digest":
                continue  # a scheme nobody here knows is as good as none (RFC 4475 section 3.3.7)
            try:
                given = fields(value)
            except SipError:
                return Verdict.MALFORMED, None
            if given.get("realm") == self.realm:
                return self._judge(given, method, now)
        return Verdict.MISSING, None

    def _judge(self, given: Mapping[str, str], method: str, now: float) -> tuple[Verdict, Account | None]:
        nonce, qop, nc = given.get("nonce", ""), given.get("qop", ""), given.get("nc", "")
        algorithm = given.get("algorithm", "MD5").upper()
        if not {"username", "uri", "response", "nonce"} <= set(given) or qop not in ("", "auth"):
            return Verdict.MALFORMED, None
        if qop and (len(nc) != 8 or not _is_hex(nc) or not given.get("cnonce")):
            return Verdict.MALFORMED, None
        if algorithm not in self._taken:
            return Verdict.MISSING, None  # none that was offered: no guess, but a phone that needs to be told again
        born = self._born(nonce)
        if born is None:
            return Verdict.STALE, None
        account = self.accounts.get(given["username"])
        secret = (account or self._nobody).secret(algorithm, self.realm)
        expected = response(
            secret or self._secret.hex(), algorithm, method, given["uri"], nonce, qop, nc, given.get("cnonce", "")
        )
        if not hmac.compare_digest(expected.encode(), given["response"].lower().encode("utf-8", "surrogateescape")):
            return Verdict.WRONG, None
        if account is None or secret is None:
            return Verdict.WRONG, None
        count = int(nc, 16) if qop else 1
        if not 0 <= now - born <= self.life or count <= self._counts.get(nonce, 0):
            return Verdict.STALE, account
        self._counts[nonce] = count
        self._counts.move_to_end(nonce)
        while len(self._counts) > _MAX_NONCES or self._too_old(now):
            self._counts.popitem(last=False)
        return Verdict.GOOD, account

    def _too_old(self, now: float) -> bool:
        oldest = next(iter(self._counts), None)
        return oldest is not None and now - (self._born(oldest) or 0.0) > self.life

    def _mark(self, ip: str) -> str:
        return hmac.new(self._secret, ip.encode(), hashlib.sha256).hexdigest()[:8]

    def _seal(self, stamp: str) -> str:
        return hmac.new(self._secret, stamp.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]

    def _born(self, nonce: str) -> float | None:
        """When we made a nonce, or None where we did not."""
        stamp, _, seal = nonce.rpartition(".")
        if not hmac.compare_digest(self._seal(stamp).encode(), seal.encode("utf-8", "surrogateescape")):
            return None
        return int(stamp.partition(".")[0], 16) / 1000


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdefABCDEF" for c in text)


# --- the side that is asked ---------------------------------------------------------------------------------------


def read_challenges(www: Iterable[str], proxy: Iterable[str]) -> list[Challenge]:
    """The challenges of a 401 or 407 that can be answered, best algorithm first; others are passed over."""
    found: list[Challenge] = []
    for values, is_proxy in ((www, False), (proxy, True)):
        for value in values:
            try:
                given = fields(value)
            except SipError:
                continue
            algorithm = given.get("algorithm", "MD5").upper()
            qop = tuple(item.strip().lower() for item in given.get("qop", "").split(",") if item.strip())
            if algorithm not in ALGORITHMS or (qop and "auth" not in qop) or not given.get("nonce"):
                continue
            stale = given.get("stale", "").lower() == "true"
            found.append(
                Challenge(given.get("realm", ""), given["nonce"], algorithm, qop, given.get("opaque"), stale, is_proxy)
            )
    return sorted(found, key=lambda c: ALGORITHMS.index(c.algorithm))


def credentials(challenge: Challenge, account: Account, method: str, uri: str, nc: int, cnonce: str) -> str | None:
    """The Authorization or Proxy-Authorization value, or None where the account has no secret for the algorithm."""
    secret = account.secret(challenge.algorithm, challenge.realm)
    if secret is None:
        return None
    qop = "auth" if challenge.qop else ""
    count = f"{nc:08x}"
    value = response(secret, challenge.algorithm, method, uri, challenge.nonce, qop, count, cnonce)
    parts = [
        f"username={grammar.quote(account.user)}",
        f"realm={grammar.quote(challenge.realm)}",
        f"nonce={grammar.quote(challenge.nonce)}",
        f'uri="{uri}"',
        f'response="{value}"',
        f"algorithm={challenge.algorithm}",
    ]
    if qop:
        parts += ["qop=auth", f"nc={count}", f'cnonce="{cnonce}"']
    if challenge.opaque is not None:
        parts.append(f"opaque={grammar.quote(challenge.opaque)}")
    return "Digest " + ", ".join(parts)
