"""SRTP keys in session descriptions (SDES, RFC 4568 and RFC 7714): lines of a=crypto read, chosen and written."""

from __future__ import annotations

import base64
import binascii
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.sip import grammar

SUITES = {"AES_CM_128_HMAC_SHA1_80": 30, "AES_CM_128_HMAC_SHA1_32": 30, "AEAD_AES_128_GCM": 28}
"""What can be agreed, in our order of liking, and the octets of master key and salt (RFC 4568 6.2, RFC 7714 14.1)."""

NEVER, OPTIONAL, REQUIRED = POLICIES = ("never", "optional", "required")
"""never: calls in the clear only. optional: protected where the peer offers it. required: protected or not at all."""

LEAST_LIFETIME = 2**20
"""Packets that a key has to last for, which is 5.8 hours of a call: nobody here changes keys on the way."""

_INLINE = re.compile(r"inline:([A-Za-z0-9+/]+={0,2})(?:\|(2\^)?(\d{1,20}))?", re.I)
_HARMLESS = re.compile(r"-.*|WSH=\d+")
"""Session parameters that may be passed over (RFC 4568 section 6.3): those that ask for nothing unusual."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One a=crypto line as it stands: `keys` its key parameters, `params` its session parameters."""

    tag: int
    suite: str
    keys: str = field(repr=False)
    params: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((str(self.tag), self.suite, self.keys, *self.params))

    @property
    def key(self) -> bytes | None:
        """Master key and salt, one behind the other; None where the line can't be used: an unknown suite, several keys,
        an MKI, a key of another length or one that does not last, a parameter that changes the protocol."""
        found = _INLINE.fullmatch(self.keys)
        if self.suite not in SUITES or not found or not all(_HARMLESS.fullmatch(param) for param in self.params):
            return None
        text, power, lifetime = found.groups()
        if lifetime and (int(lifetime) < 20 if power else int(lifetime) < LEAST_LIFETIME):
            return None
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            return None
        return key if len(key) == SUITES[self.suite] else None


@dataclass(frozen=True, slots=True)
class Srtp:
    """How media is protected in a call: a policy, the suites that this machine has, in order of liking, and where the
    random octets of keys come from."""

    policy: str = NEVER
    suites: tuple[str, ...] = tuple(SUITES)
    octets: Callable[[int], bytes] = field(default=random.SystemRandom().randbytes, repr=False)

    def offered(self, before: Iterable[Crypto] = ()) -> tuple[Crypto, ...]:
        """Our lines of an offer, one for each suite. Keys of `before`, our lines so far, stay in use."""
        return tuple(self._line(tag, suite, before) for tag, suite in enumerate(self.suites, 1))

    def usable(self, theirs: Iterable[Crypto]) -> Crypto | None:
        """The first of their lines that can be used here (RFC 4568 section 5.1.2)."""
        return next((line for line in theirs if line.suite in self.suites and line.key), None)

    def answered(self, theirs: Crypto, before: Iterable[Crypto] = ()) -> Crypto:
        """Our line for one of theirs, under its tag. A key of `before`, our lines so far, stays in use."""
        return self._line(theirs.tag, theirs.suite, before)

    def _line(self, tag: int, suite: str, before: Iterable[Crypto]) -> Crypto:
        held = next((line.keys for line in before if line.suite == suite), None)
        fresh = held or "inline:" + base64.b64encode(self.octets(SUITES[suite])).decode()
        return Crypto(tag, suite, fresh)


CLEAR = Srtp()


@dataclass(frozen=True, slots=True)
class Keys:
    """What two descriptions settled: a suite, and master key and salt of each side."""

    suite: str
    own: bytes = field(repr=False)
    peer: bytes = field(repr=False)


def read(value: str) -> Crypto | None:
    """The value of an a=crypto attribute; None where it is malformed."""
    tag, suite, keys, *params = [*value.split(), "", "", ""]
    number = grammar.number(tag, 999_999_999)
    return (
        Crypto(number, suite, keys, tuple(param for param in params if param)) if number is not None and keys else None
    )


def settled(mine: Iterable[Crypto], theirs: Iterable[Crypto]) -> Keys | None:
    """The keys of the line that an offer and its answer share (RFC 4568 section 5.1.3), whichever of them is ours. None
    where they share none, or where one side says the other's key again."""
    named: dict[tuple[int, str], bytes] = {}
    for line in theirs:
        if key := line.key:
            named.setdefault((line.tag, line.suite), key)
    for line in mine:
        own, peer = line.key, named.get((line.tag, line.suite))
        if own and peer and own != peer:
            return Keys(line.suite, own, peer)
    return None
