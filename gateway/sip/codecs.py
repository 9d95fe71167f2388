"""Codecs as session descriptions name them: encodings, clocks and payload numbers (RFC 3551, RFC 7587, RFC 4733)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

DTMF = "telephone-event"
NOISE = "CN"
"""Comfort noise, RFC 3389: payload 13 at 8 kHz."""

STATIC = {
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    13: (NOISE, 8000),
    18: ("G729", 8000),
}
"""Payload numbers that need no rtpmap (RFC 3551). G.722 is written 8000 although it carries 16 kHz (section 4.5.2)."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload number of a stream. `rate`: its RTP clock in Hz."""

    payload: int
    name: str
    rate: int = 8000
    fmtp: str = ""
    channels: int = 1

    @property
    def is_dtmf(self) -> bool:
        return self.name.lower() == DTMF

    @property
    def is_noise(self) -> bool:
        return self.name.upper() == NOISE and self.rate == 8000

    @property
    def is_sound(self) -> bool:
        """Neither keys nor comfort noise."""
        return self.meaning in _SOUNDS

    @property
    def encoding(self) -> str:
        """Its name in full, as the media engine has it: L16 comes at two rates."""
        return f"L16/{self.rate}" if self.name.upper() == "L16" else _WRITTEN.get(self.name.upper(), self.name)

    @property
    def meaning(self) -> tuple[str, int, int]:
        """What two codecs have in common that are the same but for their numbers (RFC 8866: names have no case)."""
        return self.name.upper(), self.rate, self.channels

    def same(self, other: Codec) -> bool:
        return self.meaning == other.meaning


CODECS: dict[str, tuple[Codec, ...]] = {
    "opus": (Codec(96, "opus", 48000, "maxplaybackrate=16000;useinbandfec=1", 2),),
    "G722": (Codec(9, "G722"),),
    "PCMU": (Codec(0, "PCMU"),),
    "PCMA": (Codec(8, "PCMA"),),
    "L16": (Codec(97, "L16", 16000), Codec(98, "L16", 8000)),
}
"""What can be agreed, by the name it is asked for with, and how we offer it."""

_SOUNDS = {codec.meaning for each in CODECS.values() for codec in each}
_WRITTEN = {codec.name.upper(): codec.name for each in CODECS.values() for codec in each}


@lru_cache(maxsize=256)
def liked(names: tuple[str, ...]) -> tuple[Codec, ...]:
    """The codecs of these names, in this order."""
    return tuple(codec for name in names for codec in CODECS[name])


def chosen(theirs: Iterable[Codec], ours: Iterable[Codec]) -> Codec | None:
    """Of what they list, with their number, what stands first in ours."""
    listed: dict[tuple[str, int, int], Codec] = {}
    for them in theirs:
        listed.setdefault(them.meaning, them)
    return next((listed[us.meaning] for us in ours if us.meaning in listed), None)


def keys_beside(codec: Codec, listed: Iterable[Codec]) -> Codec | None:
    """The telephone-event for a codec: that of its clock (RFC 4733 section 2.1), or the usual one of 8 kHz."""
    events = [each for each in listed if each.is_dtmf]
    return next((each for rate in (codec.rate, 8000) for each in events if each.rate == rate), None)


def noise_beside(codec: Codec, listed: Iterable[Codec]) -> Codec | None:
    """Comfort noise for a codec of its clock."""
    return next((each for each in listed if each.is_noise and each.rate == codec.rate), None)


def numbered(codecs: Iterable[Codec], held: Iterable[Codec]) -> list[Codec]:
    """The codecs under the numbers they are known by in a call; new ones get numbers that never meant another
    (RFC 3264 section 8.3.2). One for which no number is left is left out."""
    known: dict[tuple[str, int, int], int] = {}
    taken: set[int] = set()
    for codec in held:
        known.setdefault(codec.meaning, codec.payload)
        taken.add(codec.payload)
    found: list[Codec] = []
    for codec in codecs:
        free = (n for n in (codec.payload, *range(96, 128)) if n not in taken)
        number = known.get(codec.meaning, next(free, None))
        if number is not None:
            taken.add(number)
            found.append(replace(codec, payload=number))
    return found
