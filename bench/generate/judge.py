"""What came back, against what was sent: order, loss, lateness, and whether the audio is the audio."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import figures
from bench.generate import codecs, packets, speech

TICK = 20_000_000
WINDOW = 8000  # samples that are matched at once: 1 s
HOP = 2000
LONGEST_DELAY = 3200  # samples: where a member of a conference is looked for
MATCHES = 24
"""At most so many windows of a stream are matched."""
LOUD_ENOUGH = -45.0  # dBFS; softer windows tell nothing


@dataclass(frozen=True)
class Heard:
    """What stream k should give back. `sources`: (stream whose input it is, gain in dB), several in a conference."""

    sources: tuple[tuple[int, float], ...]


class Replies:
    """A generator's file: packets sorted by stream, in the order they came, their sequence numbers unwrapped."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as held:
            self.order: dict[str, Any] = json.loads(str(held["order"]))
            self.began, self.apart = int(held["began"]), int(held["apart"])
            ports = held["ports"]
            number = np.full(65536, -1, np.int32)
            number[self.order["ports"]] = np.arange(len(self.order["ports"]))
            stream = number[ports]
            rtp = (held["sizes"] >= packets.HEADER) & (held["heads"][:, 0] >> 6 == 2)
            rtp &= ~np.isin(held["heads"][:, 1], np.arange(200, 208))
            self.strangers = int((stream < 0).sum())
            rows = np.flatnonzero(rtp & (stream >= 0))
            rows = rows[np.argsort(stream[rows], kind="stable")]
            heads = held["heads"][rows]
            self.stream = stream[rows]
            self.at = held["times"][rows] - self.apart
            self.kind = heads[:, 1] & 0x7F
            self.first_octet = heads[:, packets.HEADER]
            self.ssrc = np.ascontiguousarray(heads[:, 8:12]).view(">u4")[:, 0].astype(np.int64)
            self.stamp = np.ascontiguousarray(heads[:, 4:8]).view(">u4")[:, 0].astype(np.int64)
            seq = np.ascontiguousarray(heads[:, 2:4]).view(">u2")[:, 0].astype(np.int64)
            place = np.full(len(ports), -1, np.int64)
            place[held["kept"]] = np.arange(len(held["kept"]))
            self._place, self._octets, self._sizes = place[rows], held["octets"], held["sizes"][rows]
        self.first = np.flatnonzero(np.diff(self.stream, prepend=-1))
        self.counts = np.diff(np.append(self.first, len(rows)))
        step = (np.diff(seq, prepend=seq[:1]) + 32768) % 65536 - 32768
        step[self.first] = 0
        self.seq = np.cumsum(step)
        self.seq -= np.repeat(self.seq[self.first], self.counts)
        self.step = step

    def within(self, start: float, end: float) -> NDArray[np.bool_]:
        """Packets that came between two times, seconds since the first was sent."""
        since = (self.at - self.began) / 1e9
        return (since >= start) & (since < end)

    def order_of(self, start: float, end: float) -> dict[str, int]:
        """Packets, streams, losses, packets out of order and streams that changed their SSRC, in that time."""
        inside = self.within(start, end)
        stream, seq, ssrc = self.stream[inside], self.seq[inside], self.ssrc[inside]
        first = np.flatnonzero(np.diff(stream, prepend=-1))
        if len(first) == 0:
            return {"packets": 0, "streams": 0, "lost": 0, "duplicate": 0, "disorder": 0, "ssrc_changed": 0}
        spans = np.maximum.reduceat(seq, first) - np.minimum.reduceat(seq, first) + 1
        unique = len(np.unique(stream.astype(np.int64) << 32 | seq + 2**31))
        changed = np.maximum.reduceat(ssrc, first) != np.minimum.reduceat(ssrc, first)
        step = np.diff(seq, prepend=seq[:1])
        step[first] = 1
        return {
            "packets": len(seq),
            "streams": len(first),
            "lost": int(spans.sum()) - unique,
            "duplicate": len(seq) - unique,
            "disorder": int((step < 0).sum()),
            "ssrc_changed": int(changed.sum()),
        }

    def lateness(self, start: float, end: float) -> NDArray[np.float64]:
        """ms of each packet behind its stream's 20 ms grid, whose origin is the earliest packet of that time."""
        inside = self.within(start, end)
        behind = self.at[inside] - self.seq[inside] * TICK
        stream = self.stream[inside]
        first = np.flatnonzero(np.diff(stream, prepend=-1))
        if len(first) == 0:
            return np.zeros(0)
        counts = np.diff(np.append(first, len(stream)))
        return np.asarray((behind - np.repeat(np.minimum.reduceat(behind, first), counts)) / 1e6)

    def keys(self) -> dict[int, str]:
        """The telephone-events that came back, in order, a digit for each time one began (its RTP timestamp)."""
        rows = np.flatnonzero(self.kind == speech.EVENT_PAYLOAD)
        found: dict[int, str] = {}
        last: dict[int, int] = {}
        for row in rows:
            stream, stamp = int(self.stream[row]), int(self.stamp[row])
            if last.get(stream) != stamp:
                found[stream] = found.get(stream, "") + speech.DIGITS[self.first_octet[row] & 15]
                last[stream] = stamp
        return found

    def audio(self, stream: int) -> tuple[NDArray[np.int16], int]:
        """8 kHz samples of a sampled stream, lost packets silent, and when the first of them came (ns, monotonic)."""
        codec = self.order["codec"]
        mine = np.flatnonzero((self.stream == stream) & (self._place >= 0))
        if self.order["srtp"]:
            keys = packets.keys_of(self.order["srtp"])
            opened = packets.srtp(keys.profile, keys.heard, inbound=True)
            whole = [opened.unprotect(self._octets[self._place[k], : self._sizes[k]].tobytes()) for k in mine]
        else:
            whole = [self._octets[self._place[k], : self._sizes[k]].tobytes() for k in mine]
        of = {int(self.seq[k]): packet[packets.HEADER :] for k, packet in zip(mine, whole, strict=True)}
        speaks = {int(self.seq[k]) for k in mine if self.kind[k] == codecs.PAYLOADS[codec]}
        if not speaks:
            return np.zeros(0, np.int16), 0
        first, last = min(speaks), max(speaks)
        pcm = np.zeros((last - first + 1) * speech.FRAME, np.int16)
        order = sorted(speaks)
        said = codecs.decode(codec, [of[k] for k in order])
        for place, k in enumerate(order):
            part = said[place * speech.FRAME : (place + 1) * speech.FRAME]
            pcm[(k - first) * speech.FRAME :][: len(part)] = part
        behind = self.at[mine] - self.seq[mine] * TICK
        return pcm, int(behind.min()) + first * TICK


def sent_at(replies: Replies, stream: int) -> int:
    """When the stream's first packet was due (ns, monotonic)."""
    return replies.began + stream % 20 * 1_000_000


def match(got: NDArray[np.int16], loop: NDArray[np.int16]) -> tuple[int, float, float]:
    """Where in the loop a window of `got` is: lag in samples, gain (least squares) and correlation, -1..1."""
    n = len(loop)
    window = got.astype(float)
    spectrum = np.conj(np.fft.rfft(window, n)) * np.fft.rfft(loop.astype(float))
    across = np.fft.irfft(spectrum, n)
    lag = int(np.argmax(across))
    same = np.take(loop.astype(float), np.arange(lag, lag + len(window)), mode="wrap")
    energy = float((same**2).sum())
    return (
        lag,
        float(across[lag]) / max(energy, 1.0),
        float(across[lag]) / max(1.0, np.sqrt(energy * (window**2).sum())),
    )


def audio_of(
    replies: Replies, stream: int, heard: Heard, loops: tuple[speech.Loop, ...], start: float, end: float
) -> list[dict[str, float]]:
    """One row for each second of speech that `stream` gave back, and source: gain in dB, correlation, delay in ms."""
    pcm, at = replies.audio(stream)
    source = packets.source_of(len(replies.order["ports"]))
    skip = max(0, int((replies.began + start * 1e9 - at) / 1e9 * speech.RATE))
    stop = min(len(pcm), int((replies.began + end * 1e9 - at) / 1e9 * speech.RATE))
    rows = []
    begins = [at for at in range(skip, stop - WINDOW + 1, HOP) if loud(pcm[at : at + WINDOW])]
    begins = begins[:: len(begins) // MATCHES + 1]
    if len(heard.sources) > 1:
        members = [(loops[source[other]].pcm, sent_at(replies, other), gain) for other, gain in heard.sources]
        return [row for begin in begins for row in mixed(pcm[begin : begin + WINDOW], at + begin * 125_000, members)]
    for other, gain in heard.sources:
        loop = loops[source[other]] if other >= 0 else speech.loop_of(-1 - other)
        for begin in begins:
            lag, found, alike = match(pcm[begin : begin + WINDOW], loop.pcm)
            row = {"gain_db": 20 * np.log10(max(found, 1e-6)) - gain, "alike": alike}
            if other >= 0:
                position = (at + begin * 125_000 - sent_at(replies, other)) // 125_000
                row["delay_ms"] = (position - lag) % len(loop.pcm) / 8.0
            rows.append(row)
    return rows


def mixed(
    got: NDArray[np.int16], at: int, members: list[tuple[NDArray[np.int16], int, float]]
) -> list[dict[str, float]]:
    """A window of a conference: all members (loop, when it began, gain in dB) are found in it one by one, then fitted
    together; the correlation is that of the whole fit. Rows for members who speak in it.
    """
    parts, delays = [], []
    for loop, began, _ in members:
        position = (at - began) // 125_000
        across = np.fft.irfft(np.conj(np.fft.rfft(got.astype(float), len(loop))) * np.fft.rfft(loop.astype(float)))
        near = (position - np.arange(LONGEST_DELAY)) % len(loop)
        delay = int(np.argmax(across[near]))
        delays.append(delay / 8.0)
        parts.append(np.take(loop.astype(float), position - delay + np.arange(len(got)), mode="wrap"))
    basis = np.stack(parts, axis=1)
    gains = np.linalg.lstsq(basis, got.astype(float), rcond=None)[0]
    alike = float(np.corrcoef(basis @ gains, got.astype(float))[0, 1])
    return [
        {"gain_db": 20 * np.log10(max(float(found), 1e-6)) - gain, "alike": alike, "delay_ms": delay}
        for (_, _, gain), part, found, delay in zip(members, parts, gains, delays, strict=True)
        if loud(part)
    ]


def loud(pcm: NDArray[np.generic]) -> bool:
    """Speech for at least half of it."""
    return bool(np.median(speech.loudness(pcm)) >= LOUD_ENOUGH)


def verdict(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Medians and the worst of rows of audio_of."""
    if not rows:
        return {"n": 0, "alike": None, "gain_off_db": None, "delay_ms": None}
    alike, gain = (np.array([row[name] for row in rows]) for name in ("alike", "gain_db"))
    delay = np.array([row["delay_ms"] for row in rows if "delay_ms" in row])
    return {
        "n": len(rows),
        "alike": round(float(np.median(alike)), 4),
        "gain_off_db": round(float(np.median(gain)), 2),
        "delay_ms": round(float(np.median(delay)), 1) if len(delay) else None,
        "delay_worst_ms": round(float(delay.max()), 1) if len(delay) else None,
    }


# --- events -------------------------------------------------------------------------------------------------------


def digits_right(
    replies_order: dict[str, Any], loops: tuple[speech.Loop, ...], found: dict[int, str], streams: list[int]
) -> dict[str, Any]:
    """Digits that each stream's peer told of in the order they were pressed, of all that were pressed."""
    source = packets.source_of(len(replies_order["ports"]))
    ticks = round(replies_order["seconds"] * 50)
    right = n = 0
    for stream in streams:
        loop = loops[source[stream]]
        whole, rest = divmod(ticks, speech.LOOP)
        pressed = loop.digits * whole + "".join(digit for at, digit in loop.keys if at + speech.EVENT <= rest)
        cut = "".join(digit for at, digit in loop.keys if at < rest < at + speech.EVENT)  # by the end: may be heard
        got = found.get(stream, "")
        n += len(pressed)
        right += min(len(pressed), max(common(pressed, got), common(pressed + cut, got)))
    return figures.rate(right, n)


def common(wanted: str, got: str) -> int:
    """Digits of `wanted` that `got` has in the same order; an extra one counts against them."""
    last = [0] * (len(got) + 1)
    for digit in wanted:
        row = [0]
        for k, other in enumerate(got):
            row.append(last[k] + 1 if digit == other else max(last[k + 1], row[-1]))
        last = row
    return max(0, last[-1] - max(0, len(got) - len(wanted)))


def spurts_heard(
    replies_order: dict[str, Any],
    loops: tuple[speech.Loop, ...],
    began: int,
    starts: dict[int, list[int]],
    streams: list[int],
) -> dict[str, Any]:
    """Spurts of speech within which, from their first packet to a second after it, the peer told of speech starting."""
    ticks = round(replies_order["seconds"] * 50)
    source = packets.source_of(len(replies_order["ports"]))
    right = n = extra = 0
    for stream in streams:
        first = began + stream % 20 * 1_000_000
        seen = np.array(sorted(starts.get(stream, [])), np.int64)
        near = np.zeros(len(seen), bool)
        for at in (base + k for base in range(-speech.LOOP, ticks, speech.LOOP) for k in loops[source[stream]].spurts):
            begin = first + at * TICK
            if at < 0 or at + speech.SPURT > ticks:
                near |= seen < begin + (speech.SPURT + 15) * TICK if at < 0 else seen >= begin - 50_000_000
                continue
            n += 1
            right += bool(((seen >= begin - 50_000_000) & (seen < begin + 1_000_000_000)).any())
            near |= (seen >= begin - 50_000_000) & (seen < begin + (speech.SPURT + 15) * TICK)
        extra += int((~near).sum())
    return figures.rate(right, n) | {"elsewhere": extra}
