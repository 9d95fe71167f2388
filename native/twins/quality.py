"""The E-model of ITU-T G.107 (06/2015) from its own parameters, in double precision."""

from __future__ import annotations

from itertools import groupby
from math import exp, log2, log10, sqrt

SLR, RLR, STMR, LSTR, DS, TELR, WEPL, QDU, NC, NFOR, PS, PR = 8, 2, 15, 18, 3, 65, 110, 1, -70, -64, 35, 35
"""Defaults of table 2: loudness ratings, sidetone, echo losses (dB), quantizing units, noise (dBm0p, dB(A))."""

IE = dict.fromkeys(range(7), 0.0)
BPL = {**dict.fromkeys(range(6), 25.1), 6: 22.0}


def power(*levels: float) -> float:
    """Levels in dB added as powers."""
    return 10 * log10(sum(10 ** (level / 10) for level in levels))


def noise() -> float:
    """No, section 7.2: circuit, send side, receive side and floor, referred to 0 dBr."""
    olr = SLR + RLR
    send = PS - SLR - DS - 100 + 0.004 * (PS - olr - DS - 14) ** 2
    effective = PR + 10 * log10(1 + 10 ** ((10 - LSTR) / 10))
    receive = RLR - 121 + effective + 0.008 * (effective - 35) ** 2
    return power(NC, send, receive, NFOR + RLR)


def simultaneous(ratio: float) -> float:
    """Is, section 7.3: loudness, sidetone and quantizing, `ratio` being Ro."""
    x = SLR + RLR + 0.2 * (64 + noise() - RLR)
    loudness = 20 * ((1 + (x / 8) ** 8) ** (1 / 8) - x / 8)
    s = -power(-STMR, -TELR)
    sidetone = (
        12 * (1 + ((s - 13) / 6) ** 8) ** (1 / 8)
        - 28 * (1 + ((s + 1) / 19.4) ** 35) ** (1 / 35)
        - 13 * (1 + ((s - 3) / 33) ** 13) ** (1 / 13)
        + 29
    )
    q = 37 - 15 * log10(QDU)
    g = 1.07 + 0.258 * q + 0.0602 * q * q
    quantizing = 15 * log10(1 + 10 ** ((ratio - 100) / 15 + 46 / 8.4 - g / 9) + 10 ** (46 / 30 - g / 40))
    return loudness + sidetone + quantizing


def listener_echo(ratio: float) -> float:
    """Idle, section 7.4, of a connection without delay."""
    x = (ratio - 10.5 * (WEPL + 7)) / 2
    return x + sqrt(x * x + 169)


def talker_echo(ratio: float, ms: float) -> float:
    """Idte, section 7.4: what an echo TELR below the voice costs `ms` one way. Not part of `rating`."""
    loss = TELR - 40 * log10((1 + ms / 10) / (1 + ms / 150)) + 6 * exp(-0.3 * ms * ms)
    x = (-1.5 * (noise() - RLR) - (80 + 2.5 * (loss - 14))) / 2
    return (x + sqrt(x * x + 100) - 1) * (1 - exp(-ms))


def absolute_delay(ms: float) -> float:
    """Idd, section 7.4, for the default delay class."""
    if ms <= 100:
        return 0.0
    x = log2(ms / 100)
    return 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)


def burst_ratio(lost: list[bool]) -> float:
    """Section 7.5 of a sequence of packets: mean length of its gaps over that of as much loss at random."""
    gaps = [sum(1 for _ in run) for gone, run in groupby(lost) if gone]
    if not gaps or all(lost):
        return 1.0
    return max(1.0, sum(gaps) / len(gaps) * (1 - sum(lost) / len(lost)))


def rating(codec: int, loss: float, burst: float = 1, delay: float = 0) -> float:
    """R as `native.quality.rating` gives it."""
    ratio = 15 - 1.5 * (SLR + noise())
    loss = min(100.0, max(0.0, loss))
    equipment = IE[codec] + (95 - IE[codec]) * loss / (loss / max(1.0, burst) + BPL[codec])
    return max(0.0, ratio - simultaneous(ratio) - listener_echo(ratio) - absolute_delay(delay) - equipment)


def mos(codec: int, loss: float, burst: float = 1, delay: float = 0) -> float:
    """1.0..4.5 of that (annex B)."""
    r = rating(codec, loss, burst, delay)
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
